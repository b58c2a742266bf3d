"""What a disk does to an index: the same clips are found, or one line names the damaged file."""

import json
import shutil

import numpy as np
import pytest

from stvh_jax.errors import Damaged, UserError
from stvh_jax.retrieval.index import Index
from tests.helpers.indexed_clips import BITS, random_codes, random_matrix, random_record

CLIPS = 60


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Gives a folder with an index that was written to several times, and what it holds."""
    folder = tmp_path_factory.mktemp("original") / "index"
    codes, record = random_codes(CLIPS), random_record(CLIPS)
    index = Index.create(folder, bits=BITS, stored_foci=(0, 3), filter_matrix=random_matrix())
    for part in (slice(0, 40), slice(40, 60)):
        some = {focus: values[part] for focus, values in codes.items()}
        index.add(some, **{name: values[part] for name, values in record.items()})
    index.delete("match = '2'")
    index.upsert(
        {focus: values[::-1][:3] for focus, values in codes.items()},
        **{name: values[:3] for name, values in record.items()},
    )
    contents(folder)
    return folder


def contents(folder):
    """Gives all that an index tells of its clips, at a stored and a derived focus."""
    index = Index.open(folder)
    zero = dict.fromkeys((0, 3), np.zeros((1, BITS // 8), np.uint8))
    found = []
    for focus in (3, 1):
        (hits,) = index.search(zero, focus=focus, k=None, radius=BITS)
        found.append([hit.to_dict() for hit in hits])
    (hits,) = index.search(zero, k=5, where="start > 4")
    versions = [(entry["version"], entry["clips"]) for entry in index.versions()]
    return found, [hit.to_dict() for hit in hits], versions, len(index), index.info.to_json()


def damaged_copies(original, folder, flips):
    """Yields a copy of an index for each damage: a file of it cut, emptied, deleted or flipped."""
    random = np.random.default_rng(0)
    for path in sorted(path for path in original.rglob("*") if path.is_file()):
        content = path.read_bytes()
        places = random.choice(len(content), min(len(content), flips), replace=False)
        flipped = [bytearray(content) for _ in places]
        for place, each in zip(places, flipped):
            each[place] ^= 1 << random.integers(8)
        for damaged in [None, b"", content[: len(content) // 2], *map(bytes, flipped)]:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(original, folder)
            copy = folder / path.relative_to(original)
            copy.unlink()
            if damaged is not None:
                copy.write_bytes(damaged)
            yield copy


@pytest.mark.parametrize("flips", [2, pytest.param(6, marks=pytest.mark.soak)])
def test_a_damaged_file_changes_nothing_or_is_named(flips, original, tmp_path):
    wanted = contents(original)
    alarms = 0
    for path in damaged_copies(original, tmp_path / "index", flips):
        try:
            assert contents(tmp_path / "index") == wanted, path
        except UserError as error:
            assert "\n" not in str(error)
            assert str(tmp_path / "index") in str(error)
            alarms += 1
    assert alarms > 50 * (3 + flips) / 9  # of all damages


def files_of(folder, pattern):
    return sorted((folder / "clips.lance").glob(pattern), key=lambda path: path.stat().st_mtime_ns)


def flip(path, place=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    path.unlink()
    path.write_bytes(content)


@pytest.fixture
def written(small, tmp_path):
    """Gives the folder of an index of two writes."""
    small.add(np.full((1, 2), 255, np.uint8), match=["c"], clip=[1])
    return tmp_path / "index"


def test_an_older_version_is_read_and_restored(written):
    newest = files_of(written, "data/*.lance")[-1]
    flip(newest)
    with pytest.raises(Damaged, match=f"{newest} is not what was written, .*older version"):
        Index.open(written)
    old = Index.open(written, version=2)
    assert len(old) == 3
    with pytest.raises(UserError, match="was opened at version 2"):
        old.delete("clip = '1'")
    old.restore(2)
    assert old.version == 4
    assert len(Index.open(written)) == 3
    with pytest.raises(Damaged, match="is not what was written"):
        old.restore(3)
    old.add(np.zeros((1, 2), np.uint8), match=["d"], clip=[1])
    assert len(Index.open(written)) == 4


def test_a_lost_version_is_not_an_older_index(written):
    manifest = min((written / "clips.lance" / "_versions").glob("*.manifest"))
    manifest.unlink()
    with pytest.raises(Damaged, match=f"{manifest}, version 3 of the index, is missing; restore"):
        Index.open(written)
    old = Index.open(written, version=2)
    old.restore(2)
    assert len(Index.open(written)) == 3
    shutil.rmtree(written / "clips.lance")
    for call in (
        lambda: Index.open(written),
        lambda: Index.create(written, bits=16, stored_foci=(1,)),
    ):
        with pytest.raises(Damaged, match="version 3 of the index, is missing"):
            call()


def test_nothing_is_written_over_damage(written):
    index = Index.open(written)
    flip(files_of(written, "data/*.lance")[0])
    for call in (
        lambda: index.add(np.zeros((1, 2), np.uint8), match=["d"], clip=[1]),
        lambda: index.delete("clip = '1'"),
        index.compact,
        index.refresh,
    ):
        with pytest.raises(Damaged, match="is not what was written"):
            call()


def test_an_index_without_digests_is_sealed_by_its_next_write(written):
    shutil.rmtree(written / "digests")
    index = Index.open(written)
    assert len(index) == 4
    index.delete("clip = '2'")
    assert {path.name for path in (written / "digests").iterdir()} == {"3.json", "4.json"}
    assert len(Index.open(written)) == 3
    flip(files_of(written, "data/*.lance")[0])
    with pytest.raises(Damaged, match="is not what was written"):
        Index.open(written)


def test_what_a_killed_writer_left_is_sealed_first(written):
    (written / "digests" / "3.json").unlink()
    assert len(Index.open(written)) == 4
    index = Index.open(written)
    index.delete("clip = '2'")
    assert sorted(path.name for path in (written / "digests").iterdir()) == [
        f"{version}.json" for version in (1, 2, 3, 4)
    ]
    flip(files_of(written, "data/*.lance")[-1])
    with pytest.raises(Damaged, match="is not what was written"):
        Index.open(written)


def test_a_damaged_digest_is_no_damaged_clip(written):
    path = written / "digests" / "2.json"
    content = json.loads(path.read_text())
    name = next(iter(content["files"]))
    content["files"][name] = "0" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(Damaged, match=f"{path} is not a file of digests .*opens unchecked"):
        Index.open(written)
    shutil.rmtree(written / "digests")
    assert len(Index.open(written)) == 4


def test_what_a_killed_write_leaves_is_no_part_of_the_index(tmp_path):
    folder = tmp_path / "index"
    index = Index.create(folder, bits=BITS, stored_foci=(3,))
    codes = random_codes(50)[3]
    index.add(codes, match=["m"] * 50, clip=range(50))
    index.delete("clip = '7'")
    names = ("_deletions", "_versions", "data")
    left = [place for name in names for place in folder.glob(f"*.lance/{name}")]
    assert len(left) == 3
    for place in left:
        (place / ".tmpA1b2c3").write_bytes(b"half")
    index.add(codes[:1], match=["m"], clip=[50])
    assert len(Index.open(folder)) == 50
    for place in left:
        (place / ".tmpA1b2c3").unlink()
    assert len(Index.open(folder).versions()) == len(index.versions())
    assert len(Index.open(folder)) == 50


def test_files_are_read_once(written, monkeypatch):
    index = Index.open(written)
    read = []
    monkeypatch.setattr(
        "stvh_jax.retrieval.lance.seals.digests.of_file", lambda path: read.append(path) or ""
    )
    Index.open(written)
    index.refresh()
    assert not read


def test_derived_codes_are_checked(tmp_path):
    folder, matrix = tmp_path / "index", random_matrix()
    index = Index.create(folder, bits=BITS, stored_foci=(3,), filter_matrix=matrix)
    codes = random_codes(50)[3]
    index.add(codes, match=["m"] * 50, clip=range(50))
    wanted = [hit.to_dict() for hit in index.search(codes[:1], focus=1, k=50)[0]]
    (cached,) = (folder / "derived").glob("*.npy")
    content = cached.read_bytes()
    for place in range(0, len(content), 7):
        flip(cached, place)
        (hits,) = Index.open(folder).search(codes[:1], focus=1, k=50)
        assert [hit.to_dict() for hit in hits] == wanted
        assert cached.read_bytes() == content
