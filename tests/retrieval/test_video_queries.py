"""A time of a video as a query: the clip of the index, or one that is encoded for it."""

import numpy as np
import pytest

from stvh_jax.errors import NotFound, UserError
from stvh_jax.inference.encoder import load
from stvh_jax.retrieval.encoded_queries import moment_query
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.video_indexing import Archive, Cutting, Footage, index_video
from stvh_jax.retrieval.video_queries import check_moment, indexed_clip, match_of
from tests.helpers.filmed import film, opened

CUTTING = Cutting(every=0.4)
LEFT = np.array([[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]])


@pytest.fixture(scope="module")
def encoder(trained):
    return load(trained())


@pytest.fixture(scope="module")
def folder(trained, encoder, tmp_path_factory):
    """Gives a folder with two videos, and an index of one of them."""
    place = tmp_path_factory.mktemp("queries")
    film(place, "other", seed=3)
    video, tracks = opened(film(place, "game", nobody=range(40, 60)))
    archive = Archive(trained(), encoder, place / "index", CUTTING)
    index_video(archive, Footage(video, tracks, "game", keep=True), CUTTING)
    return place


@pytest.fixture(scope="module")
def index(folder):
    return Index.open(folder / "index")


def ask(index, encoder, path, at, match="game", **options):
    return moment_query(index, lambda: encoder, Footage(*opened(path), match), at, **options)


@pytest.mark.parametrize(
    ("at", "clip"),
    [(0, "0"), (0.19, "0"), (0.25, "400"), (0.4, "400"), (3.6, "3600"), (3.99, "3600"),
     (1.7, None), (2.1, None), (2.3, "2400"), (4.0, None), (100, None)],
)  # fmt: skip
def test_a_time_is_that_of_the_nearest_clip(index, folder, at, clip):
    found = indexed_clip(index, folder / "game.mp4", at)
    assert found == (None if clip is None else ("game", clip))


@pytest.mark.parametrize("at", [0, 0.4, 3.6])
def test_what_is_encoded_has_the_code_of_the_index(index, encoder, folder, at):
    query = ask(index, encoder, folder / "game.mp4", at)
    codes, (stored,) = index.get([("game", str(round(1000 * at)))])
    for focus, each in codes.items():
        np.testing.assert_array_equal(query.codes[focus], each)
    (record,) = query.records
    for name in ("match", "clip", "start", "stop", "predicted", "media", "activity", "split"):
        assert record[name] == stored[name]
    assert sorted(query.relaxed) == sorted(codes) and query.image is None


def test_a_region_leaves_out_people(index, encoder, folder):
    video, tracks = opened(folder / "other.mp4")
    query = ask(index, encoder, folder / "other.mp4", 1.0, region=LEFT)
    boxes = tracks.boxes[tracks.frames == 25]
    inside = (boxes[:, 1] + boxes[:, 3]) / 2 <= 0.5
    assert inside.any() and not inside.all()
    encoding = encoder.encode(None, boxes[inside][None])
    for focus, each in encoding.codes.items():
        np.testing.assert_array_equal(query.codes[focus], each)


@pytest.mark.parametrize("at", [-0.1, 4.0, 1e9, float("nan"), float("inf")])
def test_a_time_beyond_the_video(index, encoder, folder, at):
    with pytest.raises(NotFound, match="give a time from 0:00:00.0 to 0:00:03.9"):
        ask(index, encoder, folder / "game.mp4", at)
    with pytest.raises(NotFound, match="is shorter than a clip, of 5 seconds"):
        check_moment(opened(folder / "game.mp4")[0], 0, seconds=5)


def test_nobody_is_there(index, encoder, folder):
    with pytest.raises(NotFound, match=r"nobody is tracked in .*game.mp4 at 0:00:02.0"):
        ask(index, encoder, folder / "game.mp4", 2)


def test_the_match_of_a_video(index, folder, tmp_path):
    assert match_of(index, folder / "game.mp4") == ("game", True)
    assert match_of(index, folder / ".." / folder.name / "game.mp4") == ("game", True)
    assert match_of(index, folder / "other.mp4") == ("other", False)
    another = film(tmp_path, "game", 30)  # of the same name, while the first is still there
    assert match_of(index, another) == (str(another), False)
    assert indexed_clip(index, another, 0) is None
    made = Index.create(tmp_path / "i", bits=16, stored_foci=(1,))
    codes = np.zeros((2, 2), np.uint8)
    made.add(codes, match=["moved", "set"], clip=["0", "0"], media=["/gone/moved.mp4", None],
             start=[0, 0], stop=[1, 1])  # fmt: skip
    assert match_of(made, "moved.mp4") == ("moved", True)
    assert indexed_clip(made, "moved.mp4", 0.5) == ("moved", "0")  # of an index without a step
    assert indexed_clip(made, "moved.mp4", 1.5) is None
    assert match_of(made, tmp_path / "set.mp4") == (str(tmp_path / "set.mp4"), False)


def test_another_model_is_refused(encoder, folder, tmp_path):
    made = Index.create(tmp_path / "i", bits=16, stored_foci=(1,), origin={"checkpoint": "1-x"})
    with pytest.raises(UserError, match="was made with checkpoint 1-x"):
        ask(made, encoder, folder / "game.mp4", 0)
