"""search.py groups and name: what is printed, what is kept, and mistakes in one line."""

import json
import re
import shutil

import numpy as np
import pytest

from stvh_jax.retrieval.index import Index
from tests.helpers.fakes import FakeDataset

pytestmark = pytest.mark.slow


@pytest.fixture
def copied(indexed, tmp_path):
    """Gives an index of the shared run's training clips, to be written."""
    shutil.copytree(indexed / "index", tmp_path / "copied")
    return tmp_path / "copied"


def named(index):
    return set(Index.open(index).clips("name IS NOT NULL")["clip"].to_pylist())


def test_groups_are_printed_drawn_and_named(command, copied, monkeypatch):
    image = np.zeros((9, 16, 3), np.uint8)
    drawn = lambda self, split, clips: dict.fromkeys(clips, image)  # noqa: E731
    monkeypatch.setattr(FakeDataset, "key_frame_images", drawn)
    status, out, err = command("groups", "--index", copied, "--number", 3, "--grid", "g.png")
    assert (status, err) == (0, "")
    assert out.startswith("3 groups of 48 clips at focus activity\n") and out.endswith(
        "wrote g.png\n"
    )
    status, out, err = command("groups", "--index", copied, "--json", "--scale", 0)
    values = json.loads(out)
    assert sum(each["clips"] for each in values["groups"]) == values["clips"] == 48
    status, out, err = command("groups", "--index", copied, "--number", 3, "--json")
    second = json.loads(out)["groups"][1]
    name = ["name", "--index", copied, "--group", 2, "--number", 3, "--as", "fast break"]
    status, out, err = command(*name)
    assert (status, err) == (0, "")
    count = second["clips"]
    assert out == (
        f"{count} clips named fast break, 0 of them in place of another name; {count} have it now\n"
    )
    status, out, err = command("groups", "--index", copied, "--number", 3)
    assert "fast break" in out.splitlines()[4]
    status, out, err = command(
        "query", "--index", copied, "--name", "fast break", "--k", 48, "--json"
    )
    found = json.loads(out)
    assert len(found["hits"]) == 48 - count and found["title"] == "clips named fast break"
    where = ["--where", "name = 'fast break'"]
    status, out, err = command("query", "--index", copied, "--activity", "r_set", "--k", 2, *where)
    assert status == 0 and re.search(r"time +name +activity", out) and out.count("fast break") == 2


def test_hits_and_their_examples_are_named(command, copied):
    name = ["name", "--index", copied, "--like", "2/500", "--not-like", "0/0", "--k", 4]
    status, out, err = command(*name, "--as", "press", "--dry-run")
    assert (status, err) == (0, "")
    assert out.endswith("5 clips would be named press; nothing is written\n") and "rank" in out
    assert Index.open(copied).names() == {}
    status, out, err = command(*name, "--as", "press")
    assert out == "5 clips named press, 0 of them in place of another name; 5 have it now\n"
    assert "500" in named(copied) and "0" not in named(copied)
    status, out, err = command(
        "name", "--index", copied, "--name", "press", "--k", 2, "--as", "far"
    )
    assert out == "2 clips named far, 0 of them in place of another name; 2 have it now\n"
    status, out, err = command(
        "name", "--index", copied, "--clip", "2/500", "--radius", 16, "--as", "all"
    )
    assert out == "48 clips named all, 7 of them in place of another name; 48 have it now\n"
    status, out, err = command("name", "--index", copied, "--list")
    assert out.splitlines() == ["name  clips", "all      48"]
    remove = ["name", "--index", copied, "--as", "all", "--remove"]
    status, out, err = command(*remove, "--where", "match = '2'")
    assert out.endswith(" clips no longer named all\n")
    assert set(Index.open(copied).clips("name = 'all'")["match"].to_pylist()).isdisjoint({"2"})
    status, out, err = command(*remove)
    status, out, err = command("name", "--index", copied, "--list")
    assert (status, out) == (0, f"no clip of {copied} has a name\n")


def test_all_windows_of_the_moments_are_named(command, indexed):
    index = Index.create("windows", bits=16, stored_foci=(1,), origin={"run": str(indexed / "run")})
    index.add(np.zeros((6, 2), np.uint8), match="m", clip=range(6), start=[0, 1, 2, 9, 10, 50],
              stop=[1.5, 2.5, 3, 10.5, 12, 51])  # fmt: skip
    name = ["name", "--index", "windows", "--clip", "m/5", "--radius", 3, "--where", "start < 5"]
    status, out, err = command(*name, "--as", "x")
    assert (status, err) == (0, "") and named("windows") == {"0", "1", "2"}


LINE = re.compile(r"error: [^\n]+\n")
LIKE = ["--like", "2/500"]
MISTAKES = [
    (["groups", "--index", "nowhere"], "nowhere holds no index"),
    (["groups", "--index", "INDEX", "--number", "0"], "0 groups; give a whole number from 1"),
    (["groups", "--index", "INDEX", "--number", "49"], "49 groups of 48 clips; give no more"),
    (["groups", "--index", "INDEX", "--number", "x"], "invalid int value: 'x'"),
    (["groups", "--index", "INDEX", "--where", "a = 1"], "there is no field 'a'"),
    (["groups", "--index", "INDEX", "--grid", "g.jpg"], "its name must end in .png, .svg"),
    (["name", "--index", "INDEX", *LIKE], "give --as NAME, the name, or --list"),
    (["name", "--index", "INDEX", "--as", "x"], "give --clip MATCH/CLIP"),
    (["name", "--index", "nowhere", *LIKE, "--as", "x"], "nowhere holds no index"),
    (["name", "--index", "INDEX", *LIKE, "--as", "a\nb"], "has characters that cannot be seen"),
    (["name", "--index", "INDEX", *LIKE, "--as", "a" * 65], "give a text of 1 to 64 characters"),
    (["name", "--index", "INDEX", "--like", "9/9", "--as", "x"], "clip 9/9 is not in the index"),
    (
        ["name", "--index", "INDEX", *LIKE, "--as", "x", "--where", "match = '99'"],
        "nothing was found, so nothing is named",
    ),
    (["name", "--index", "INDEX", "--group", "4", "--number", "3", "--as", "x"], "no group 4; the"),
    (["name", "--index", "INDEX", "--group", "0", "--as", "x"], "there is no group 0"),
    (["name", "--index", "INDEX", "--group", "1", *LIKE, "--as", "x"], "or --group NUMBER"),
    (["name", "--index", "INDEX", *LIKE, "--number", "3", "--as", "x"], "give --group NUMBER, too"),
    (["name", "--index", "INDEX", "--group", "1", "--k", "3", "--as", "x"], "of a group all clips"),
    (["name", "--index", "INDEX", "--list", "--as", "x"], "--list lists all names; leave out --as"),
    (["name", "--index", "INDEX", "--list", *LIKE], "--list is given alone"),
    (["name", "--index", "INDEX", "--remove"], "give --as NAME, the name, or --list"),
    (["name", "--index", "INDEX", "--remove", "--as", "x"], "is named x; none has a name yet"),
    (["query", "--index", "INDEX", "--name", "x"], "none has a name yet; give one with: search"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), MISTAKES)
def test_a_mistake_is_one_line_and_names_nothing(command, indexed, arguments, message):
    index = indexed / "index"
    status, out, err = command(*(str(index) if each == "INDEX" else each for each in arguments))
    assert status == 2 and LINE.fullmatch(err) and message in err
    assert Index.open(index).names() == {}
