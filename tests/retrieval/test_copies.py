"""The copy of a small index: what is read from it is what Lance reads, or it is not used."""

import hashlib
import os
import pathlib

import numpy as np
import pyarrow as pa
import pytest

from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.lance import copies, storage
from tests.helpers.indexed_clips import BITS, names, random_codes, random_matrix, random_record


@pytest.fixture
def folder(tmp_path):
    index = Index.create(tmp_path / "i", bits=BITS, stored_foci=(3,), filter_matrix=random_matrix())
    codes = random_codes(60)[3]
    index.add({3: codes[:50]}, **{name: v[:50] for name, v in random_record(60).items()})
    index.add({3: codes[50:]}, **{name: v[50:] for name, v in random_record(60).items()})
    return tmp_path / "i"


def the_copy(folder) -> pathlib.Path:
    (path,) = (folder / "derived").glob("clips-*.arrow")
    return path


def answers(folder):
    """Gives what an index, opened anew, says of all of its clips."""
    index = Index.open(folder)
    codes = random_codes(60)[3]
    (hits,) = index.search({3: codes[:1]}, k=20, where="start > 5")
    counted = len(index), index.count("match = '2'")
    return index.clips().to_pylist(), [hit.to_dict() for hit in hits], counted


def test_the_copy_says_what_the_store_says(folder, monkeypatch):
    from_store = answers(folder)
    assert the_copy(folder).is_file()
    monkeypatch.setattr(copies, "make", lambda *_: pytest.fail("the copy was not used"))
    assert answers(folder) == from_store


def test_a_copy_is_read_without_opening_the_store(folder, monkeypatch):
    wanted = answers(folder)[:2]
    monkeypatch.setattr(storage, "connect", lambda *_: pytest.fail("opened"))
    index = Index.open(folder)
    assert (index.clips().to_pylist(), len(index)) == (wanted[0], 60)
    index.refresh()  # nothing was written


def test_a_write_ends_it_and_the_next_reader_makes_another(folder):
    answers(folder)
    before, index = the_copy(folder), Index.open(folder)
    index.delete("match = '2'")
    other = Index.open(folder)
    assert not other.count("match = '2'")
    assert len(other.clips()) == len(other) < 60
    assert the_copy(folder) != before
    index.restore(3)
    assert len(Index.open(folder).clips()) == 60


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other columns", "no metadata"])
def test_a_damaged_copy_is_made_again(folder, damage):
    wanted = answers(folder)
    path = the_copy(folder)
    content = path.read_bytes()
    if damage in ("other columns", "no metadata"):
        schema = pa.ipc.open_stream(content[64:]).schema
        table = pa.table({"match": ["x"]})
        table = table.replace_schema_metadata(schema.metadata if damage[0] == "o" else None)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        stream = sink.getvalue().to_pybytes()
        path.write_bytes(hashlib.sha256(stream).hexdigest().encode() + stream)
    else:
        flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        path.write_bytes({"cut": content[:-9], "empty": b"", "flipped": flipped}[damage])
    assert answers(folder) == wanted
    assert path.read_bytes() == content


def test_large_stores_have_none(folder, monkeypatch):
    the_copy(folder).unlink()  # that of the fifty clips, to which the others were added
    monkeypatch.setattr(copies, "_MOST_CLIPS", 59)
    wanted = answers(folder)
    assert not list((folder / "derived").glob("*.arrow"))
    monkeypatch.undo()
    assert answers(folder) == wanted


def test_a_folder_that_cannot_be_written_is_read(tmp_path, monkeypatch):
    index = Index.create(tmp_path / "i", bits=16, stored_foci=(0,))
    index.add({0: np.zeros((1, 2), np.uint8)}, match=["a"], clip=["1"])

    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("stvh_jax.retrieval.lance.copies.files.write", full)
    assert names(Index.open(tmp_path / "i")) == ["a/1"]
