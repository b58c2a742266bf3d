"""search.py: a mistake is one line and status 2."""

import re

import pytest

from tests.helpers.fakes import FakeDataset

pytestmark = pytest.mark.slow

LINE = re.compile(r"error: [^\n]+\n")
CLIP = ["--clip", "1/100"]
MISTAKES = [
    ([], "the following arguments are required: index | query; see search.py --help"),
    (["find"], "argument index | query: invalid choice: 'find'"),
    (["index", "--run", "RUN"], "the following arguments are required: --out; see search.py index"),
    (["index", "--run", "nowhere", "--out", "x"], "nowhere has no checkpoint"),
    (["index", "--run", "RUN", "--out", "x", "--split", "tset"], "split 'tset' has no clip"),
    (["index", "--run", "RUN", "--out", "x", "--stored-foci", "0"], "stored foci [0]; choose from"),
    (
        ["index", "--run", "RUN", "--out", "x", "--stored-foci", "a"],
        "'a' is not a list of foci; give numbers, for example 0,3",
    ),
    (["index", "--run", "RUN", "--out", "x", "--fps", "0"], "0.0 frames per second; give more"),
    (["index", "--run", "RUN", "--out", "x", "--media", "{video}"], "media '{video}' cannot be"),
    (
        ["index", "--run", "RUN", "--out", "INDEX", "--fps", "30"],
        "already holds an index with frames_per_second = 25.0, not 30.0; give another place, "
        "or delete it",
    ),
    (
        ["index", "--run", "RUN", "--out", "INDEX", "--filter-values", "real"],
        "already holds an index with filter_matrix = {'values': 'binary', ",
    ),
    (["query", "--index", "nowhere", *CLIP], "nowhere holds no index; make one with: python"),
    (["query", "--index", "INDEX"], "give --clip MATCH/CLIP, or --frames DIR with --boxes FILE"),
    (["query", "--index", "INDEX", *CLIP, "--frames", "x"], "--frames needs --boxes FILE"),
    (["query", "--index", "INDEX", "--frames", "x"], "--frames needs --boxes FILE"),
    (["query", "--index", "INDEX", *CLIP, "--start", "3"], "--start chooses among the frames of"),
    (["query", "--index", "INDEX", "--clip", "1/"], "'1/' is not the name of a clip; give MATCH/"),
    (["query", "--index", "INDEX", *CLIP, "--exclude-near", "nan"], "exclude_near is nan seconds"),
    (["query", "--index", "INDEX", *CLIP, "--export", "no/x.csv"], "there is no folder no"),
    (["query", "--index", ""], "give --clip MATCH/CLIP"),
    (["query", "--index", "", *CLIP], "an index needs a place"),
    (["index", "--run", "RUN", "--out", "x", "--fps", "nan"], "nan frames per second; give more"),
    (["index", "--run", "RUN", "--out", "x", "--media", "{match.x}"], "cannot be filled in"),
    (["index", "--run", "RUN", "--out", "INDEX", "--media", "a"], "with media = '', not 'a'"),
    (
        ["query", "--index", "INDEX", "--clip", "7"],
        "'7' is not the name of a clip; give MATCH/CLIP",
    ),
    (["query", "--index", "INDEX", "--clip", "9/9"], "clip 9/9 is neither in the index nor in"),
    (["query", "--index", "INDEX", *CLIP, "--focus", "2"], "focus '2' cannot be searched"),
    (["query", "--index", "INDEX", *CLIP, "--k", "0"], "k = 0; give a whole number of clips"),
    (["query", "--index", "INDEX", *CLIP, "--k", "ten"], "invalid int value: 'ten'"),
    (["query", "--index", "INDEX", *CLIP, "--radius", "99"], "radius = 99.0; give 0 to 16 bits"),
    (["query", "--index", "INDEX", *CLIP, "--where", "mach = '2'"], "there is no field 'mach'"),
    (
        ["query", "--index", "INDEX", *CLIP, "--filter", "match = '2'"],
        "argument --filter: a condition on the clips is now given by --where; see search.py query",
    ),
    (["query", "--index", "INDEX", *CLIP, "--filtr", "x"], "unrecognized arguments: --filtr x"),
    (["query", "--index", "INDEX", *CLIP, "--exclude-near", "-3"], "exclude_near is -3.0 seconds"),
    (
        ["query", "--index", "INDEX", *CLIP, "--export", "x.xls"],
        "x.xls cannot be written; its name must end in .csv",
    ),
    (["query", "--index", "INDEX", "--boxes", "x.npy"], "x.npy: no such file"),
    (
        ["query", "--index", "INDEX", *CLIP, "--grid", "x.png"],
        "the prepared set has boxes only; prepare it with frames for images",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "message"), MISTAKES, ids=[message for _, message in MISTAKES]
)
def test_a_mistake_is_one_line_and_status_2(command, indexed, monkeypatch, arguments, message):
    if "--grid" in arguments:
        from data.prepared.pipeline import ClipDataset

        monkeypatch.setattr(
            FakeDataset, "key_frame_images", ClipDataset.key_frame_images, raising=False
        )
    places = {"RUN": indexed / "run", "INDEX": indexed / "index"}
    status, _, err = command(*(places.get(one, one) for one in arguments))
    assert status == 2
    assert LINE.fullmatch(err), err
    assert message in err
