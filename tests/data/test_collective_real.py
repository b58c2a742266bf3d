"""The real annotations and tracks of Collective Activity, counted by hand."""

import collections
import re
import shutil

import numpy as np
import pytest

from data.collective_activity import constants
from data.collective_activity import raw as subject
from data.collective_activity.collective_activity_dataset_builder import Builder
from data.collective_activity.tracks import parse_collective_tracks
from stvh_jax.errors import UserError
from tests.data.test_collective_activity import run_check
from tests.helpers.collective_files import REAL
from tests.helpers.prepared_sets import prepare

pytestmark = pytest.mark.skipif(not REAL.exists(), reason="real data not present")


# Clips by activity as the data's own description counts them: split A, five classes.
PUBLISHED = {
    "train": {"crossing": 403, "waiting": 323, "queueing": 411, "walking": 342, "talking": 267},
    "test": {"crossing": 135, "waiting": 135, "queueing": 91, "walking": 223, "talking": 181},
}


def label_by_hand(rows, *, merged):
    """Labels one frame's rows with loops of its own: counts, then the first of the greatest."""
    best, winner, counts = 0, None, {}
    names = []
    for row in rows:
        name = {2: "crossing", 3: "waiting", 4: "queueing", 5: "walking", 6: "talking"}.get(row[5])
        names.append("moving" if merged and name in ("crossing", "walking") else name)
        counts[names[-1]] = counts.get(names[-1], 0) + 1
    counts.pop(None, None)
    for name in names:
        if name is not None and counts[name] > best:
            best, winner = counts[name], name
    return winner


def clips_by_hand(sequence, *, centred, merged):
    """Reads a real sequence's clips without any of the code under test."""
    rows = collections.defaultdict(list)
    folder = REAL / f"ActivityDataset/seq{sequence:02d}"
    for line in (folder / "annotations.txt").read_text().splitlines():
        row = [float(field) for field in line.split("\t")]
        rows[int(row[0])].append(row)
    before, after = (5, 4) if centred else (0, 9)
    length = constants.SEQUENCE_LENGTHS[sequence]
    return {
        frame: label_by_hand(rows[frame], merged=merged)
        for frame in sorted(rows)
        if frame % 10 == 1 and frame - before >= 1 and frame + after <= length
    }


@pytest.mark.parametrize("classes", ["four", "five"])
@pytest.mark.parametrize("window", ["forward", "centred"])
def test_real_clips_are_those_counted_by_hand(classes, window):
    raw = subject.open_raw(REAL, classes=classes, window=window)
    for sequence in range(1, 45):
        scan = raw.scan(str(sequence))
        assert not scan.problems
        assert {clip.frame: clip.activity for clip in scan.clips} == clips_by_hand(
            sequence, centred=window == "centred", merged=classes == "four"
        )


def test_real_splits_reach_the_published_counts():
    raw = subject.open_raw(REAL, classes="five")
    found = {
        split: collections.Counter(
            clip.activity for sequence in sequences for clip in raw.scan(sequence).clips
        )
        for split, sequences in raw.splits.items()
    }
    assert found["train"] + found["validation"] == PUBLISHED["train"]
    assert found["test"] == PUBLISHED["test"]
    assert (PUBLISHED["train"]["crossing"], sum(PUBLISHED["train"].values())) == (403, 1746)
    # A quarter of every activity validates.
    shares = [found["validation"][name] / n for name, n in PUBLISHED["train"].items()]
    assert min(shares) > 0.23 and max(shares) < 0.28


@pytest.mark.parametrize("classes", ["four", "five"])
@pytest.mark.parametrize("split", ["din", "sfu"])
@pytest.mark.parametrize("window", ["forward", "centred"])
def test_real_annotations_are_complete(classes, split, window):
    complete, text = run_check(
        subject.open_raw(REAL, classes=classes, split=split, window=window), frames=False
    )
    assert complete
    totals = {("din", "forward"): "1746      1746       765       765"}
    assert totals.get((split, window), "complete: no problem found") in text


def test_real_splits_that_lost_a_clip_are_not_prepared(tmp_path):
    shutil.copytree(REAL / "ActivityDataset", tmp_path / "raw/ActivityDataset")
    path = tmp_path / "raw/ActivityDataset/seq05/annotations.txt"
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join(row for row in rows if not row.startswith("011\t")))
    with pytest.raises(
        UserError, match="test has 764 clips, expected 765, or other counts per activity"
    ):
        prepare(Builder(config="boxes_only", data_dir=tmp_path / "out"), tmp_path / "raw")


def test_real_tracks_are_all_read():
    for number in range(1, 75):
        path = REAL / f"tracks/track{number}.dat"
        text = path.read_text()
        tracks = parse_collective_tracks(path)
        spans = re.findall(r"Target \d+ \(frames from (\d+) to (\d+)\)", text)
        assert tracks.boxes.shape[1] == len(spans)
        for place, (first, last) in enumerate(spans):
            seen = tracks.frames[tracks.visible[:, place]]
            np.testing.assert_array_equal(seen, np.arange(int(first), int(last) + 1))
        row = next(line for line in text.splitlines() if re.match(r"\d+\t", line))
        frame, x, y, width, height = map(int, row.split("\t"))
        place = int(np.flatnonzero(tracks.frames == frame)[0])
        np.testing.assert_array_equal(tracks.boxes[place, 0], [y, x, y + height, x + width])


def test_real_people_are_matched_to_tracks():
    raw = subject.open_raw(REAL)
    rates = {}
    for sequence in (1, 27, 28):
        clips = raw.scan(str(sequence)).clips
        tracked = [raw.boxes(str(sequence), clip)[2] for clip in clips]
        rates[sequence] = np.concatenate(tracked).mean()
    assert rates == {
        1: pytest.approx(0.882, abs=5e-4),
        27: pytest.approx(0.175, abs=5e-4),
        28: pytest.approx(0.993, abs=5e-4),
    }
