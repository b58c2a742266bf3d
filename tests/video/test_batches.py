"""Clips of a video: every window with somebody in it, once, with the right frames."""

import numpy as np
import pytest

import stvh_jax.video
from stvh_jax.errors import UserError
from stvh_jax.unknown import UNKNOWN
from stvh_jax.video import batches, frames
from stvh_jax.video.footage import open_video
from stvh_jax.video.people import TrackedPeople, people_of
from stvh_jax.video.windows import windows
from tests.helpers.videos import make_kind, number_in
from tests.video.test_people import made_tracks


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return open_video(make_kind("open_gop_mp4", tmp_path_factory.mktemp("video"), 200))


def one_by_one(made, **options):
    """Gives (name, start, stop, clip) of every clip, and checks what only fills a batch."""
    for batch in made:
        clips = batch.clips
        for place, counts in enumerate(clips.clip_mask):
            if counts:
                yield clips.clip[place], batch.start[place], batch.stop[place], place, clips
            else:
                assert np.isnan([batch.start[place], batch.stop[place]]).all()
                assert clips.match[place] == clips.clip[place] == ""
                assert not clips.actor_mask[place].any() and clips.frame[place] == UNKNOWN


@pytest.mark.parametrize("every", [0.1, 0.5, 0.05, 1.3])
@pytest.mark.parametrize("share", [0.9, 0.01])
def test_clips_are_windows_with_people(video, every, share, monkeypatch):
    tracks = made_tracks(np.random.default_rng(1), frames=200, people=6, share=share)
    people = TrackedPeople.of(tracks)
    expected = []
    for number, window in enumerate(windows(video.times, num_frames=10, rate=12.5, every=every)):
        boxes, _ = people_of(people, window, most=4)
        if boxes.shape[1]:
            expected.append((number * every, window, boxes))
    taken, take = [], frames._Decoder._take
    monkeypatch.setattr(
        frames._Decoder, "_take", lambda self: taken.append(take(self)) or taken[-1]
    )
    options = {"num_frames": 10, "num_actors": 4, "rate": 12.5, "every": every, "batch_size": 3}
    found = list(one_by_one(batches.clips(video, tracks, frame_size=(32, 80), **options)))
    assert len(found) == len(expected)
    for (name, start, stop, place, clips), (begin, window, boxes) in zip(found, expected):
        assert name == str(round(1000 * begin)) and start == pytest.approx(begin)
        assert stop == pytest.approx(begin + 0.8)
        assert clips.boxes.shape == (3, 10, 4, 4) and clips.frames.shape == (3, 10, 32, 80, 3)
        count = int(clips.actor_mask[place].sum())
        np.testing.assert_array_equal(clips.boxes[place, :, :count], boxes)
        assert not clips.boxes[place, :, count:].any()
        assert [number_in(image) for image in clips.frames[place]] == window.tolist()
        assert clips.match[place] == "open_gop_mp4" and clips.frame[place] == window[5]
    numbers = [each[0] for each in taken if each is not None]
    assert len(numbers) == len(set(numbers))  # none is decoded twice
    without = list(one_by_one(batches.clips(video, tracks, **options)))
    assert [each[0] for each in without] == [each[0] for each in found]
    assert all(each[4].frames is None for each in without)


def test_nothing_is_decoded_for_boxes_alone(video, monkeypatch):
    monkeypatch.setattr(batches, "read_frames", None)
    tracks = made_tracks(np.random.default_rng(1), frames=200)
    assert list(stvh_jax.video.clips(video, tracks, num_frames=5, num_actors=12))


def test_what_is_left_out_is_said(video):
    tracks = made_tracks(np.random.default_rng(2), frames=60, people=8, share=0.9)
    lines = []
    made = batches.clips(
        video, tracks, num_frames=10, num_actors=3, rate=50, every=0.5, skip={"500", "1000"},
        match="final", report=lines.append,
    )  # fmt: skip
    found = list(one_by_one(made))
    assert [each[0] for each in found] == ["0", "1500", "2000"]
    assert {each[4].match[each[3]] for each in found} == {"final"}
    assert [line.split(",")[0] for line in lines] == [
        "windows that were done before: 2",
        "windows without people: 11",
        "windows with more than 3 people: 3; in all",
        "open_gop_mp4.mp4 has 25 frames per second",
    ]


@pytest.mark.parametrize("every", [0.1, 1.3])
def test_middle_frames_alone_are_decoded(video, every, monkeypatch):
    tracks = made_tracks(np.random.default_rng(1), frames=200, people=6, share=0.5)
    asked, read = [], frames.read_frames

    def counted(video, numbers, **options):
        return read(video, (asked.append(number) or number for number in numbers), **options)

    monkeypatch.setattr(batches, "read_frames", counted)
    options = {"num_frames": 10, "num_actors": 4, "rate": 12.5, "every": every, "batch_size": 3}
    options["frame_size"] = (32, 80)
    whole = list(one_by_one(batches.clips(video, tracks, **options)))
    asked.clear()
    found = list(one_by_one(batches.clips(video, tracks, middle_only=True, **options)))
    assert [each[:3] for each in found] == [each[:3] for each in whole]
    assert asked == sorted({int(clips.frame[place]) for *_, place, clips in found})
    for (*_, place, clips), (*_, _, other) in zip(found, whole):
        assert clips.frames.shape == (3, 1, 32, 80, 3)
        np.testing.assert_array_equal(clips.frames[place, 0], other.frames[place, 5])
        np.testing.assert_array_equal(clips.boxes[place], other.boxes[place])


def test_windows_without_all_their_frames_are_left_out(video, monkeypatch):
    tracks = made_tracks(np.random.default_rng(3), frames=200, share=0.9)

    def read(video, numbers, **options):
        lost = frames.read_frames(video, numbers, **options)
        return ((number, image) for number, image in lost if number not in (31, 32))

    monkeypatch.setattr(batches, "read_frames", read)
    lines = []
    options = {"num_frames": 10, "num_actors": 12, "every": 0.2, "report": lines.append}
    found = list(one_by_one(batches.clips(video, tracks, frame_size=(32, 80), **options)))
    starts = [round(each[1] * 25) for each in found]
    assert starts == [start for start in range(0, 191, 5) if not start <= 31 < start + 10
                      and not start <= 32 < start + 10]  # fmt: skip
    assert [line for line in lines if "cannot be decoded" in line] == [
        f"windows with frames that cannot be decoded: {39 - len(found)}"
    ]


def test_impossible_numbers_and_names(video):
    tracks = made_tracks(np.random.default_rng(3))
    wrong = [{"num_actors": 0}, {"batch_size": 0}, {"match": ""}, {"match": "x" * 300}]
    for each in wrong:
        with pytest.raises(UserError, match="give"):
            list(batches.clips(video, tracks, **({"num_frames": 5, "num_actors": 3} | each)))


def test_the_room_offers_its_names():
    for name in dir(stvh_jax.video):
        assert getattr(stvh_jax.video, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'clip'"):
        getattr(stvh_jax.video, "cl" + "ip")
