"""Windows are a loop over beginnings and frames, each the nearest in time."""

import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.video.footage import open_video
from stvh_jax.video.windows import repeating, windows
from tests.helpers.videos import make_video


def by_hand(times, num_frames, rate, every, start, stop):
    found = []
    for number in range(10**4):
        begin = start + number * every
        wanted = [begin + place / rate for place in range(num_frames)]
        inside = wanted[-1] <= times[-1] + 1.5e-3
        if stop is not None:
            inside = inside and begin + num_frames / rate <= stop + 1.5e-3
        if not inside:
            return found
        found.append([min(range(len(times)), key=lambda n: (round(abs(times[n] - t), 5), n))
                      for t in wanted])  # fmt: skip
    raise AssertionError


@pytest.mark.parametrize("seed", range(30))
def test_windows_are_those_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    if seed % 2:
        times = np.arange(rng.integers(1, 200)) / rng.choice([10, 25, 29.97, 50])
    else:
        times = np.cumsum(rng.integers(5, 200, rng.integers(1, 100))) / 1000
        times -= times[0]
    options = {
        "num_frames": int(rng.integers(1, 12)),
        "rate": float(rng.choice([5, 12.5, 25, 50])),
        "every": float(rng.choice([0.04, 0.1, 0.5, 1 / 3])),
        "start": float(rng.choice([0, 0.2, 1])),
        "stop": None if seed % 3 else float(rng.uniform(0, 5)),
    }
    found = windows(times, **options)
    assert found.tolist() == by_hand(times.tolist(), **options)


def test_the_same_rate_gives_every_frame():
    for rate in (25, 30, 30000 / 1001, 50):
        times = np.arange(1000) / rate
        for rounded in (times, times.round(3)):
            found = windows(rounded, num_frames=10, rate=rate, every=10 / rate)
            np.testing.assert_array_equal(found, np.arange(1000).reshape(100, 10))


def test_a_slow_video_repeats_frames_and_a_short_one_has_no_window():
    found = windows(np.arange(20) / 12.5, num_frames=4, rate=25, every=0.16)
    np.testing.assert_array_equal(found[0], [0, 0, 1, 1])
    assert windows(np.arange(9) / 25, num_frames=10, rate=25, every=1).shape == (0, 10)
    assert windows(np.arange(9) / 25, num_frames=3, rate=25, every=1, start=50).shape == (0, 3)
    assert windows(np.zeros(0), num_frames=3, rate=25, every=1).shape == (0, 3)


def test_a_video_that_is_slower_than_clips_is_said(tmp_path):
    video = open_video(make_video(tmp_path / "slow.mp4", 25, rate=10))
    (line,) = repeating(video, 25)
    assert line == "slow.mp4 has 10 frames per second, and clips take 25: some frames are repeated"
    assert not [*repeating(video, 10), *repeating(video, 5)]


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 0}, {"rate": -1}, {"rate": np.nan}, {"every": 0}, {"every": 1e-9}, {"start": -1},
     {"stop": np.inf}, {"num_frames": 0}],
)  # fmt: skip
def test_impossible_numbers(wrong):
    with pytest.raises(UserError, match="give"):
        windows(np.arange(9) / 25, **({"num_frames": 3, "rate": 25, "every": 1} | wrong))
