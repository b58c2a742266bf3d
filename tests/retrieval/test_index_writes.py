"""What an index keeps: writes, versions, names, derived codes on disk."""

import shutil

import numpy as np
import pytest

from stvh_jax.errors import Exists, UserError
from stvh_jax.retrieval.engine import Engine, EngineKind, Snapshot
from stvh_jax.retrieval.index import Index
from tests.helpers.indexed_clips import (
    BITS,
    listed,
    names,
    random_codes,
    random_matrix,
)


def test_the_engine_is_one(small):
    assert isinstance(small.engine, Engine)
    assert isinstance(type(small.engine), EngineKind)
    assert isinstance(small.engine.snapshot(), Snapshot)


def test_writes_are_versions(small, tmp_path):
    first = small.version
    small.upsert(np.full((2, 2), 255, np.uint8), match=["a", "c"], clip=[2, 4])
    assert names(small) == ["a/1", "a/2", "b/3", "c/4"]
    assert small.get([("a", 2)])[0][1].tolist() == [[255, 255]]
    assert small.delete("match = 'a'") == 2
    assert len(small) == 2
    assert names(small) == ["b/3", "c/4"]
    assert [entry["clips"] for entry in small.versions()] == [0, 3, 4, 2]
    assert names(Index.open(tmp_path / "index", version=first)) == ["a/1", "a/2", "b/3"]
    small.restore(first)
    small.compact()
    assert names(Index.open(tmp_path / "index")) == names(small) == ["a/1", "a/2", "b/3"]
    assert small.get([("a", 2)])[0][1].tolist() == [[0, 1]]


def test_hits_are_those_of_the_version_searched(small, tmp_path):
    """Hits are read when first asked for, which may be after a write."""
    (hits,) = small.search(np.array([[0, 1]], np.uint8), k=3)
    small.delete("match = 'a'")
    small.add(np.full((5, 2), 255, np.uint8), match=["c"] * 5, clip=range(5))
    small.compact()
    # The clips have the codes 1 0, 0 1 and 0 0.
    assert listed(hits) == [(0, "a", "2"), (1, "b", "3"), (2, "a", "1")]
    assert [hit.distances[1] for hit in hits] == [0, 1, 2]
    assert names(small) == ["b/3", *(f"c/{clip}" for clip in range(5))]


def test_an_interrupted_write_is_seen(small):
    """The store may have the new version when Ctrl-C is raised."""
    with pytest.raises(KeyboardInterrupt), small.engine._writing():
        small.engine._table.delete("clip = '2'")
        raise KeyboardInterrupt
    assert names(small) == ["a/1", "b/3"]
    assert small.get([("b", 3)])[1][0]["clip"] == "3"


def test_an_old_version_is_read_only(small, tmp_path):
    old = Index.open(tmp_path / "index", version=small.version)
    small.delete("clip = '1'")
    with pytest.raises(
        UserError, match="was opened at version 2; to write, open it without a version"
    ):
        old.delete("clip = '2'")
    assert names(old) == ["a/1", "a/2", "b/3"]
    old.refresh()
    old.delete("clip = '2'")
    assert names(old) == ["b/3"]


def test_what_is_not_known_is_null(small):
    small.add(
        np.zeros((2, 2), np.uint8),
        match=np.array([7, 7]),
        clip=[1, 2],
        start=[float("nan"), 3.0],
        stop=np.array([np.nan, 4.0]),
        confidence=[None, 0.5],
    )
    assert small.count("start IS NULL AND match = '7'") == 1
    assert small.count("start > 1") == 1
    (record, _) = small.get([("7", 1), ("7", 2)])[1]
    assert (record["start"], record["stop"], record["confidence"]) == (None, None, None)


def test_a_copy_keeps_its_own_derived_codes(tmp_path, monkeypatch):
    """Two copies that went on differently have the same name, and in a bucket one cache."""
    monkeypatch.setattr(
        "stvh_jax.retrieval.lance.derived_codes.cache_folder", lambda uri: tmp_path / "cache"
    )
    matrix = random_matrix()
    index = Index.create(tmp_path / "a", bits=BITS, stored_foci=(3,), filter_matrix=matrix)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for folder, seed in (("a", 1), ("b", 2)):
        codes = random_codes(40, seed=seed)[3]
        index = Index.open(tmp_path / folder)
        index.add(codes, match=["m"] * 40, clip=range(40))
        (hits,) = index.search(codes[:1], focus=1, k=40)
        assert all(hit.distance == hit.distances[1] for hit in hits)


def test_a_reader_keeps_its_version_until_it_refreshes(small, tmp_path):
    reader = Index.open(tmp_path / "index")
    assert names(reader) == ["a/1", "a/2", "b/3"]
    small.delete("match = 'a'")
    assert names(reader) == ["a/1", "a/2", "b/3"]
    reader.refresh()
    assert names(reader) == ["b/3"]


def test_a_clip_that_another_process_added_since(small, tmp_path):
    other = Index.open(tmp_path / "index")
    assert names(other) == ["a/1", "a/2", "b/3"]
    small.add(np.zeros((1, 2), np.uint8), match=["a"], clip=[7])
    with pytest.raises(Exists, match="clip a/7 is in"):
        other.add(np.zeros((1, 2), np.uint8), match=["a"], clip=[7])
    assert names(other) == ["a/1", "a/2", "a/7", "b/3"]


def test_one_writer_at_a_time(small, tmp_path):
    other = Index.open(tmp_path / "index")
    with (
        small.engine._writing(),
        pytest.raises(UserError, match="another process writes to .*index; try again"),
    ):
        other.delete("clip = '1'")
    other.delete("clip = '1'")
    small.add(np.zeros((1, 2), np.uint8), match=["d"], clip=[9])
    assert names(small) == ["a/2", "b/3", "d/9"]


def test_an_empty_index_finds_nothing(tmp_path):
    index = Index.create(
        tmp_path / "index", bits=BITS, stored_foci=(3,), filter_matrix=random_matrix()
    )
    for focus in (3, 1, 0.5):
        (hits,) = index.search(np.zeros(BITS // 8, np.uint8), focus=focus)
        assert len(hits) == hits.ties_at_k == 0
        assert list(hits) == []
    hits.export(tmp_path / "hits.csv")
    assert len(index) == 0


def test_derived_codes_are_kept_on_disk_and_never_stale(tmp_path):
    folder, matrix = tmp_path / "index", random_matrix()
    index = Index.create(folder, bits=BITS, stored_foci=(3,), filter_matrix=matrix)
    codes = random_codes(50)[3]
    index.add(codes, match=["m"] * 50, clip=range(50))
    wanted = index.search(codes[:1], focus=1)[0]
    (cached,) = (folder / "derived").glob("*.npy")
    assert matrix.digest[:16] in cached.name
    # From the cache, read and not made again.
    reader = Index.open(folder)
    reader.info.filter_matrix.derive(codes[:1], 1)
    content = cached.read_bytes()
    assert listed(reader.search(codes[:1], focus=1)[0]) == listed(wanted)
    assert cached.read_bytes() == content
    for damaged in (b"", content[:100], content[:-7], b"x" * len(content)):
        cached.write_bytes(damaged)
        assert listed(Index.open(folder).search(codes[:1], focus=1)[0]) == listed(wanted)
        assert cached.read_bytes() == content
    # After a write the codes are those of the new version, and the old ones are gone.
    index.upsert(codes[:1], match=["m"], clip=[49])
    hits = index.search(codes[:1], focus=1, k=2)[0]
    assert [(hit.distance, hit.clip) for hit in hits] == [(0, "0"), (0, "49")]
    (renewed,) = (folder / "derived").glob("*.npy")
    assert renewed.name != cached.name
