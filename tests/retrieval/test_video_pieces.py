"""Hits and moments as pieces of their videos, and the boxes of the people in them."""

import numpy as np
import pytest

from stvh_jax.errors import NotFound, UserError
from stvh_jax.retrieval import kept_tracks
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.moments import moments_of
from stvh_jax.retrieval.video_pieces import boxes_of, pieces_of
from stvh_jax.video.pieces import Piece
from stvh_jax.video.tracks import UNTRACKED, Tracks
from tests.helpers.filmed import film, opened


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return film(tmp_path_factory.mktemp("pieces"), "game")  # 4 seconds


@pytest.fixture
def search(tmp_path, video):
    """Gives a search in an index of these clips."""

    def find(**record):
        index = Index.create(tmp_path / "i", bits=16, stored_foci=(1,))
        count = len(record["clip"])
        codes = np.zeros((count, 2), np.uint8)
        codes[:, 0] = 2 ** np.arange(count) - 1
        index.add(codes, match="game", **{"media": str(video), **record})
        (hits,) = index.search(np.zeros(2, np.uint8), k=count)
        return hits

    return find


def test_pieces_are_within_their_video(search, video):
    hits = search(clip=["a", "b", "c"], start=[0.2, 0.6, 3], stop=[0.6, 1, 3.4],
                  activity=["spike", None, None], predicted=["x", "set", None])  # fmt: skip
    pieces = pieces_of(hits, around=1)
    assert [p.start for p in pieces] == pytest.approx([0, 0, 2])
    assert [p.stop for p in pieces] == pytest.approx([1.6, 2, 4])
    assert [p.label for p in pieces] == ["spike", "set", ""]
    assert [p.distance for p in pieces] == [0, 1, 2]
    assert {(p.match, p.media) for p in pieces} == {("game", str(video))}
    moments = moments_of(hits, step=0.4)
    assert [(p.start, p.stop) for p in pieces_of(moments)] == [(0.2, 1), (3, 3.4)]


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        ({"media": None, "start": 0, "stop": 1}, UserError, "has no video or no times"),
        ({}, UserError, "clip game/a has no video or no times in the index"),
        ({"media": "/gone.mp4", "start": 0, "stop": 1}, NotFound, "video /gone.mp4 of clip game/a"),
        ({"start": 4, "stop": 5}, UserError, "begins at 0:00:04.0, but .* ends at 0:00:04.0"),
    ],
)
def test_what_cannot_be_cut_out(search, record, error, message):
    with pytest.raises(error, match=message):
        pieces_of(search(clip=["a"], **record))


def test_boxes_are_those_of_the_kept_tracks(tmp_path, video):
    file, tracks = opened(video)
    kept_tracks.keep(str(tmp_path), "game", tracks, file)
    piece = Piece(video, 1.0, 2.0, match="game")
    found, missing = boxes_of(str(tmp_path), [piece, Piece(video, 1, 2, match="other")])
    assert missing is None
    np.testing.assert_allclose(found.times, 1 + np.arange(25) / 25)
    assert found.boxes.shape == (25, 4, 4)
    for frame in (25, 49):
        boxes = tracks.boxes[tracks.frames == frame]
        np.testing.assert_array_equal(found.boxes[frame - 25], boxes)


def test_boxes_of_people_whom_nobody_followed_are_all_there(tmp_path, video):
    file, _ = opened(video)
    frames = np.array([10, 10, 10, 11, 12, 12])
    boxes = np.linspace(0.1, 0.4, 24, dtype=np.float32).reshape(6, 4)
    people = np.full(6, UNTRACKED)
    people[2] = 7
    tracks = Tracks(frames, people, boxes, np.ones(6, np.float32))
    kept_tracks.keep(str(tmp_path), "game", tracks, file)
    (found,) = boxes_of(str(tmp_path), [Piece(video, 0.4, 0.52, match="game")])
    for frame in (10, 11, 12):
        there = found.boxes[frame - 10]
        there = there[np.isfinite(there[:, 0])]
        assert sorted(there.tolist()) == sorted(boxes[frames == frame].tolist())


def test_damaged_tracks_are_told(tmp_path, video):
    file, tracks = opened(video)
    kept_tracks.keep(str(tmp_path), "game", tracks, file)
    path = kept_tracks.path_of(str(tmp_path), "game")
    path.write_bytes(path.read_bytes()[:100])
    lines = []
    piece = Piece(video, 1, 2, match="game")
    assert boxes_of(str(tmp_path), [piece], report=lines.append) == [None]
    assert len(lines) == 1 and lines[0].startswith("no boxes of game: ")
    assert boxes_of("s3://bucket/i", [piece]) == [None]


@pytest.mark.parametrize(
    "name",
    ["a b", 'it\'s "q"', "日本", "x" * 200, "日" * 80, ".dots..", "a/../b", "%", "50%2F"],
)
def test_tracks_are_kept_under_any_name(tmp_path, video, name):
    file, tracks = opened(video)
    kept_tracks.keep(str(tmp_path / "i"), name, tracks, file)
    np.testing.assert_array_equal(kept_tracks.read(str(tmp_path / "i"), name, file).boxes,
                                  tracks.boxes)  # fmt: skip
    assert kept_tracks.path_of(str(tmp_path / "i"), name).parent == tmp_path / "i" / "tracks"
    assert len(list((tmp_path / "i" / "tracks").iterdir())) == 1
    with pytest.raises(NotFound, match="has no tracks of .*game.mp4 yet; give --tracks"):
        kept_tracks.read(str(tmp_path / "i"), name + "2", file)


def test_names_of_long_names_differ():
    paths = {kept_tracks.path_of("i", "日" * 80 + end) for end in ("", "a", "b")}
    assert len(paths) == 3 and all(len(path.name.encode()) < 230 for path in paths)
