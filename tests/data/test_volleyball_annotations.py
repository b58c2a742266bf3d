import collections
import itertools

import numpy as np
import pytest

from data.volleyball import annotations as subject
from data.volleyball import constants
from stvh_jax.errors import Damaged, NotFound
from tests.helpers.volleyball_files import REAL

needs_real = pytest.mark.skipif(not REAL.exists(), reason="real data not present")


def write(folder, text):
    path = folder / "annotations.txt"
    path.write_bytes(text.encode())
    return path


# --- annotations -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_clips():
    return {
        video: subject.parse_volleyball_annotations(REAL / f"videos/{video}/annotations.txt")
        for video in range(55)
    }


@needs_real
def test_real_annotations_reach_the_published_counts(real_clips):
    split = {
        name: collections.Counter(clip.activity for video in videos for clip in real_clips[video])
        for name, videos in constants.SPLITS.items()
    }
    assert sorted(itertools.chain(*constants.SPLITS.values())) == list(range(55))
    assert {name: counts.total() for name, counts in split.items()} == {
        "train": 2152,
        "validation": 1341,
        "test": 1337,
    }
    assert split["train"] + split["validation"] == {
        "l_pass": 600,
        "l_set": 464,
        "l_spike": 463,
        "l_winpoint": 265,
        "r_pass": 591,
        "r_set": 452,
        "r_spike": 450,
        "r_winpoint": 208,
    }
    assert split["test"] == {
        "l_pass": 226,
        "l_set": 168,
        "l_spike": 179,
        "l_winpoint": 102,
        "r_pass": 210,
        "r_set": 192,
        "r_spike": 173,
        "r_winpoint": 87,
    }


@needs_real
def test_real_boxes_reach_the_published_counts(real_clips):
    clips = list(itertools.chain(*real_clips.values()))
    assert collections.Counter(action for clip in clips for action in clip.actions) == {
        "standing": 38686,
        "moving": 5120,
        "waiting": 3600,
        "blocking": 2458,
        "digging": 2333,
        "setting": 1332,
        "falling": 1241,
        "spiking": 1216,
        "jumping": 341,
    }
    people = collections.Counter(len(clip.boxes) for clip in clips)
    assert people == {7: 2, 8: 13, 9: 65, 10: 192, 11: 992, 12: 3566}


@needs_real
def test_the_command_expects_what_is_published(real_clips):
    for name, expected in constants.CLIP_COUNTS["original"].items():
        videos = itertools.chain(*(constants.SPLITS[part] for part in name.split("+")))
        assert expected == collections.Counter(
            clip.activity for video in videos for clip in real_clips[video]
        )
    clips = itertools.chain(*real_clips.values())
    actions = collections.Counter(action for clip in clips for action in clip.actions)
    assert actions == constants.ACTION_COUNTS["original"]


def test_box_is_corner_and_size_before_its_action(tmp_path):
    path = write(tmp_path, "50.jpg r_set 10 20 30 40 digging 1 2 3 4 waiting\n")
    (clip,) = subject.parse_volleyball_annotations(path)
    assert (clip.clip, clip.frame, clip.activity, clip.line) == ("50", 50, "r_set", 1)
    assert clip.actions == ("digging", "waiting")
    np.testing.assert_array_equal(clip.boxes, [[20, 10, 60, 40], [2, 1, 6, 4]])


def test_a_clip_may_have_a_name_of_its_own(tmp_path):
    path = write(
        tmp_path,
        "rally 3, set 2/120.jpg r_set 10 20 30 40 digging\n7/31.jpg l_set 1 2 3 4 moving\n"
        "clip.jpg/5.jpg l_set 1 2 3 4 moving\n0031.jpg l_set 1 2 3 4 moving\n",
    )
    clips = subject.parse_volleyball_annotations(path)
    assert [(clip.clip, clip.frame) for clip in clips] == [
        ("rally 3, set 2", 120),
        ("7", 31),
        ("clip.jpg", 5),
        ("31", 31),
    ]
    assert clips[0].actions == ("digging",)
    np.testing.assert_array_equal(clips[0].boxes, [[20, 10, 60, 40]])


def test_spellings_order_and_line_ends_do_not_matter(tmp_path):
    path = write(
        tmp_path,
        "70.jpg r-pass 1 2 3 4 moving  \r\n\n30.jpg l_pass 1 2 3 4 moving\n50.jpg l-spike 1 2 3 4 "
        "moving",
    )
    clips = subject.parse_volleyball_annotations(path)
    assert [(clip.clip, clip.activity, clip.line) for clip in clips] == [
        ("70", "r_pass", 1),
        ("30", "l_pass", 3),
        ("50", "l_spike", 4),
    ]


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("x.jpg r_set 1 2 3 4 moving", "expected <key frame>.jpg or <clip>/<key frame>.jpg first"),
        ("rally/x.jpg r_set 1 2 3 4 moving", "'rally/x.jpg'"),
        ("a/b/7.jpg r_set 1 2 3 4 moving", "'a/b/7.jpg'"),
        ("../7.jpg r_set 1 2 3 4 moving", "'../7.jpg'"),
        ("/7.jpg r_set 1 2 3 4 moving", "'/7.jpg'"),
        ("rally/7.jpg", "no activity after 7.jpg"),
        ("5/7.jpg r_set 1 2 3 4 moving", "clip 5 is already on line 1"),
        ("7.jpgr_set 1 2 3 4 moving", "'7.jpgr_set'"),
        ("7.png r_set 1 2 3 4 moving", "'7.png'"),
        ("7.jpg", "no activity"),
        ("7.jpg r_set", "found 0 fields"),
        ("7.jpg r_set 1 2 3 moving", "found 4 fields"),
        ("7.jpg r_set 1 2 3 4 moving 5", "found 6 fields"),
        ("7.jpg r_set moving 1 2 3 4", "unknown action '4'"),
        ("7.jpg r_set 1 two 3 4 moving", "1 two 3 4"),
        ("7.jpg r_set 1 nan 3 4 moving", "not finite"),
        ("7.jpg r_set 1 2 0 4 moving", "positive width"),
        ("7.jpg r_dig 1 2 3 4 moving", "unknown activity 'r_dig'; known: r_set, r_spike"),
        ("7.jpg r_set 1 2 3 4 sleeping", "unknown action 'sleeping'; known: blocking, digging"),
        ("5.jpg r_set 1 2 3 4 moving", "clip 5 is already on line 1"),
    ],
)
def test_malformed_line_is_named_with_its_cause(tmp_path, line, cause):
    path = write(tmp_path, f"5.jpg r_set 1 2 3 4 moving\n{line}\n6.jpg l_set 1 2 3 4 moving\n")
    with pytest.raises(Damaged) as caught:
        subject.parse_volleyball_annotations(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert cause in str(caught.value)
    assert "\n" not in str(caught.value)


def test_scan_keeps_the_good_lines_and_every_problem(tmp_path):
    path = write(
        tmp_path, "5.jpg r_set\n6.jpg l_set 1 2 3 4 moving\n6.jpg r_set 1 2 3 4 moving\nx\n"
    )
    clips, problems, key_frames = subject.scan_volleyball_annotations(path)
    assert [clip.clip for clip in clips] == ["6"]
    assert key_frames == 1
    assert [str(problem).split(": ")[0] for problem in problems] == [
        f"{path}:{line}" for line in (1, 3, 4)
    ]


def test_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="no such file"):
        subject.parse_volleyball_annotations(tmp_path / "annotations.txt")
