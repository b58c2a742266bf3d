"""Posters, loops and boxes of the clips of an index: what they show; each is made once."""

import concurrent.futures
import io
import os
import shutil
import threading
import time

import av
import numpy as np
import pytest
from PIL import Image

from stvh_jax.app import loops as loops_module
from stvh_jax.app.loops import Loops
from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.retrieval import kept_tracks
from stvh_jax.retrieval.index import Index
from stvh_jax.video import small_clips
from stvh_jax.video.tracks import Tracks
from tests.helpers.filmed import film, opened
from tests.helpers.videos import make_video, number_in

COUNT, RATE = 100, 25  # four seconds


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    return film(tmp_path_factory.mktemp("loops"), "game", COUNT)


@pytest.fixture
def video(filmed, tmp_path):
    """Copies the video, so that it may be changed."""
    return shutil.copy(filmed, tmp_path / "game.mp4")


@pytest.fixture
def index(tmp_path, video):
    """Gives an index of clips of 0.4 seconds, one every 0.6, and of two of a prepared set."""
    made = Index.create(tmp_path / "index", bits=16, stored_foci=(1,))
    start = np.arange(7) * 0.6
    codes = np.zeros((7, 2), np.uint8)
    made.add(codes, match="game", clip=range(7), start=start, stop=start + 0.4, media=str(video))
    made.add(codes[:2], match="3", clip=range(2), split=["train", "test"])
    return made


@pytest.fixture
def loops(index, tmp_path):
    return Loops(index, threading.RLock(), tmp_path / "kept")


def frames_of(path):
    """Decodes the number and the time of each frame."""
    with av.open(str(path)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        context = container.streams.video[0].codec_context
        assert (context.name, context.profile) == ("h264", "Constrained Baseline")
        frames = list(container.decode(video=0))
    return [(number_in(frame.to_ndarray(format="rgb24")), frame.time) for frame in frames]


def test_a_loop_shows_its_clip_and_a_second_around_it(loops):
    # Clips start at 0, 1.2 and 3.6 seconds; the video has 100 frames, 25 a second.
    for clip, first, last in (("0", 0, 34), ("2", 5, 64), ("6", 65, 99)):
        path = loops.loop(("game", clip))
        numbers, times = zip(*frames_of(path))
        assert list(numbers) == list(range(first, last + 1))
        np.testing.assert_allclose(times, np.arange(len(numbers)) / RATE, atol=1e-3)
        content = path.read_bytes()
        assert content.index(b"moov") < content.index(b"mdat")  # it plays before it is loaded
        assert loops.loop(("game", clip)) == path


def test_a_poster_is_the_middle_of_its_clip(loops):
    for clip in range(6):
        with Image.open(io.BytesIO(loops.poster(("game", str(clip))))) as picture:
            assert (picture.format, picture.size) == ("JPEG", (160, 64))
            middle = (0.6 * clip + 0.2) * RATE
            assert number_in(np.asarray(picture)) == int(middle + 1e-6)


def test_large_videos_get_small_posters_and_loops(index, tmp_path):
    path = make_video(tmp_path / "large.mp4", 30, size=(600, 800))
    index.add(np.zeros(2, np.uint8), match="l", clip="0", start=0.1, stop=0.5, media=str(path))
    loops = Loops(index, threading.RLock(), tmp_path / "kept")
    with Image.open(io.BytesIO(loops.poster(("l", "0")))) as picture:
        assert picture.size == (320, 240)
    with av.open(str(loops.loop(("l", "0")))) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (320, 240)


def test_boxes_are_those_of_the_kept_tracks(index, loops, video, filmed):
    assert loops.boxes(("game", "2")) is None
    file, tracks = opened(filmed)
    kept_tracks.keep(index.uri, "game", tracks, file)
    data = loops.boxes(("game", "2"))
    assert (data["width"], data["height"]) == (160, 64)
    assert data["times"] == [40 * n for n in range(60)]  # frames 5 to 64
    for n, boxes in enumerate(data["boxes"]):
        there = np.array(boxes).reshape(-1, 4) / 10_000
        np.testing.assert_allclose(there, tracks.boxes[tracks.frames == 5 + n], atol=5.1e-5)
    far = np.array([90])
    one = Tracks(far, far, np.array([[0.1, 0.2, 0.5, 0.6]], np.float32), np.ones(1, np.float32))
    kept_tracks.keep(index.uri, "game", one, file)
    assert loops.boxes(("game", "0")) == {"times": [], "boxes": [], "width": 160, "height": 64}
    assert loops.boxes(("game", "6"))["boxes"][25] == [1000, 2000, 5000, 6000]


def test_tracks_are_read_once_until_they_change(index, loops, filmed, monkeypatch):
    file, tracks = opened(filmed)
    kept_tracks.keep(index.uri, "game", tracks, file)
    read, real = [], kept_tracks.read
    monkeypatch.setattr(kept_tracks, "read", lambda *args: read.append(args) or real(*args))
    first = [loops.boxes(("game", clip)) for clip in "0123"]
    assert len(read) == 1
    os.utime(kept_tracks.path_of(index.uri, "game"), (1, 1))
    assert [loops.boxes(("game", clip)) for clip in "0123"] == first and len(read) == 2


@pytest.fixture
def counted(monkeypatch):
    """Notes each encoding, and how many ran at once."""
    noted, running, lock, real = [], [0], threading.Lock(), small_clips.write_small_clip

    def write(path, piece):
        with lock:
            running[0] += 1
            noted.append((path.name, running[0]))
        time.sleep(0.02)
        try:
            return real(path, piece)
        finally:
            with lock:
                running[0] -= 1

    monkeypatch.setattr(loops_module.small_clips, "write_small_clip", write)
    return noted


def test_many_requests_make_each_loop_once_and_two_at_a_time(loops, counted):
    names = [("game", str(clip)) for clip in range(6)]
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        paths = list(pool.map(loops.loop, names * 8))
    assert len(set(paths)) == 6 and paths == paths[:6] * 8
    assert sorted(name for name, _ in counted) == sorted(path.name for path in set(paths))
    assert max(running for _, running in counted) == 2
    assert {path.name for path in paths[0].parent.iterdir()} == {path.name for path in paths}


def test_what_was_made_is_found_by_another_process(index, loops, tmp_path, counted):
    before = loops.poster(("game", "1")), loops.loop(("game", "1"))
    again = Loops(index, threading.RLock(), tmp_path / "kept")
    assert (again.poster(("game", "1")), again.loop(("game", "1"))) == before
    assert len(counted) == 1
    assert (
        Loops(index, threading.RLock(), tmp_path / "kept", around=0.5).loop(("game", "1"))
        != before[1]
    )


def test_a_changed_video_is_shown_anew(index, loops, video):
    name = ("game", "0")
    loop, poster = loops.loop(name), loops.poster(name)
    film(video.parent, "other", 20)
    os.replace(video.parent / "other.mp4", video)
    assert loops.loop(name) != loop and loops.poster(name) == poster
    assert [number for number, _ in frames_of(loops.loop(name))] == list(range(20))
    with pytest.raises(UserError, match="game/6 begins at .* ends at 0:00:00.8; .* index it again"):
        loops.loop(("game", "6"))
    with pytest.raises(UserError, match="no picture of clip game/6: .*ends at .* index it again"):
        loops.poster(("game", "6"))


def test_the_least_recently_used_go_first_and_none_in_use(index, tmp_path):
    folder = tmp_path / "kept"
    loops = Loops(index, threading.RLock(), folder)
    names = [("game", str(clip)) for clip in range(6)]
    paths = [loops.loop(name) for name in names]
    sizes = [path.stat().st_size for path in paths]
    (folder / "mine.txt").write_text("mine")
    ages = (3, 1, 0, 5, 4, 2)  # in hours; the third was given out just now
    for path, hours in zip(paths, ages):
        os.utime(path, (time.time() - 3600 * hours,) * 2)
    most = sum(sizes) - 1
    small = Loops(index, threading.RLock(), folder, most_bytes=most)
    assert small.loop(names[3]) == paths[3]  # the oldest is asked for, so that it is not
    small.poster(names[0])
    left = {path.name for path in folder.iterdir() if path.suffix == ".mp4"}
    gone = [path for path in paths if path.name not in left]
    assert gone == [paths[4]] or gone == [paths[4], paths[0]]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= most
    for path in folder.iterdir():
        os.utime(path, (time.time() - 30,) * 2)
    tiny = Loops(index, threading.RLock(), folder, most_bytes=1)
    before = {path.name for path in folder.iterdir()}
    tiny.poster(names[1])
    assert before < {path.name for path in folder.iterdir()}
    for path in folder.iterdir():
        os.utime(path, (time.time() - 3600,) * 2)
    poster = tiny.poster(names[4])
    left = [path for path in folder.iterdir() if path.name != "mine.txt"]
    assert [path.read_bytes() for path in left] == [poster]


def test_what_a_killed_process_left_is_cleared(index, tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    left = folder / f"{'0' * 32}.mp4.77.new"
    left.write_bytes(bytes(1000))
    os.utime(left, (1, 1))
    Loops(index, threading.RLock(), folder, most_bytes=1).poster(("game", "0"))
    assert not left.exists()


def test_a_clip_of_a_prepared_set_has_a_picture_and_no_loop(index, tmp_path):
    asked = []

    def key_frames(split, names):
        asked.append((split, names))
        return {name: np.full((480, 640, 3), 40 + 100 * int(name[1]), np.uint8) for name in names}

    loops = Loops(index, threading.RLock(), tmp_path / "kept", key_frames=key_frames)
    for clip in ("0", "1", "1"):
        with Image.open(io.BytesIO(loops.poster(("3", clip)))) as picture:
            assert picture.size == (320, 240)
            np.testing.assert_allclose(np.asarray(picture), 40 + 100 * int(clip), atol=2)
    assert asked == [("train", {("3", "0")}), ("test", {("3", "1")})]
    for ask in (loops.loop, loops.boxes):
        with pytest.raises(NotFound, match="clip 3/0 has pictures but no video .*--media"):
            ask(("3", "0"))
    with pytest.raises(NotFound, match="no picture of clip 3/0, .*index its video with --video"):
        Loops(index, threading.RLock(), tmp_path / "kept2").poster(("3", "0"))


def test_a_video_that_is_gone_or_broken_is_one_line(index, loops, video):
    video.write_bytes(video.read_bytes()[:400])
    for ask in (loops.loop, loops.poster):
        with pytest.raises(Damaged, match="of clip game/1: .*game.mp4 .*; .*index it again"):
            ask(("game", "1"))
    video.unlink()
    for ask in (loops.loop, loops.poster, loops.boxes):
        with pytest.raises(NotFound, match="game.mp4 of clip game/1 is not there; put it back, or"):
            ask(("game", "1"))
        with pytest.raises(NotFound, match="clip game/99 is not in the index"):
            ask(("game", "99"))


def test_a_folder_that_cannot_be_written_is_one_line(index, tmp_path):
    (tmp_path / "file").write_text("")
    loops = Loops(index, threading.RLock(), tmp_path / "file")
    for ask in (loops.loop, loops.poster):
        with pytest.raises(UserError, match="cannot write .*file"):
            ask(("game", "0"))
    for wrong in ({"most_bytes": 0}, {"around": -1}, {"around": float("nan")}):
        with pytest.raises(UserError, match=f"{next(iter(wrong))} is"):
            Loops(index, threading.RLock(), tmp_path, **wrong)
