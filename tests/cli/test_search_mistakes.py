"""search.py: a mistake is one line and status 2."""

import json
import re

import numpy as np
import pytest

from tests.helpers.fakes import FakeDataset

pytestmark = pytest.mark.slow

LINE = re.compile(r"error: [^\n]+\n")
CLIP = ["--clip", "1/100"]
HUGE = str(10**30)
MISTAKES = [
    (
        [],
        "arguments are required: index | query | groups | name | watch | serve; see search.py",
    ),
    (["find"], "argument index | query | groups | name | watch | serve: invalid choice: 'find'"),
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
    (["query", "--index", "INDEX"], "give --clip MATCH/CLIP, --video FILE --at TIME"),
    (["query", "--index", "INDEX", *CLIP, "--frames", "x"], "--frames needs --boxes FILE"),
    (["query", "--index", "INDEX", "--frames", "x"], "--frames needs --boxes FILE"),
    (["query", "--index", "INDEX", *CLIP, "--start", "3"], "--start chooses among the frames of"),
    (["query", "--index", "INDEX", "--clip", "1/"], "'1/' is not the name of a clip; give MATCH/"),
    (["query", "--index", "INDEX", *CLIP, "--exclude-near", "nan"], "exclude_near is nan seconds"),
    (["query", "--index", "INDEX", *CLIP, "--export", "no/x.csv"], "there is no folder no"),
    (["query", "--index", "", *CLIP], "'' is not a value of --index; see search.py --help"),
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
    (["query", "--index", "INDEX", *CLIP, "--k", "-1"], "k = -1; give a whole number of clips"),
    (["query", "--index", "INDEX", *CLIP, "--radius", "-1"], "radius = -1.0; give 0 to 16 bits"),
    (["query", "--index", "INDEX", *CLIP, "--radius", HUGE], "radius = 1e+30; give 0 to 16 bits"),
    (["query", "--index", "INDEX", *CLIP, "--focus", "-1"], "focus '-1' cannot be searched"),
    (["query", "--index", "INDEX", *CLIP, "--focus", HUGE], f"focus '{HUGE}' cannot be searched"),
    (
        ["index", "--run", "RUN", "--out", "x", "--bits", "-1"],
        "codes of 16 bits, not -1",
    ),
    (["index", "--run", "RUN", "--out", "x", "--bits", HUGE], f"has codes of 16 bits, not {HUGE}"),
    (
        ["index", "--run", "RUN", "--out", "x", "--stored-foci", "999999999"],
        "[999999999]; choose",
    ),
    (["index", "--run", "RUN", "--out", "x", "--fps", "-1"], "-1.0 frames per second; give more"),
    (["query", "--index", "INDEX", "--boxes", "BOXES", "--start", "-1"], "give a start of 1 to 7"),
    (["query", "--index", "INDEX", "--boxes", "BOXES", "--start", HUGE], "give a start of 1 to 7"),
    *(
        (["query", "--index", "INDEX", *CLIP, "--scale", scale], f"scale {shown}; give a number")
        for scale, shown in (("nan", "nan"), ("-1", "-1.0"), ("2", "2.0"))
    ),
    (["query", "--index", "INDEX", *CLIP, "--scale", "half"], "invalid float value: 'half'"),
    (
        ["query", "--index", "INDEX", *CLIP, "--scale", "1", "--focus", "visual"],
        "argument --focus: not allowed with argument --scale; see search.py query",
    ),
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
def test_a_mistake_is_one_line_and_status_2(
    command, indexed, monkeypatch, tmp_path, arguments, message
):
    if "--grid" in arguments:
        from data.prepared.pipeline import ClipDataset

        monkeypatch.setattr(
            FakeDataset, "key_frame_images", ClipDataset.key_frame_images, raising=False
        )
    boxes = tmp_path / "boxes.npy"
    np.save(boxes, np.tile(np.float32([0.1, 0.1, 0.2, 0.2]), (7, 2, 1)))
    places = {"RUN": indexed / "run", "INDEX": indexed / "index", "BOXES": boxes}
    status, _, err = command(*(places.get(one, one) for one in arguments))
    assert status == 2
    assert LINE.fullmatch(err), err
    assert message in err


def test_no_number_of_hits_is_too_large(command, indexed):
    """All there are; and what is near in time is all of the query's match."""
    query = ["query", "--index", indexed / "index", *CLIP, "--json"]
    status, out, _ = command(*query, "--k", HUGE)
    found = {(hit["match"], hit["clip"]) for hit in json.loads(out)["hits"]}
    (clips,) = FakeDataset().evaluation_batches("train", batch_size=48)
    every = set(zip(clips.match.tolist(), clips.clip.tolist()))
    assert (status, found) == (0, every - {("1", "100")})
    status, out, _ = command(*query, "--k", HUGE, "--exclude-near", HUGE)
    far = {(hit["match"], hit["clip"]) for hit in json.loads(out)["hits"]}
    assert (status, far) == (0, {clip for clip in every if clip[0] != "1"})
