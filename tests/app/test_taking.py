"""What is taken away from a search, read as other programs read it."""

import csv
import io
import re

import numpy as np
import pytest

from stvh_jax.app import taking
from stvh_jax.errors import NotFound, UserError
from stvh_jax.retrieval import asking, saved_query
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.moments import moments_of
from stvh_jax.retrieval.queries import Query
from stvh_jax.retrieval.video_pieces import pieces_of
from stvh_jax.video.pieces import Piece
from tests.helpers.numbered_videos import duration, read_numbers, write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("taken") / "game.mp4")  # 2 seconds


@pytest.fixture
def searched(tmp_path, video):
    """Gives an index of three clips and what was found in it."""
    index = Index.create(tmp_path / "i", bits=16, stored_foci=(0, 1), columns={"player": "text"})
    codes = np.array([[0, 0], [1, 0], [3, 0]], np.uint8)
    index.add({0: codes, 1: codes[::-1].copy()}, match="game", clip=[0, 1, 2], start=[0, 0.4, 1.2],
              stop=[0.5, 0.9, 1.6], predicted=["r_set", "a, b", "x"], media=str(video),
              player=["Ann", None, '"Bo"'])  # fmt: skip
    (hits,) = index.search({0: codes[:1], 1: codes[:1]}, k=3)
    return index, hits


def rows(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_all_hits_are_the_table_that_is_exported(searched, tmp_path):
    index, hits = searched
    hits.export(tmp_path / "all.csv")
    assert taking.hits_csv(hits, index.info) == (tmp_path / "all.csv").read_bytes()


def test_some_hits_are_ranked_anew(searched):
    index, hits = searched
    table = rows(taking.hits_csv([hits[2], hits[0]], index.info))
    assert [(row["rank"], row["clip"]) for row in table] == [
        ("1", hits[2].clip),
        ("2", hits[0].clip),
    ]
    assert [row["player"] for row in table] == [
        hits[place].record["player"] or "" for place in (2, 0)
    ]
    assert [float(row["distance_0"]) for row in table] == [hits[p].distances[0] for p in (2, 0)]
    assert rows(taking.hits_csv([], index.info)) == []


def test_a_moment_is_one_row_with_its_own_times(searched):
    index, hits = searched
    moments = moments_of(hits)
    assert len(moments) == 2
    table = rows(taking.hits_csv(moments, index.info))
    times = {(float(row["start"]), float(row["stop"])) for row in table}
    assert times == {(0.0, 0.9), (1.2, 1.6)}
    assert [row["clip"] for row in table] == [moment.best.clip for moment in moments]


def test_lists_of_pieces(searched):
    pieces = pieces_of(searched[1][1:])
    edl = taking.cut_list(pieces, "my\ntitle").decode()
    assert edl.startswith("TITLE: my title\nFCM: NON-DROP FRAME\n")
    assert re.findall(r"^(\d{3})  AX", edl, re.M) == ["001", "002"]
    lines = taking.chapters(pieces).decode().splitlines()
    assert [line.split()[:2] for line in lines] == [["0:00", "1."], ["0:00", "2."]]
    for write in (lambda none: taking.cut_list(none, "x"), taking.chapters, taking.check_reel):
        with pytest.raises(UserError, match="there are no pieces"):
            write([])


def test_a_query_is_the_file_that_the_command_line_reads(searched, tmp_path):
    index, _ = searched
    asked = asking.ask(index, Query(*index.get([("game", "1")])), ranking="hamming")
    (tmp_path / "q.json").write_bytes(taking.query_file(asked, index, "visual"))
    loaded = saved_query.load(tmp_path / "q.json")
    assert (loaded.title, loaded.focus, loaded.bits) == ("game/1", "visual", 16)
    again = asking.ask(index, saved=loaded)
    first, second = (asking.search(index, each, focus=0, k=3) for each in (asked, again))
    nearest = {hit.clip: hit.distance for hit in second}
    assert all(nearest[hit.clip] == hit.distance for hit in first)


def test_a_reel_is_made_in_a_process_of_its_own(tmp_path, video):
    pieces = [Piece(video, np.float64(1.2), 1.6, match="b", distance=np.float64(2)),
              Piece(video, 0, 0.4, "r_set", "a")]  # fmt: skip
    path = taking.reel_file(pieces, tmp_path, patience=300)
    assert path.parent.parent == tmp_path and list(path.parent.iterdir()) == [path]
    assert duration(path) == pytest.approx(0.8)
    assert [number for number, _ in read_numbers(path)] == [*range(30, 40), *range(10)]


def test_a_reel_that_cannot_be_made_leaves_nothing(tmp_path, video):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(UserError, match="broken.mp4 is not a readable video"):
        taking.reel_file([Piece(broken, 0, 1)], tmp_path, patience=300)
    with pytest.raises(UserError, match="longer than 0.01 seconds"):
        taking.reel_file([Piece(video, 0, 1)], tmp_path, patience=0.01)
    assert list(tmp_path.iterdir()) == [broken]
    assert taking._reels._free.acquire(blocking=False)
    with pytest.raises(UserError, match="another reel is being made; try again"):
        taking.reel_file([Piece(video, 0, 1)], tmp_path)
    taking._reels._free.release()


def test_how_large_a_reel_may_be(video):
    taking.check_reel([Piece(video, 0, 12)] * 50)
    with pytest.raises(UserError, match="at most 50 pieces and 0:10:00.0, and these are 51 of"):
        taking.check_reel([Piece(video, 0, 1)] * 51)
    with pytest.raises(UserError, match="these are 2 of 0:10:01.0; select fewer"):
        taking.check_reel([Piece(video, 0, 1), Piece(video, 0, 600)])
    with pytest.raises(NotFound, match="there is no video file /gone.mp4"):
        taking.check_reel([Piece("/gone.mp4", 0, 1)])
