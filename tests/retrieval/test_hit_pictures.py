"""Pictures of hits, from videos and from prepared sets, as PNG and SVG files."""

import numpy as np
import pytest

from stvh_jax.errors import NotFound, UserError
from stvh_jax.reporting import pages
from stvh_jax.retrieval.asking import ask
from stvh_jax.retrieval.hit_pictures import write_grid
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.moments import moments_of
from stvh_jax.retrieval.queries import Query
from tests.helpers.numbered_videos import write_video
from tests.helpers.videos import make_video, number_in

UNKNOWN = dict.fromkeys(("match", "clip", "start", "stop", "activity", "split", "predicted"))


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("pictures") / "game.mp4", 100, g=12)


@pytest.fixture
def index(tmp_path, video):
    """Gives an index of 30 clips of a video and of 30 of a prepared set."""
    made = Index.create(tmp_path / "index", bits=16, stored_foci=(1,))
    codes = np.zeros((30, 2), np.uint8)
    codes[:, 0] = np.arange(30)
    start = np.arange(30) * 0.12
    made.add(codes, match="game", clip=range(30), start=start, stop=start + 0.04, media=str(video))
    made.add(codes, match="3", clip=range(30), split=["train", "test"] * 15, activity="set")
    return made


@pytest.fixture
def drawn(monkeypatch):
    """Keeps the pictures that are drawn."""
    plots, kept = pages.load_plots(), []
    real = plots.hit_pages

    def keep(query, hits, **options):
        kept.append((query, list(hits), options))
        return real(query, hits, **options)

    monkeypatch.setattr(plots, "hit_pages", keep)
    return kept


def key_frames(asked_for):
    def images(split, clips):
        asked_for.append(split)
        return {name: np.full((12, 30, 3), int(name[1]), np.uint8) for name in clips}

    return lambda: images


def found(index, clip=("game", "0"), k=50, **options):
    query = ask(index, Query(*index.get([clip])), ranking="hamming")
    (hits,) = index.search(np.zeros(2, np.uint8), k=k, **options)
    return query, hits


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_fifty_hits_make_three_pages(index, drawn, tmp_path, ending):
    query, hits = found(index)
    splits = []
    paths = write_grid(tmp_path / f"g.{ending}", query, hits, key_frames(splits), focus="activity")
    assert [path.name for path in paths] == [f"g.{ending}", f"g-2.{ending}", f"g-3.{ending}"]
    start = b"\x89PNG" if ending == "png" else b"<?xml"
    assert all(path.read_bytes().startswith(start) for path in paths)
    ((first, pictures, options),) = drawn
    assert sorted(splits) == ["test", "train"]  # each is read once
    assert number_in(first.image) == 0 and (first.match, first.time) == ("game", "0:00:00.0")
    for hit, picture in zip(hits, pictures, strict=True):
        assert (picture.match, picture.distance) == (hit.match, hit.distance)
        if hit.match == "game":  # the frame nearest to the middle, of an even number the earlier
            middle = (hit.start + hit.stop) / 2
            assert abs(number_in(picture.image) / 25 - middle) <= 0.02 + 1e-6
            assert picture.image.shape == (64, 160, 3)
        else:
            assert picture.image[0, 0, 0] == int(hit.clip) and picture.time == ""
            assert picture.activity == "set"
    assert not options["compares_match"]


def test_moments_show_their_nearest_hit(index, drawn, tmp_path):
    query, hits = found(index, where="match = 'game'")
    moments = moments_of(hits, step=0.12)
    assert len(moments) == 1
    write_grid(tmp_path / "g.png", query, moments, key_frames([]), focus=0.0)
    ((_, pictures, options),) = drawn
    assert number_in(pictures[0].image) == 0 and options["compares_match"]


def test_large_videos_are_drawn_small(tmp_path, drawn):
    media = write_video(tmp_path / "large.mp4", 10, size=(1280, 720))
    made = Index.create(tmp_path / "i", bits=16, stored_foci=(1,))
    made.add(np.zeros((1, 2), np.uint8), match="large", clip="0", start=0, stop=0.4,
             media=str(media))  # fmt: skip
    query, hits = found(made, clip=("large", "0"))
    write_grid(tmp_path / "g.png", query, hits, key_frames([]), focus="visual")
    assert drawn[0][1][0].image.shape == (360, 640, 3)


def test_clips_from_files_may_have_no_picture(index, drawn, tmp_path):
    codes, _ = index.get([("game", "0")])
    _, hits = found(index, k=2)
    image = np.full((5, 5, 3), 9, np.uint8)
    for given in (None, image):
        query = ask(index, Query(codes, [dict(UNKNOWN)], image=given), ranking="hamming")
        write_grid(tmp_path / "g.png", query, hits, key_frames([]), focus="activity")
    (none, pictures, _), (first, _, _) = drawn
    assert none is None and len(pictures) == 2
    assert first.image is image and first.distance is None


def test_what_has_no_picture_is_one_line(index, tmp_path, video):
    codes, _ = index.get([("game", "0")])
    index.add(codes, match="gone", clip="0", start=0, stop=1, media="/gone.mp4")
    index.add(codes, match="bare", clip="0")
    index.add(codes, match="timeless", clip="0", media=str(video))
    for match, error, message in [
        (
            "gone",
            NotFound,
            "the video /gone.mp4 is not there; put it back, or, if it was",
        ),
        ("bare", UserError, "clip bare/0 is neither in a prepared set nor of a video"),
        ("timeless", UserError, "clip timeless/0 is neither"),
    ]:
        query, hits = found(index, where=f"match = '{match}'")
        with pytest.raises(error, match=message):
            write_grid(tmp_path / "g.png", query, hits, key_frames([]), focus="activity")
    query, hits = found(index, k=1)
    with pytest.raises(UserError, match="must end in .png, .svg"):
        write_grid(tmp_path / "g.jpg", query, hits, key_frames([]), focus="activity")
    assert not list(tmp_path.glob("g*"))
