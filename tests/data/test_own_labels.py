"""Sets of one's own videos: the table of labels, and what becomes of it."""

import contextlib

import numpy as np
import pytest

from data.own import splits
from data.own.labels import read_labels
from stvh_jax.errors import UserError

VIDEOS = ("a.mp4", "b.mp4", "c.mkv")


def read(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return read_labels(path, VIDEOS)


def test_a_table_is_read(tmp_path):
    table = (
        "Video;start;stop;activity;actions\n"
        'a.mp4;0:01;1:02:03.5;spike;"3:jumping;7: standing"\n\nc;4;5.5; lay up;\n'
    )
    first, second = read(tmp_path, table, "utf-8-sig")
    assert (first.video, first.start, first.stop, first.activity) == ("a", 1, 3723.5, "spike")
    assert first.actions == {3: "jumping", 7: "standing"}
    assert (second.video, second.stop, second.activity, second.split) == ("c", 5.5, "lay up", "")
    assert second.place.endswith("labels.csv:4")


HEAD = "video,start,stop,activity\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "labels.csv is empty; write video,start,stop,activity, and below it a line"),
        ("\n \n", "labels.csv is empty"),
        (HEAD, "labels.csv has no labels; add a line for each"),
        ("video,start,stop,activity,who\n", "labels.csv:1: unknown column 'who'; the columns are"),
        (
            "video,start,stop\na,1,2\n",
            "labels.csv:1: no column is called activity; the first line must",
        ),
        ("video,start,start,stop,activity\n", "labels.csv:1: the column start is there 2 times"),
        (HEAD + "d,1,2,x\n", "labels.csv:2: unknown video 'd'; --video gives a, b, c"),
        (HEAD + "a,1,2\n", "labels.csv:2: it has 3 cells, but the first line has 4"),
        (HEAD + "a,2,1,x\n", "labels.csv:2: it stops at 0:00:01.0, not after its start at 0:00:0"),
        (HEAD + "a,one,2,x\n", "labels.csv:2: start 'one' is not a time"),
        (HEAD + "a,1,nan,x\n", "labels.csv:2: stop 'nan' is not a time"),
        (HEAD + "a,1,2,\n", "labels.csv:2: activity ''; give a name"),
        (HEAD + "a,1,2,7\n", "labels.csv:2: activity '7' is a number"),
        (HEAD + "a,1,3,x\na,2,4,y\n", "labels.csv:3: activity x overlaps y of"),
        ("video,start,stop,activity,split\na,1,3,x,val\n", "labels.csv:2: split 'val'; give one"),
        (
            "video,start,stop,activity,actions\na,1,3,x,jump\n",
            "labels.csv:2: actions 'jump'; give person:action",
        ),
        (
            "video,start,stop,activity,actions\na,1,3,x,3:up;3:down\n",
            "labels.csv:2: person 3 has two actions",
        ),
        (b"\xff\xfev\x00i\x00", "labels.csv is not a table of labels, in UTF-8"),
        (HEAD + 'a,1,2,"x\n', "labels.csv is not a table of labels, in UTF-8"),
        (b"\x00\x01\x02\x03" * 40, "labels.csv:1: unknown column"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    said = str(caught.value)
    if "overlaps" in message:
        message = "labels.csv:3: activity y overlaps x of"
    assert message in said
    assert "\n" not in said


def test_whatever_a_table_holds_only_a_user_error_comes_out(tmp_path):
    rng = np.random.default_rng(0)
    whole = (HEAD + "a,0:01,0:02,spike\nb.mp4,3,4,set\n").encode()
    for _ in range(300):
        changed = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 6)):
            changed[place] = rng.integers(0, 256)
        with contextlib.suppress(UserError):
            read(tmp_path, bytes(changed[: rng.integers(1, len(whole) + 1)]))


def spans(*pairs, activity="x"):
    class Span:
        def __init__(self, start, stop):
            self.start, self.stop, self.activity, self.video = start, stop, activity, "a"

    return [Span(*pair) for pair in pairs]


def test_cuts_divide_the_labelled_time_between_labels_where_they_can():
    long = spans((0, 1000))
    assert splits.cuts(long) == pytest.approx((700, 850))
    short = spans(*[(100 * place, 100 * place + 4) for place in range(20)])
    assert splits.cuts(short) == pytest.approx((1352, 1652))
    assert splits.in_time(0, 0.4, (1352, 1652), 10) == "train"
    assert splits.in_time(1347.1, 1347.5, (1352, 1652), 10) == ""
    assert splits.in_time(1357, 1357.4, (1352, 1652), 10) == "validation"
    assert splits.in_time(1900, 1900.4, (1352, 1652), 10) == "test"


def test_videos_are_drawn_so_that_every_activity_is_trained_and_the_same_again(tmp_path):
    rows = [
        f"{video},{place},{place + 1},{'rare' if video == 'b' else 'often'}\n"
        for video in "abc"
        for place in range(3)
    ]
    labels = read(tmp_path, HEAD + "".join(rows))
    for seed in range(5):
        drawn = splits.by_video(labels, seed)
        assert sorted(drawn.values()) == ["test", "train", "validation"]
        assert drawn == splits.by_video(labels, seed)
