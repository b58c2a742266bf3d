"""Footage whose matches and clips have names: checked, prepared, and read again by its names."""

import json
import pickle

import ml_collections
import numpy as np
import pytest

from data.__main__ import main
from data.decoding import decode_clips
from data.prepared.pipeline import open_dataset
from data.volleyball.raw import open_raw
from stvh_jax.errors import Damaged, NotFound, UserError
from tests.helpers import collective_files, volleyball_files
from tests.helpers.volleyball_files import SIZE, frame_colours

PEOPLE = [(5, 6, 7, 11, "digging"), (30, 10, 6, 12, "waiting")]
SPLITS = {
    "train": ["cup final", "set_1", "set"],
    "validation": ["2024-05-11 Zürich (home)"],
    "test": ["seq10", "seq2", 7],
}
# Clips may be called as their key frames, or otherwise; the names of matches and clips must not run
# into each other: "set_1" and "2", "set" and "1_2".
CLIPS = {
    "cup final": [(("rally 3, set 2", 120), "r-pass", PEOPLE), (45, "l_set", PEOPLE)],
    "set_1": [(("2", 1000), "r_set", PEOPLE)],
    "set": [(("1_2", 1020), "l_set", PEOPLE)],
    "2024-05-11 Zürich (home)": [(("Aufschlag", 31), "l-spike", PEOPLE)],
    "seq10": [(("a", 60), "r_winpoint", PEOPLE)],
    "seq2": [(("a", 60), "l_winpoint", PEOPLE)],
    7: [(90, "l_winpoint", PEOPLE)],
}
NAMES = {
    "train": {
        ("cup final", "rally 3, set 2"): 120,
        ("cup final", "45"): 45,
        ("set_1", "2"): 1000,
        ("set", "1_2"): 1020,
    },
    "validation": {("2024-05-11 Zürich (home)", "Aufschlag"): 31},
    "test": {("seq10", "a"): 60, ("seq2", "a"): 60, ("7", "90"): 90},
}


def write_track(root, video, clip, key):
    """Writes a track of the first person, a pixel per frame to the right."""
    path = root / f"volleyball_tracking_annotation/{video}/{clip}/{clip}.txt"
    path.parent.mkdir(parents=True)
    rows = [
        f"0 {5 + frame - key} 6 {12 + frame - key} 17 {frame} 0 0 0 digging \n"
        for frame in range(key - 5, key + 5)
    ]
    path.write_text("".join(rows))


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("named") / "raw"
    volleyball_files.write_raw(root, CLIPS, splits=SPLITS)
    write_track(root, "cup final", "rally 3, set 2", 120)
    box = np.array([[6 / SIZE[0], 5 / SIZE[1], 17 / SIZE[0], 12 / SIZE[1]]])
    table = {("seq2", "a"): {60: box}, (7, 90): {90: box}}
    (root / "tracks_normalized.pkl").write_bytes(pickle.dumps(table))
    return root


def opened(folder, name="volleyball", **options):
    config = {
        "name": name,
        "variant": "frames",
        "dir": str(folder),
        "image_size": SIZE,
        "num_frames": 10,
        "num_actors": 13,
        "still_boxes": False,
    }
    return open_dataset(ml_collections.ConfigDict(config | options))


def test_named_footage_is_checked(raw, capsys):
    assert main(["check", "volleyball", "--raw", str(raw)]) == 0
    out = capsys.readouterr().out
    assert "complete: no problem found" in out
    # The longest name sets the width of the table: a head and seven matches.
    table = out.splitlines()[1:9]
    assert [line[:24].strip() for line in table] == ["video", *map(str, CLIPS)]
    assert len({len(line) for line in table}) == 1


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("named") / "sets"
    assert main(["prepare", "volleyball", "--raw", str(raw), "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("split", NAMES)
def test_named_footage_is_read_by_its_names(prepared, split):
    dataset = opened(prepared)
    (clips,) = dataset.evaluation_batches(split, batch_size=8)
    assert clips.match.dtype.kind == clips.clip.dtype.kind == "U"
    names = list(zip(clips.match.tolist(), clips.clip.tolist()))
    count = len(NAMES[split])
    assert dict(zip(names[:count], clips.frame.tolist())) == NAMES[split]
    assert set(names[count:]) == {("", "")} and set(clips.frame[count:]) == {-1}
    images = dataset.key_frame_images(split, NAMES[split])
    for row, (match, clip) in enumerate(names[:count]):
        key = NAMES[split][match, clip]
        video = int(match) if match.isdecimal() else match
        for place in range(10):
            left, _ = frame_colours(video, key, key - 5 + place)
            assert np.abs(clips.frames[row, place, 15, 5].astype(int) - left).max() <= 3
        left, _ = frame_colours(video, key, key)
        assert np.abs(images[match, clip][15, 5].astype(int) - left).max() <= 3


def test_tracks_of_named_clips_are_found(prepared):
    dataset = opened(prepared)
    assert dataset.untracked_share("train") == 7 / 8
    assert dataset.untracked_share("test") == 4 / 6
    (clips,) = dataset.evaluation_batches("train", batch_size=4)
    row = clips.clip.tolist().index("rally 3, set 2")
    shift = (clips.boxes[row, :, 0, 1] - clips.boxes[row, 5, 0, 1]) * SIZE[1]
    np.testing.assert_allclose(shift, np.arange(-5, 5), atol=1e-4)


def test_named_clips_are_decoded(raw):
    first, second = decode_clips(open_raw(raw), "cup final")
    assert (first.match, first.clip, first.frame) == ("cup final", "rally 3, set 2", 120)
    assert (second.clip, second.frame) == ("45", 45)
    left, _ = frame_colours("cup final", 120, 115)
    assert np.abs(first.frames[0, 15, 5].astype(int) - left).max() <= 3


def test_an_unknown_name_is_not_found(prepared):
    with pytest.raises(NotFound, match=r"no clip \(match, clip\) = \('cup final', 'rally 9'\)"):
        opened(prepared).key_frame_images(
            "train", {("cup final", "rally 10"), ("cup final", "rally 9"), ("set", "1_2")}
        )


def test_names_without_splits_are_refused(tmp_path):
    volleyball_files.write_raw(tmp_path, {"cup final": CLIPS["cup final"]})
    with pytest.raises(
        NotFound, match=r"which of yours is in which split in .*splits.json"
    ) as caught:
        open_raw(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "error", "cause"),
    [
        ({"train": "cup final"}, Damaged, "'cup final' is not a list"),
        ({"train": [1.5]}, Damaged, "1.5 is neither a name nor a whole number"),
        ({"train": ["../elsewhere"]}, Damaged, "'../elsewhere' is not the name of a folder"),
        ({"train": [""]}, Damaged, "'' is not the name of a folder"),
        ({"train": [7, "cup final"]}, UserError, "match 7 is listed twice"),
        ({"train": ["7"]}, UserError, "match 7 is listed twice"),
    ],
)
def test_malformed_names_are_refused(tmp_path, content, error, cause):
    volleyball_files.write_raw(tmp_path, {7: CLIPS[7]}, frames=False)
    splits = {"train": [], "validation": [], "test": [7], "clips": 1} | content
    (tmp_path / "splits.json").write_text(json.dumps(splits))
    with pytest.raises(error, match=cause) as caught:
        open_raw(tmp_path)
    path = tmp_path / "splits.json"
    assert str(caught.value).startswith((f"{path}: ", f"{path} is not {{"))
    assert "\n" not in str(caught.value)


def test_named_streets_are_checked_prepared_and_read(tmp_path, capsys):
    people = collective_files.people
    walking, talking = collective_files.WALKING, collective_files.TALKING
    sequences = {
        "market square": {1: people(walking), 11: people(talking, talking)},
        "seq02": {11: people(talking)},
        3: {1: people(walking, talking)},
    }
    splits = {"train": ["market square"], "validation": ["seq02"], "test": [3]}
    root = collective_files.write_sequences(tmp_path / "raw", sequences, splits=splits)
    for sequence in ("market square", 3):
        boxes = dict.fromkeys(range(1, 21), (2, 6, 6, 12))
        collective_files.write_tracks(root, sequence, [boxes])
    # Tracks by number are those of the numbered folder, also where it is called by its whole name.
    collective_files.write_tracks(root, 2, [dict.fromkeys(range(1, 21), (2, 6, 6, 12))])
    command = ["collective_activity", "--raw", str(root)]
    assert main(["check", *command]) == 0
    assert "complete: no problem found" in capsys.readouterr().out
    assert main(["prepare", *command, "--out", str(tmp_path / "sets")]) == 0
    dataset = opened(tmp_path / "sets", "collective_activity")
    found = {}
    for split in dataset.splits:
        for clips in dataset.evaluation_batches(split, batch_size=1):
            found[clips.match[0], clips.clip[0]] = (split, int(clips.frame[0]))
            place = "market square" if split == "train" else clips.match[0]
            number = 3 if place == "3" else place
            left, _ = collective_files.frame_colours(number, clips.frame[0])
            assert np.abs(clips.frames[0, 0, 15, 5].astype(int) - left).max() <= 3
    assert found == {
        ("market square", "1"): ("train", 1),
        ("market square", "11"): ("train", 11),
        ("seq02", "11"): ("validation", 11),
        ("3", "1"): ("test", 1),
    }
    shares = [dataset.untracked_share(split) for split in ("train", "validation", "test")]
    assert shares == [1 / 3, 0.0, 1 / 2]
