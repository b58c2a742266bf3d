import os
import resource
import signal

import av
import numpy as np
import pytest

from stvh_jax.errors import Damaged, Exists, NotFound, UserError
from stvh_jax.video.cutting import cut
from stvh_jax.video.pieces import Piece
from tests.helpers.numbered_videos import duration, read_numbers, write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """25 frames a second, a key frame every 10, frames stored out of order."""
    path = tmp_path_factory.mktemp("video") / "match.mp4"
    return write_video(path, options={"preset": "veryfast", "bf": "3"})


def numbers(path, **settings):
    return [number for number, _ in read_numbers(path, **settings)]


def test_pieces_at_key_frames_are_copied_and_others_encoded(video, tmp_path):
    lines = []
    pieces = [
        Piece(video, 0.4, 1.0, "r_spike", "m"),  # key frame 10
        Piece(video, 0.48, 1.0),  # 0.08 s after it
        Piece(video, 0.52, 1.02, "l_set"),  # 0.12 s after it
    ]
    paths = cut(pieces, tmp_path / "cut", report=lines.append)
    assert [path.name for path in paths] == [
        "001 m 0-00-00 r_spike.mp4",
        "002 0-00-00.mp4",
        "003 0-00-00 l_set.mp4",
    ]
    assert [line.rpartition(": ")[2] for line in lines[:3]] == ["copied", "copied", "encoded anew"]
    assert lines[3] == "3 files: 2 copied, 1 encoded anew; without sound"
    for path, first in zip(paths[:2], (10, 10)):
        kept = numbers(path)
        # All that is to be seen and no hole; a few later frames may follow.
        assert kept == list(range(first, first + len(kept))) and 25 <= first + len(kept) <= 29
    assert numbers(paths[2]) == list(range(13, 26))
    assert read_numbers(paths[2])[0][1] == 0
    assert duration(paths[2]) == pytest.approx(0.5, abs=0.001)


def test_a_margin_lets_more_be_copied(video, tmp_path):
    (path,) = cut([Piece(video, 0.6, 0.8)], tmp_path / "cut", margin=0.2)
    assert numbers(path)[0] == 10
    (path,) = cut([Piece(video, 0.6, 0.8)], tmp_path / "exact", margin=0.19)
    assert numbers(path) == list(range(15, 20))


@pytest.mark.parametrize("ending", ["mkv", "ts", "avi", "mov"])
def test_other_containers(tmp_path, ending):
    # An AVI file does not say when frames are that it stores out of order.
    video = write_video(tmp_path / f"match.{ending}", options={"bf": "0"})
    copied, encoded = cut([Piece(video, 0.8, 1.2), Piece(video, 1.0, 1.2)], tmp_path / "cut")
    assert numbers(copied)[:10] == list(range(20, 30))
    assert numbers(encoded) == list(range(25, 30))


def test_streams_that_mp4_does_not_hold_are_encoded(tmp_path):
    video = write_video(tmp_path / "match.avi", codec="mjpeg", pixels="yuvj420p", options={})
    (path,) = cut([Piece(video, 0, 0.4)], tmp_path / "cut")
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert numbers(path) == list(range(10))


def test_rotation_is_kept_in_a_copy_and_applied_otherwise(tmp_path):
    video = write_video(tmp_path / "match.mp4", rotation=90)  # counterclockwise
    copied, encoded = cut([Piece(video, 0.4, 0.8), Piece(video, 0.6, 0.8)], tmp_path / "cut")
    with av.open(str(copied)) as container:
        assert next(container.decode(video=0)).rotation == 90
    with av.open(str(encoded)) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (96, 256, 0)
    assert numbers(encoded, rotated=True) == list(range(15, 20))


def test_ten_bits_become_eight_and_odd_sizes_even(tmp_path):
    deep = write_video(tmp_path / "deep.mp4", pixels="yuv420p10le")
    odd = write_video(tmp_path / "odd.mp4", size=(257, 97), pixels="yuv444p")
    paths = cut([Piece(deep, 0.6, 0.8), Piece(odd, 0.6, 0.8)], tmp_path / "cut")
    for path in paths:
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            assert frame.format.name == "yuv420p" and frame.width % 2 == frame.height % 2 == 0
        assert numbers(path) == list(range(15, 20))


def test_times_of_a_variable_rate_are_kept(tmp_path):
    gaps = np.random.default_rng(0).integers(20, 200, 30)
    times = np.concatenate([[0], np.cumsum(gaps)]).tolist()
    video = write_video(tmp_path / "match.mkv", 31, times=times)
    start, stop = times[13] / 1000, (times[20] + 7) / 1000
    (path,) = cut([Piece(video, start, stop)], tmp_path / "cut")
    read = read_numbers(path)
    assert [number for number, _ in read] == list(range(13, 21))
    expected = [(time - times[13]) / 1000 for time in times[13:21]]
    np.testing.assert_allclose([time for _, time in read], expected, atol=0.002)
    assert duration(path) == pytest.approx(stop - start, abs=0.002)
    # The frame on display at the start belongs to the piece from there on.
    (path,) = cut([Piece(video, (times[16] - 10) / 1000, stop)], tmp_path / "between")
    assert read_numbers(path)[0][0] == 15
    assert read_numbers(path)[1][1] == pytest.approx(0.01, abs=0.002)


def test_a_piece_beyond_the_end_is_refused(video, tmp_path):
    for times in [(2.0, 2.5), (0.4, 9.0), (500, 501)]:
        with pytest.raises(UserError, match=r"match\.mp4 ends at 0:00:02; there is no piece"):
            cut([Piece(video, *times)], tmp_path / str(times[1]))
        assert os.listdir(tmp_path / str(times[1])) == []
    (path,) = cut([Piece(video, 1.8, 2.5)], tmp_path / "a little")
    assert numbers(path) == list(range(45, 50))


def test_a_folder_with_files_is_left_alone(video, tmp_path):
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(Exists, match="not empty"):
        cut([Piece(video, 0, 1)], tmp_path)
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_what_is_no_video_is_refused(video, tmp_path):
    whole = video.read_bytes()
    playlist = "#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/a.ts\n#EXT-X-ENDLIST\n"
    contents = {
        "empty": b"",
        "text": b"no video\n" * 50,
        "cut": whole[: len(whole) // 2],
        "random": np.random.default_rng(0).bytes(5000),
        "list": playlist.encode(),
        "lost": whole[:300] + bytes(4000) + whole[4300:],
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(content)
        with pytest.raises(Damaged, match=name):
            cut([Piece(path, 0.2, 0.6)], tmp_path / name)
        assert os.listdir(tmp_path / name) == []
    with pytest.raises(NotFound):
        cut([Piece(tmp_path / "gone.mp4", 0, 1)], tmp_path / "gone")


def test_a_disk_that_is_full_leaves_no_part_of_a_file(video, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(UserError, match="cannot write") as caught:
            cut([Piece(video, 0.6, 1.6)], tmp_path / "cut")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path / "cut") == []


def test_buckets_and_impossible_margins_are_refused(video, tmp_path):
    with pytest.raises(UserError, match="this computer"):
        cut([Piece(video, 0, 1)], "gs://bucket/cut")
    with pytest.raises(UserError, match="margin"):
        cut([Piece(video, 0, 1)], tmp_path / "cut", margin=-1)


def test_a_script_that_names_other_files_is_no_video(tmp_path):
    write_video(tmp_path / "real.mp4")
    script = tmp_path / "script.mp4"
    script.write_text("ffconcat version 1.0\nfile 'real.mp4'\n")
    with pytest.raises(UserError, match=r"script\.mp4"):
        cut([Piece(script, 0, 0.2)], tmp_path / "out")
