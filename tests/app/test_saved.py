"""Queries that are kept under names: what can be a name, and that they are found again."""

import json

import numpy as np
import pytest

from stvh_jax.app import saved
from stvh_jax.app.saved import SavedQueries, folder_of
from stvh_jax.cli import search
from stvh_jax.codes.query_kinds import from_codes
from stvh_jax.errors import Damaged, Exists, NotFound, UserError
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.saved_query import SavedQuery

CODES = {1: np.array([[1, 2]], np.uint8)}


def query(title="x"):
    return SavedQuery(from_codes({focus: codes[0] for focus, codes in CODES.items()}), title, 16)


@pytest.fixture
def kept(tmp_path):
    return SavedQueries(tmp_path / "index" / "queries")


def test_a_query_is_found_by_its_name(kept):
    assert kept.names() == []
    for name in ("spikes 10", "spikes 2", "Träume (2)"):
        kept.save(name, query(name))
    assert kept.names() == ["Träume (2)", "spikes 2", "spikes 10"]
    assert kept.load("spikes 2").title == "spikes 2"
    with pytest.raises(Exists, match="there is a query spikes 2 already"):
        kept.save("spikes 2", query("another"))
    assert kept.load("spikes 2").title == "spikes 2"
    kept.save("spikes 2", query("another"), replace=True)
    assert kept.load("spikes 2").title == "another"
    kept.delete("spikes 2")
    assert kept.names() == ["Träume (2)", "spikes 10"]
    for use in (kept.load, kept.delete):
        with pytest.raises(NotFound, match="there is no query 'spikes 2'"):
            use("spikes 2")


@pytest.mark.parametrize(
    "name",
    ["", " a", "a ", ".a", "..", "../a", "a/b", "/etc/passwd", "a\\b", "a\nb", "a\x1b[31m", "a\0b",
     "a" * 81, "ü" * 80 + "ü", "\U0001f3d0" * 60, "\ud800", "con:", "a*"],
)  # fmt: skip
def test_what_is_no_name_is_refused(kept, tmp_path, name):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "a.json").write_text("{}")
    with pytest.raises(UserError, match="is not a name for a query"):
        kept.save(name, query())
    for use in (kept.load, kept.delete):
        with pytest.raises(NotFound):
            use(name)
    assert [path.name for path in tmp_path.rglob("*.json")] == ["a.json"]


def test_other_files_of_the_folder_are_no_queries(kept, tmp_path):
    kept.save("good", query())
    folder = tmp_path / "index" / "queries"
    (folder / "folder.json").mkdir()
    for name in (".hidden.json", "note.txt", "good.json.7.new", "bad.json"):
        (folder / name).write_text("{}")
    assert kept.names() == ["bad", "good"]
    with pytest.raises(Damaged, match="bad.json is not a saved query"):
        kept.load("bad")
    kept.delete("bad")


def test_only_so_many_are_kept(kept, monkeypatch):
    monkeypatch.setattr(saved, "_MOST", 2)
    for name in ("a", "b"):
        kept.save(name, query())
    with pytest.raises(UserError, match="2 queries are kept; delete one"):
        kept.save("c", query())
    kept.save("b", query("again"), replace=True)


def test_the_command_line_watches_a_query_that_was_kept(tmp_path, capsys):
    index = Index.create(tmp_path / "index", bits=16, stored_foci=(1,))
    index.add(np.eye(3, 2, dtype=np.uint8), match="a", clip=[1, 2, 3])
    SavedQueries(folder_of(index.uri)).save("spikes 2", query("my spikes"))
    path = tmp_path / "index" / "queries" / "spikes 2.json"
    arguments = ["--index", index.uri, "--query", str(path)]
    assert search.main(argv=["watch", *arguments, "--within", "3", "--for", "0"]) == 0
    assert "for what is like my spikes within 3 bits" in capsys.readouterr().err
    assert search.main(argv=["query", *arguments, "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    distances = [bin(a ^ 1).count("1") + bin(b ^ 2).count("1") for a, b in ((1, 0), (0, 1), (0, 0))]
    assert [hit["distance"] for hit in hits] == sorted(distances)
    assert len(Index.open(index.uri)) == 3  # the folder of queries is no part of the index


def test_queries_of_a_server_are_kept_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folders = {folder_of(f"http://localhost:1/{name}") for name in ("a", "b")}
    assert len(folders) == 2
    assert {each.parent for each in folders} == {tmp_path / "stvh_jax" / "queries"}
