"""search.py query and watch: rankings, names, examples, moments, and clips as they are added."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from stvh_jax.retrieval import watching
from stvh_jax.retrieval.index import Index

pytestmark = pytest.mark.slow

CLIP = ["--clip", "1/100"]
HAMMING = ["--rank", "hamming"]


def test_clips_are_ranked_and_taught(command, indexed, encoded):
    query = ["query", "--index", indexed / "index", "--k", 3]
    status, out, err = command(*query, *CLIP)
    assert (status, err) == (0, "")
    assert out.startswith("like 1/100 at focus activity: 3 of 48 clips, ranked by class: Hamming +")
    status, out, err = command(*query, *CLIP, "--rank", "asymmetric")
    assert (status, err) == (0, "") and "ranked by asymmetric" in out
    status, out, err = command(*query, "--activity", "r_set", "--json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert (found["title"], found["ranking"], found["query"]) == ("r_set", "r_set", [])
    saved = indexed / "query.json"
    status, out, err = command(
        *query, *CLIP, "--like", "2/500", "--not-like", "0/0", "--save-query", saved
    )
    assert (status, err) == (0, "") and out.endswith(f"wrote {saved}\n")
    status, again, err = command(*query, "--query", saved)
    assert (status, err) == (0, "")
    names = [re.findall(r"\d+/\d+", line)[0] for line in again.splitlines()[3:]]
    assert names and {"2/500", "0/0"}.isdisjoint(names)
    status, out, err = command(*query, "--query", saved, "--like", "0/2100", "--json")
    assert (status, err) == (0, "") and "2 liked, 1 not" in json.loads(out)["ranking"]


def test_moments_are_shown_where_windows_overlap(command, indexed, tmp_path):
    index = Index.create("windows", bits=16, stored_foci=(1,), origin={"run": str(indexed / "run")})
    codes = np.zeros((6, 2), np.uint8)
    index.add(codes, match=["m"] * 6, clip=range(6), start=[0, 1, 2, 9, 10, 50],
              stop=[1.5, 2.5, 3, 10.5, 12, 51])  # fmt: skip
    query = ["query", "--index", "windows", "--clip", "m/5"]
    status, out, err = command(*query)
    assert (status, err) == (0, "") and " 2 moments in 6 clips" in out
    status, out, err = command(*query, "--json", "--radius", "3")
    assert [each["clips"] for each in json.loads(out)["moments"]] == [["0", "1", "2"], ["3", "4"]]
    status, out, err = command(*query, "--no-moments", "--json")
    assert "moments" not in json.loads(out) and len(json.loads(out)["hits"]) == 5
    status, out, err = command(*query, "--moments", "--k", "1")
    assert " 1 moments in 6 clips" in out


def test_a_watch_reports_what_is_added(command, indexed, monkeypatch):
    shutil.copytree(indexed / "index", "index")
    index, look, looks = Index.open("index"), watching._near, []
    codes, _ = index.get([("1", "100")])

    def first_look_then_a_clip(*arguments):
        looks.append(look(*arguments))
        if len(looks) == 1:
            index.add(codes, match=["live"], clip=["7"], start=[61])
        return looks[-1]

    monkeypatch.setattr(watching, "_near", first_look_then_a_clip)
    status, out, err = command(
        "watch", "--index", "index", *CLIP, *HAMMING, "--within", 3, "--interval", 0.1,
        "--for", 1, "--out", "found.jsonl", "--post", "http://127.0.0.1:9/",
    )  # fmt: skip
    assert status == 0 and out == "0 bits away  live/7  at 0:01:01.0\n"
    first, second = err.splitlines()
    assert first.startswith(
        "watching index for what is like 1/100 within 3 bits, ranked by hamming"
    )
    assert second.startswith("warning: http://127.0.0.1:9/ did not take a hit")
    (line,) = pathlib.Path("found.jsonl").read_text().splitlines()
    assert json.loads(line)["match"] == "live"
    status, out, err = command(
        "watch", "--index", "index", "--activity", "r_set", "--top", 5, "--for", 0, "--json"
    )
    assert (status, out) == (0, "") and err.startswith("watching index for what is like r_set")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["query", "--activity", "dance"], "there is no activity 'dance'"),
        (["query", "--like", "nobody/1"], "clip nobody/1 is not in the index"),
        (["query", "--like", "1/100", "--not-like", "1/100"], "1/100 is liked and not liked"),
        (["query", "--query", "none.json"], "none.json"),
        (["query", "--activity", "r_set", "--rank", "class"], "--rank says how a clip is compared"),
        (["query", "--activity", "r_set", "--focus", "0"], "says nothing at focus 0"),
        (["query", *CLIP, "--save-query", "x.txt"], "its name must end in .json"),
        (["watch", *CLIP, "--within", "-1"], "give 0 to 16 bits"),
        (["watch", *CLIP, "--top", "0"], "give more than 0, up to 100"),
        (["watch", *CLIP, "--within", "3", "--interval", "0"], "an interval of 0.0 seconds"),
        (["watch", *CLIP, "--within", "3", "--post", "http://example.com"], "of this machine"),
        (["watch", "--within", "3"], "give --clip MATCH/CLIP"),
    ],
)
def test_mistakes_in_what_is_asked_are_one_line(command, indexed, options, message):
    status, out, err = command(options[0], "--index", indexed / "index", *options[1:])
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and message in err
