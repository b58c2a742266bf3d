"""Indexes that were made apart are joined; the folder of tracks is no part of the store."""

import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.retrieval import kept_tracks, merging
from stvh_jax.retrieval.index import Index
from tests.helpers.filmed import film, opened

ORIGIN = {"checkpoint": "3-abc", "frames_per_second": 25.0}
RNG = np.random.default_rng(2)


@pytest.fixture
def make(tmp_path):
    def index(name, matches, *, clips=5, origin=ORIGIN, bits=16, columns=None, media="/{}.mp4"):
        made = Index.create(
            tmp_path / name, bits=bits, stored_foci=(0, 2), origin=origin, columns=columns
        )
        for match in matches:
            codes = {focus: RNG.integers(0, 256, (clips, bits // 8), np.uint8) for focus in (0, 2)}
            made.add(codes, match=match, clip=range(clips), start=range(clips), predicted="set",
                     stop=np.arange(clips) + 1.0, media=media.format(match))  # fmt: skip
        return made

    return index


def rows(index):
    arrays = index.export_codes()
    codes = [arrays[f"codes_{focus}"].tolist() for focus in (0, 2)]
    return sorted(zip(map(str, index.clips().to_pylist()), *codes))


@pytest.mark.parametrize("at_once", [2, 1 << 13])
def test_the_clips_of_another_index_are_added_once(make, monkeypatch, at_once):
    monkeypatch.setattr(merging, "_AT_ONCE", at_once)
    first, second = make("first", ["a", "b"]), make("second", ["c", "d"])
    both = rows(first) + rows(second)
    assert first.add_from(second) == 10
    assert rows(Index.open(first.uri)) == sorted(both)
    version = first.version
    assert first.add_from(second) == 0 and first.version == version
    first.delete("match = 'c' AND clip = '1' OR match = 'd'")
    assert first.add_from(Index.open(second.uri)) == 6
    assert rows(first) == sorted(both)
    assert len(second) == 10


def test_one_that_was_cut_short_goes_on(make, monkeypatch):
    monkeypatch.setattr(merging, "_AT_ONCE", 2)
    first, second = make("first", ["a"]), make("second", ["b"])
    real, added = first.engine.add, []

    def failing(clips):
        if added:
            raise UserError("the disk is full")
        added.append(real(clips))

    monkeypatch.setattr(first.engine, "add", failing)
    with pytest.raises(UserError, match="the disk is full"):
        first.add_from(second)
    monkeypatch.setattr(first.engine, "add", real)
    assert first.add_from(second) == 3 and len(first) == 10


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"bits": 24}, "its bits is 24, not 16"),
        ({"origin": ORIGIN | {"checkpoint": "4-x"}}, "its checkpoint is 4-x, not 3-abc"),
        ({"origin": ORIGIN | {"frames_per_second": 30.0}}, "its frames per second is 30.0, not"),
        ({"columns": {"player": "text"}}, "its columns is"),
    ],
)
def test_other_codes_are_refused(make, other, message):
    first, second = make("first", ["a"]), make("second", ["b"], **other)
    with pytest.raises(UserError, match=message):
        first.add_from(second)
    assert len(first) == 5


def test_a_match_of_another_video_is_refused(make):
    first = make("first", ["a"])
    with pytest.raises(UserError, match="clips of a match a already, which are of another video"):
        first.add_from(make("second", ["a"], clips=9, media="/elsewhere/{}.mp4"))
    assert first.add_from(make("third", ["a"], clips=9)) == 4


def test_tracks_are_copied_and_outlive_every_write(make, tmp_path):
    first, second = make("first", ["a"]), make("second", ["b"])
    video, tracks = opened(film(tmp_path, "b", 30))
    kept_tracks.keep(second.uri, "b", tracks, video)
    first.add_from(second)
    path = kept_tracks.path_of(first.uri, "b")
    content = path.read_bytes()
    assert content == kept_tracks.path_of(second.uri, "b").read_bytes()
    path.write_bytes(b"one's own")
    first.add_from(second)
    assert path.read_bytes() == b"one's own"
    first.delete("match = 'b'")
    first.compact()
    first.restore(2)
    again = Index.open(first.uri)
    again.refresh()
    assert len(again) == 5 and again.versions() and Index.exists(first.uri)
    assert path.read_bytes() == b"one's own"


def test_a_folder_with_tracks_alone_is_no_index_and_may_become_one(tmp_path):
    video, tracks = opened(film(tmp_path, "b", 30))
    place = tmp_path / "i"
    kept_tracks.keep(str(place), "b", tracks, video)
    assert not Index.exists(place)
    made = Index.create(place, bits=16, stored_foci=(1,))
    made.add(np.zeros((1, 2), np.uint8), match="b", clip="0")
    assert len(Index.open(place)) == 1
