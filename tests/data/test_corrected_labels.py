"""Volleyball with corrected labels: how they are found, laid over the annotations, prepared."""

import collections

import ml_collections
import numpy as np
import pytest

from data.__main__ import main
from data.prepared import pipeline
from data.volleyball import constants
from data.volleyball import raw as subject
from stvh_jax.errors import NotFound
from tests.helpers.volleyball_files import REAL, annotation_line, write_raw

CORRECTED = REAL.parent / "volleyball_corrected"
needs_real = pytest.mark.skipif(not CORRECTED.exists(), reason="real corrected labels not present")

PEOPLE = [(5, 6, 7, 11, "digging"), (30, 10, 6, 12, "waiting")]
OTHER_ACTIONS = [(5, 6, 7, 11, "setting"), (30, 10, 6, 12, "waiting")]
MOVED = [(5, 6, 7, 11, "digging"), (31, 10, 6, 12, "waiting")]
VIDEOS = {
    1: [(10, "r-pass", PEOPLE), (20, "l_set", PEOPLE), (30, "r_set", PEOPLE)],
    4: [(10, "l-spike", PEOPLE)],
}
# In another order, one clip removed, one activity changed, and one action.
LABELS = {
    1: [(30, "r_set", OTHER_ACTIONS), (10, "r_set", PEOPLE)],
    4: [(10, "l_spike", PEOPLE)],
}
SPLITS = {"train": [1], "validation": [], "test": [4]}
LAYOUTS = {
    "that of the repository": "reannotations/{}/annotations_corrected.txt",
    "that of the data set": "volleyball_corrected/videos/{}/annotations.txt",
    "without videos": "volleyball_corrected/{}/annotations.txt",
    "beside the folder": "../reannotations/{}/annotations_corrected.txt",
}


def write_labels(root, labels, layout="reannotations/{}/annotations_corrected.txt"):
    for video, clips in labels.items():
        path = root / layout.format(video)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(annotation_line(*clip) for clip in clips))


@pytest.fixture
def root(tmp_path):
    """Three clips to train on and one to test, with corrected labels of all but one."""
    root = write_raw(tmp_path / "raw", VIDEOS, splits=SPLITS)
    write_labels(root, LABELS)
    return root


def labels_of(raw, match):
    return [(clip.clip, clip.activity, clip.actions) for clip in raw.scan(match).clips]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_labels_are_found_and_laid_over_the_clips(tmp_path, layout):
    root = write_raw(tmp_path / "raw", VIDEOS, splits=SPLITS, frames=False)
    write_labels(root, LABELS, layout)
    raw = subject.open_raw(root, labels="corrected")
    assert labels_of(raw, "1") == [
        ("10", "r_set", ("digging", "waiting")),
        ("30", "r_set", ("setting", "waiting")),
    ]
    scan, original = raw.scan("1"), subject.open_raw(root)
    assert (scan.problems, scan.key_frames) == ([], 3)
    assert [clip.activity for clip in original.scan("1").clips] == ["r_pass", "l_set", "r_set"]


def test_nowhere_to_be_found(tmp_path, capsys):
    root = write_raw(tmp_path / "raw", VIDEOS, splits=SPLITS, frames=False)
    for command in ("prepare", "check"):
        arguments = [command, "volleyball", "--raw", str(root), "--labels", "corrected"]
        assert main(arguments) == 2
        message = f"error: {root}: found no corrected labels; put the folder reannotations of "
        printed = capsys.readouterr().err
        assert printed.startswith(message) and printed.count("\n") == 1


def test_a_video_without_corrected_labels_is_refused(root):
    (root / "reannotations/4/annotations_corrected.txt").unlink()
    raw = subject.open_raw(root, labels="corrected")
    with pytest.raises(NotFound, match="reannotations/4/annotations_corrected.txt: no such file"):
        raw.scan("4")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ((10, "r_set", MOVED), "clip 10 has another key frame or other boxes than in"),
        ((10, "r_set", PEOPLE[:1]), "clip 10 has another key frame or other boxes than in"),
        ((10, "r_set", PEOPLE[::-1]), "clip 10 has another key frame or other boxes than in"),
        ((70, "r_set", PEOPLE), "clip 70 is not in"),
        ((10, "r_dig", PEOPLE), "unknown activity 'r_dig'"),
    ],
)
def test_labels_of_other_clips_are_refused(root, capsys, line, cause):
    write_labels(root, {1: [*LABELS[1][:1], line]})
    arguments = ["prepare", "volleyball", "--raw", str(root), "--out", str(root / "sets")]
    assert main([*arguments, "--labels", "corrected"]) == 2
    printed = capsys.readouterr().err
    place = f"error: {root}/reannotations/1/annotations_corrected.txt:2: "
    assert printed.startswith(place + cause) and printed.count("\n") == 1
    assert main([*arguments, "--boxes-only"]) == 0


def test_the_check_says_whose_labels_they_are(root, capsys):
    arguments = ["check", "volleyball", "--raw", str(root), "--boxes-only"]
    assert main([*arguments, "--labels", "corrected"]) == 0
    out = capsys.readouterr().out
    first = f"{root}/videos, splits of splits.json, labels of {root}/reannotations\n"
    assert out.startswith(first)
    assert "train: 0 of 4 people on tracks, 1 of 3 annotated key frames make no clip" in out
    write_labels(root, {1: [(10, "r_set", MOVED)]})
    assert main([*arguments, "--labels", "corrected"]) == 1
    assert "has another key frame or other boxes than in" in capsys.readouterr().out


def opened(root, variant):
    config = {"name": "volleyball", "variant": variant, "dir": str(root / "sets")}
    config |= {"image_size": (9, 9), "num_frames": 1, "num_actors": 12, "still_boxes": False}
    return pipeline.open_dataset(ml_collections.ConfigDict(config))


def test_the_labels_are_part_of_the_variant_and_of_its_sources(root, capsys):
    arguments = ["prepare", "volleyball", "--raw", str(root), "--out", str(root / "sets")]
    arguments.append("--boxes-only")
    with pytest.raises(NotFound, match=r"--boxes-only --labels corrected$"):
        opened(root, "boxes_only-corrected")
    assert main(arguments) == 0
    arguments += ["--labels", "corrected"]
    assert main(arguments) == 0
    sets = {labels: opened(root, name) for labels, name in (
        ("original", "boxes_only"), ("corrected", "boxes_only-corrected"),
    )}  # fmt: skip
    assert {labels: dataset.labels for labels, dataset in sets.items()} == {
        "original": "original",
        "corrected": "corrected",
    }
    assert {labels: dataset.num_clips("train") for labels, dataset in sets.items()} == {
        "original": 3,
        "corrected": 2,
    }
    (batch,) = sets["corrected"].evaluation_batches("train", batch_size=2)
    names = [constants.ACTIVITIES[number] for number in batch.activity]
    assert dict(zip(batch.clip.tolist(), names)) == {"10": "r_set", "30": "r_set"}
    assert main(arguments) == 0
    assert "is already prepared" in capsys.readouterr().out
    # A changed label makes the set stale, and only the one that has it.
    write_labels(root, {4: [(10, "r_spike", PEOPLE)]})
    assert main(arguments) == 2
    cause = "reannotations/4/annotations_corrected.txt has changed"
    assert cause in capsys.readouterr().err
    assert main(arguments[:-2]) == 0


def test_a_folder_with_frames_can_have_them_too(root):
    arguments = ["prepare", "volleyball", "--raw", str(root), "--out", str(root / "sets")]
    assert main([*arguments, "--labels", "corrected"]) == 0
    dataset = opened(root, "frames-corrected")
    assert dataset.has_frames and dataset.num_clips("train") == 2


@needs_real
def test_the_real_ones_change_what_is_published():
    both = {labels: subject.open_raw(REAL, labels=labels) for labels in ("original", "corrected")}
    known, changed, agreed = {}, collections.Counter(), collections.Counter()
    for split, videos in constants.SPLITS.items():
        for video in map(str, videos):
            before, after = (raw.scan(video) for raw in both.values())
            assert not after.problems
            assert after.key_frames == len(before.clips)
            known |= {(video, clip.clip): (clip, split) for clip in before.clips}
            for clip in after.clips:
                original, split = known[video, clip.clip]
                np.testing.assert_array_equal(clip.boxes, original.boxes)
                assert clip.actions == original.actions
                counts = agreed if clip.activity == original.activity else changed
                counts[split] += 1
    assert changed.total() + agreed.total() == 4821
    assert changed.total() == 497
    assert (changed["test"], agreed["test"]) == (160, 1172)


@needs_real
def test_the_real_ones_are_complete(capsys):
    arguments = ["check", "volleyball", "--raw", str(REAL), "--boxes-only"]
    assert main([*arguments, "--labels", "corrected"]) == 0
    out = capsys.readouterr().out
    assert "all             2149        1340              3489      3489      1332      1332" in out
    assert "test: 0 of 15467 people on tracks, 5 of 1337 annotated key frames make no clip" in out
