"""search.py on one's own videos: index, query, and what is taken away; a mistake is one line."""

import functools
import json
import re
import shutil
import sys

import pytest

from stvh_jax import interrupts
from stvh_jax.cli import own_video
from stvh_jax.inference import encoder
from stvh_jax.retrieval import video_indexing
from stvh_jax.retrieval.index import Index
from tests.helpers.filmed import film, write_tracks
from tests.helpers.videos import make_sound

LINE = re.compile(r"error: [^\n]+\n")


@pytest.fixture(scope="module")
def loaded():
    """Loads a model once, for it is compiled anew each time."""
    return functools.cache(encoder.load)


@pytest.fixture
def run(command, trained, loaded, monkeypatch):
    monkeypatch.setattr(encoder, "load", loaded)
    places = {"RUN": trained()}
    return lambda *arguments: command(*(places.get(each, each) for each in arguments))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Gives a folder of videos and tracks, to be read only."""
    folder = tmp_path_factory.mktemp("made")
    for seed, name in enumerate(["game 2", "game 10", "it's"]):
        film(folder, name, 75, seed=seed)
    return folder


@pytest.fixture
def indexed(run, made, tmp_path):
    """Copies an index of two of the videos, which is made once."""
    cache = made / "indexed"
    if not cache.exists():
        status, out, err = run(*index(made, made / "game 2.mp4", made / "game 10.mp4", out=cache))
        assert (status, err) == (0, "")
    return shutil.copytree(cache, tmp_path / "index")


def index(made, *videos, out="index", tracks="{match}.txt"):
    return ["index", "--run", "RUN", "--out", out, "--video", *videos, "--tracks", made / tracks]


def clips(place):
    table = Index.open(place).clips()
    return list(zip(table["match"].to_pylist(), table["clip"].to_pylist()))


def test_videos_are_indexed_and_those_there_are_left(run, made, tmp_path):
    status, out, err = run(*index(made, made / "game*.mp4", made / "game 2.mp4"))
    assert (status, err) == (0, "")
    first, second, last = out.splitlines()
    assert re.fullmatch(r"game 2.mp4 \(1 of 2\): 6 clips; .* clips/s, .* real time, bo.*", first)
    assert second.startswith("game 10.mp4 (2 of 2): 6 clips; ") and last == "index: 12 clips"
    assert sorted(path.name for path in (tmp_path / "index" / "tracks").iterdir()) == [
        "game 10.parquet", "game 2.parquet"]  # fmt: skip
    again = ["index", "--run", "RUN", "--out", "index", "--video"]
    status, out, err = run(*again, made / "game 2.mp4")  # with the tracks that were kept
    assert (status, out) == (0, "game 2.mp4: no new clips, 6 were there\nindex: 12 clips\n")
    status, out, err = run(*index(made, made / "it's.mp4"), "--every", "1", "--start", "0:01")
    assert (status, out.splitlines()[-1]) == (0, "index: 14 clips")
    assert clips("index")[-2:] == [("it's", "1000"), ("it's", "2000")]


def test_shards_make_the_whole(run, made):
    whole = index(made, made / "*.mp4", out="whole")
    assert run(*whole)[0] == 0
    for part in ("1/2", "2/2", "4/4"):
        shard = index(made, made / "*.mp4", out=f"part{part[0]}")
        status, out, err = run(*shard, "--shard", part)
        assert (status, err) == (0, "")
    assert out == "part4: 0 clips\n"  # of three videos there is no fourth
    status, out, err = run("index", "--from", "part1", "part2", "--out", "joined")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "part1: 12 of 12 clips added", "part2: 6 of 6 clips added", "joined: 18 clips"]  # fmt: skip
    assert clips("joined") == clips("whole")
    query = ["query", "--video", made / "it's.mp4", "--at", "0:00:01.5", "--json", "--index"]
    found = [json.loads(run(*query, place)[1])["hits"] for place in ("joined", "whole")]
    assert found[0] == found[1]
    encoded = run(*query, "joined", "--at", "1.1", "--rank", "asymmetric")  # with copied tracks
    assert encoded[0] == 0
    status, out, err = run("index", "--from", "part1", "--out", "joined")
    assert (status, out.splitlines()[0]) == (0, "part1: 0 of 12 clips added")


def test_clips_get_the_activities_of_labels(run, made, tmp_path):
    table = "video,start,stop,activity\ngame 2.mp4,0,0.9,set\ngame 10,0.5,0.54,a b\nelse,1,2,x\n"
    (tmp_path / "labels.csv").write_text(table)
    status, _, err = run(*index(made, made / "*.mp4"), "--labels", "labels.csv")
    assert (status, err) == (0, "note: labels.csv has no label of it's.mp4\n")
    labelled = Index.open("index").clips("activity IS NOT NULL")
    assert list(zip(*(labelled[name].to_pylist() for name in ("match", "clip", "activity")))) == [
        ("game 2", "0", "set"), ("game 2", "500", "set"), ("game 10", "500", "a b")]  # fmt: skip
    status, _, err = run(*index(made, made / "game 2.mp4"), "--labels", "labels.csv")
    assert status == 0 and err.splitlines()[1:] == [
        "note: game 2.mp4: the clips that were there keep the activity they have"]  # fmt: skip


def test_one_broken_video_does_not_stop_the_others(run, made, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    shutil.copy(made / "game 2.txt", tmp_path / "broken.txt")
    shutil.copy(made / "game 2.txt", tmp_path / "good.txt")
    shutil.copy(made / "game 2.mp4", tmp_path / "good.mp4")
    status, out, err = run(*index(tmp_path, "broken.mp4", "good.mp4"))
    assert status == 2 and LINE.fullmatch(err) and "broken.mp4 (1 of 2): " in err
    assert out.splitlines()[-1] == "index: 6 clips; 1 of 2 videos could not be indexed"
    assert clips("index")[0][0] == "good"


def wrong_tracks(path, kind):
    """Writes tracks that do not fit a video of 75 frames and 160 x 64 pixels."""
    if kind == "empty":
        path.write_text("")
    elif kind == "longer":
        write_tracks(path, 500)
    elif kind == "larger":
        path.write_text("".join(f"{n},1,1500,900,40,80,1,-1,-1,-1\n" for n in range(1, 76)))
    else:
        path.write_bytes(b"\x00\xff\x13" * 50)


MISTAKES = [
    (["--video", "no.mp4"], "no.mp4"),
    (["--video", "no*.mp4"], "there is no video no*.mp4"),
    (["--video", "text.mp4", "--tracks", "GOOD"], "text.mp4"),
    (["--video", "sound.m4a", "--tracks", "GOOD"], "sound.m4a"),
    (["--video", "VIDEO"], "has no tracks of"),
    (["--video", "VIDEO", "--tracks", "none.txt"], "none.txt: no such file"),
    *((["--video", "VIDEO", "--tracks", f"{kind}.txt"], f"{kind}.txt")
      for kind in ("empty", "longer", "larger", "binary")),
    (["--video", "VIDEO", "--tracks", "GOOD", "--region", "corner.json"], "without people: 6"),
    (["--video", "VIDEO", "--tracks", "GOOD", "--region", "text.mp4"], "text.mp4 is not a region"),
    (["--video", "VIDEO", "--tracks", "GOOD", "--start", "1:00"], "per second from 0:01:00.0"),
    (["--video", "VIDEO", "--tracks", "GOOD", "--start", "1:60"], "60 seconds or more"),
    (["--video", "VIDEO", "--tracks", "GOOD", "--every", "0"], "--every 0.0; give 0.001 seconds"),
    (["--video", "VIDEO", "--tracks", "GOOD", "--every", "nan"], "--every nan; give 0.001 seconds"),
    (["--video", "VIDEO", "--tracks", "GOOD", "--every", "1e-9"], "give 0.001 or more"),
    (["--video", "VIDEO", "--tracks", "GOOD", "--fps", "0"], "--fps 0.0; give more than 0"),
    *((["--video", "VIDEO", "--tracks", "GOOD", "--shard", shard], f"--shard '{shard}'; give I/N")
      for shard in ("0/3", "4/3", "x", "1/0", "1/3/5")),
    (["--video", "VIDEO", "SAME", "--tracks", "{match}.txt"], "have the same name, and a match"),
    (["--video", "VIDEO", "SAME", "--tracks", "{match}.txt", "--shard", "1/2"], "the same name"),
    (["--video", "VIDEO", "text.mp4", "--tracks", "GOOD"], "one file for 2 videos; write {match}"),
    (["--video", "VIDEO", "--split", "test"], "--dataset are for a prepared set; leave"),
    (["--video", "VIDEO", "--adapt"], "are for a prepared set; leave"),
    (["--video", "VIDEO", "--filter-values", "real"], "are for a prepared set; leave"),
    (["--video", "VIDEO", "--min-confidence", "0.5"], "need --tracks FILE"),
    (["--video", "VIDEO", "--tracks", "GOOD", "--min-confidence", "2"], "confidence is 2.0; give"),
    (["--every", "2"], "need --video FILE"),
    (["--tracks", "GOOD"], "need --video FILE"),
    (["--labels", "l.csv"], "need --video FILE"),
    *((["--video", "VIDEO", "--tracks", "GOOD", "--labels", table], message)
      for table, message in (("no.csv", "no.csv: no such file"),
                             ("late.csv", "late.csv:2: it ends at 0:00:09.0, but game 2.mp4 ends"),
                             ("other.csv", "other.csv has no label of game 2; name a video as"),
                             ("binary.txt", "binary.txt is not a table of labels"))),
]  # fmt: skip


@pytest.fixture
def files(made, tmp_path):
    """Makes what the mistakes are about, and gives what their capitals stand for."""
    (tmp_path / "text.mp4").write_text("no video")
    make_sound(tmp_path / "sound.m4a")
    for kind in ("empty", "longer", "larger", "binary"):
        wrong_tracks(tmp_path / f"{kind}.txt", kind)
    (tmp_path / "corner.json").write_text("[[0, 0], [0.01, 0], [0, 0.01]]")
    for name, line in (("late", "game 2,2,9,set"), ("other", "game 3,0,1,set")):
        (tmp_path / f"{name}.csv").write_text(f"video,start,stop,activity\n{line}\n")
    (tmp_path / "sub").mkdir()
    shutil.copy(made / "game 2.mp4", tmp_path / "sub")
    return {"VIDEO": made / "game 2.mp4", "GOOD": made / "game 2.txt",
            "SAME": tmp_path / "sub" / "game 2.mp4"}  # fmt: skip


def test_mistakes_are_one_line_and_leave_nothing(run, files, tmp_path):
    for arguments, message in MISTAKES:
        given = [files.get(each, each) for each in arguments]
        status, out, err = run("index", "--run", "RUN", "--out", "new", *given)
        assert status == 2 and LINE.fullmatch(err), (arguments, err)
        assert message in err, (arguments, err)
        assert not (tmp_path / "new").exists(), arguments


def stored(index):
    """Gives the files of an index, without what readers keep beside them, and their sizes."""
    paths = [path for path in index.rglob("*") if "derived" not in path.parts]
    return sorted((path, path.stat().st_size) for path in paths)


def test_an_index_of_others_is_left_as_it_is(run, made, files, indexed):
    before = stored(indexed)
    good = made / "game 10.txt"
    status, _, err = run("index", "--run", "RUN", "--out", indexed, "--video", files["SAME"],
                         "--tracks", good)  # fmt: skip
    assert status == 2 and LINE.fullmatch(err) and "has clips of a match game 2 already" in err
    status, _, err = run(*index(made, made / "game*.mp4"), "--fps", "30")
    assert status == 2 and LINE.fullmatch(err) and "give --fps 25, or another place" in err
    other = Index.create("other", bits=16, stored_foci=(0, 1), origin={"checkpoint": "x"})
    status, _, err = run(*index(made, made / "game*.mp4", out=other.uri))
    assert status == 2 and LINE.fullmatch(err) and "holds codes of checkpoint x" in err
    status, _, err = run("index", "--from", indexed, "--out", other.uri)
    assert status == 2 and LINE.fullmatch(err) and "cannot be added to" in err
    status, _, err = run("index", "--from", indexed, "--out", "x", "--run", "RUN")
    assert status == 2 and LINE.fullmatch(err) and "not allowed with argument" in err
    assert stored(indexed) == before


def test_a_moment_of_a_video_is_searched(run, made, indexed, tmp_path):
    query = ["query", "--index", indexed, "--video", made / "game 2.mp4", "--k", 4]
    status, out, err = run(*query, "--at", "0:00:01")
    assert (status, err) == (0, "") and out.startswith("like game 2/1000 at focus activity: ")
    assert " moments in 12 clips" in out and re.search(r" 0:00:0\d\.\d ", out)
    values = json.loads(run(*query, "--at", "1", "--json", "--rank", "hamming")[1])
    for moment in values["moments"]:  # neither the clip nor its neighbours
        assert moment["match"] != "game 2" or not 0.5 <= moment["start"] <= 1.5
        assert moment["match"] != "game 2" or not moment["start"] < 1 < moment["stop"]
    inside = json.loads(run(*query, "--at", "1", "--json", "--radius", "16")[1])["moments"]
    assert all(each["match"] != "game 2" or "1500" not in each["clips"] for each in inside)
    everything = ["query", "--index", indexed, "--video", made / "game 2.mp4", "--radius", 16]
    joined = json.loads(run(*everything, "--at", "1", "--json")[1])["moments"]
    assert max(len(each["clips"]) for each in joined) == 6  # all of game 10, one after the other
    status, out, err = run(*query, "--at", "1", "--no-moments")
    assert (status, err) == (0, "") and "4 of 12 clips" in out and "0:00:0" in out
    status, out, err = run(*query, "--at", "1.3", "--rank", "asymmetric")
    assert (status, err) == (0, "") and out.startswith("like game 2/1300")
    unknown = ["query", "--index", indexed, "--video", made / "it's.mp4", "--at", "1"]
    status, out, err = run(*unknown, "--tracks", made / "{match}.txt")
    assert (status, err) == (0, "") and out.startswith("like it's/1000")
    assert not (indexed / "tracks" / "it's.parquet").exists()
    for arguments, message in [
        ([*unknown], "has no tracks of"),
        ([*query, "--at", "0:00:09"], "clip at 0:00:09.0; give a time from 0:00:00.0 to 0:00:02"),
        ([*query, "--at", "-5"], "'-5' is not a time"),
        ([*query, "--at", "1:2:3:4"], "is not a time; give h:mm:ss"),
        ([*query], "give --video FILE and --at TIME together"),
        ([*unknown, "--min-confidence", "0.5"], "need --tracks FILE"),
        (["query", "--index", indexed, "--clip", "game 2/0", "--region", "x"], "need --video"),
        (["query", "--index", indexed, "--video", "gone.mp4", "--at", "1"], "gone.mp4"),
    ]:  # fmt: skip
        status, _, err = run(*arguments)
        assert status == 2 and LINE.fullmatch(err) and message in err, err


def test_pieces_pictures_and_lists_are_written(run, made, indexed, tmp_path):
    query = ["query", "--index", indexed, "--clip", "game 2/1000", "--k", 2, "--no-moments"]
    names = {"reel": "r.mp4", "play": "p.html", "edl": "e.edl", "list": "l.csv",
             "chapters": "c.txt", "grid": "g.png", "export": "x.csv", "cut": "cut"}  # fmt: skip
    options = [word for name, file in names.items() for word in (f"--{name}", file)]
    status, out, err = run(*query, *options, "--around", "0.2")
    assert status == 0
    assert all((tmp_path / file).exists() for file in names.values())
    assert len(list((tmp_path / "cut").iterdir())) == 2
    assert all(line.startswith("note: ") for line in err.splitlines())
    assert out.count("wrote ") == len(names)
    page = (tmp_path / "p.html").read_text()
    shutil.rmtree(indexed / "tracks")
    assert run(*query, "--play", "q.html", "--around", "0.2")[0] == 0
    assert len((tmp_path / "q.html").read_text()) < len(page)  # without boxes
    for option, message in [
        (("--cut", "cut"), "is not an empty folder"),
        (("--cut", "l.csv"), "is not an empty folder"),
        (("--around", "-1"), "--around -1.0; give 0 seconds or more"),
        (("--reel", "r.avi"), "its name must end in .mp4"),
    ]:
        status, out, err = run(*query, *option)
        assert (status, out) == (2, "") and LINE.fullmatch(err) and message in err


def test_clips_without_a_video_are_told(run, made, tmp_path, indexed):
    made_up = Index.create("made", bits=16, stored_foci=(0, 1), origin={})
    codes, _ = Index.open(indexed).get([("game 2", "0")])
    made_up.add(codes, match="m", clip="1", start=0, stop=1)
    made_up.add(codes, match="m", clip="2", start=5, stop=6, media="gone.mp4")
    # A grid shows the query, too.
    for clip, hit, first in (("m/1", "gone.mp4", "m/1"), ("m/2", "m/1", "gone.mp4")):
        for *option, word in (
            ("--cut", "c", hit),
            ("--grid", "g.png", first),
            ("--edl", "e.edl", hit),
        ):
            status, _, err = run("query", "--index", "made", "--clip", clip, *option)
            assert status == 2 and LINE.fullmatch(err) and word in err, err


def test_a_video_that_was_moved_is_found_again(run, made, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old = shutil.copy(made / "it's.mp4", tmp_path / "old")
    assert run(*index(made, old, out="moved"))[0] == 0
    new = shutil.move(old, tmp_path / "new")
    query = ["query", "--index", "moved", "--clip", "it's/0", "--k", "1", "--cut", "cut"]
    status, _, err = run(*query)
    assert status == 2 and LINE.fullmatch(err)
    assert "is not there; put it back, or, if it was moved, index it again from its new" in err
    status, out, err = run("index", "--run", "RUN", "--out", "moved", "--video", new)
    assert status == 0 and "it's.mp4: no new clips, 6 were there" in out
    assert f"note: it's.mp4: was moved from {old}; the index knows its new place now\n" in err
    assert run(*query)[0] == 0 and len(list((tmp_path / "cut").iterdir())) == 1


def test_names_of_files_are_names_of_matches(run, made, tmp_path):
    for number, name in enumerate(["\"q\" 'x'", "日本 ü", "x" * 200, ".dot", "a $b$ [1] %"]):
        shutil.copy(made / "game 2.mp4", tmp_path / f"{name}.mp4")
        shutil.copy(made / "game 2.txt", tmp_path / f"{name}.txt")
        status, _, err = run(*index(tmp_path, f"{name}.mp4"), "--every", "1")
        assert (status, err) == (0, ""), name
        query = ["query", "--index", "index", "--video", f"{name}.mp4", "--at", "0.4", "--k", "1"]
        status, out, err = run(*query, "--rank", "asymmetric", "--grid", "grid.svg")
        assert (status, err) == (0, "")
        assert len(clips("index")) == 3 * (number + 1)
    shutil.copy(made / "game 2.mp4", tmp_path / f"{'x' * 201}.mp4")
    status, _, err = run(*index(made, f"{'x' * 201}.mp4", tracks="game 2.txt"))
    assert status == 2 and LINE.fullmatch(err) and "rename the file" in err


def test_ctrl_c_is_one_line(run, made, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(interrupts, "_said", False)  # a program says it once
    monkeypatch.setattr(video_indexing, "encode_clips", interrupted)
    status, out, err = run(*index(made, made / "game*.mp4"))
    assert (status, out, err) == (130, "", "interrupted\n")


def test_progress_is_shown_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with own_video._Progress("a.mp4") as progress:
        progress(1, 10)
        progress(2, 10)  # too soon
        progress(10, 10)
    text = capsys.readouterr().err
    assert text.startswith("\ra.mp4: 1/10 windows") and text.endswith("   \n")
    assert text.count("\r") == 2 and "left" in text
