"""The files of the synthetic streets: the official layout, the same bytes on every run."""

import collections
import json
import re

import numpy as np
import pytest
from PIL import Image

from data.collective_activity.constants import CLASSES
from data.synthetic import street, street_files, street_rendering
from data.tracks import box_iou
from stvh_jax.errors import Exists, UserError
from tests.helpers.streets import SIZE, in_sight, lone_person, sample, sequence_of

pytestmark = pytest.mark.slow

ROW = re.compile(r"(\d{3,})\t(-?\d+)\t(-?\d+)\t(\d+)\t(\d+)\t([1-8])\t-1")
TRACKS = re.compile(
    r"Total frames (\d+)\nNumber of Targets (\d+)\n"
    r"((?:Target \d+ \(frames from \d+ to \d+\)\n"
    r"Bounding Boxes \(frame, x, y, width, height\)\n(?:\d+(?:\t-?\d+){4}\n)+"
    r"3D Trajetory \(frame, x, z, height, pose\)\n(?:\d+(?:\t-?\d+\.\d\d){4}\n)+)+)"
)
TARGET = re.compile(
    r"Target (\d+) \(frames from (\d+) to (\d+)\)\nBounding.*\n((?:\d.*\n)+)3D.*\n((?:\d.*\n)+)"
)


def synthesize(out, **options):
    options = {"matches": 15, "clips_per_match": 2, "image_size": (48, 80)} | options
    street_files.synthesize_collective(out, **({"progress": lambda line: None} | options))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("street") / "out"
    synthesize(out, extended=True, matches=22, seed=11, image_size=SIZE)
    return out


def contents(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def sequences(out):
    """The folders by number."""
    folders = {int(path.name[3:]): path for path in out.glob("ActivityDataset*/seq*")}
    return dict(sorted(folders.items()))


def read_rows(folder):
    """The rows of a sequence's annotations: frame, x, y, width, height, class."""
    lines = (folder / "annotations.txt").read_text()
    assert lines.endswith("\n")
    return np.array([ROW.fullmatch(line).groups() for line in lines.splitlines()], int)


def read_targets(text):
    """The rows of boxes of each target of a track file."""
    total, count, targets = TRACKS.fullmatch(text).groups()
    found = []
    for number, (name, first, last, boxes, walk) in enumerate(TARGET.findall(targets), start=1):
        assert int(name) == number
        boxes = np.array([line.split("\t") for line in boxes.splitlines()], int)
        walk = np.array([line.split("\t") for line in walk.splitlines()], float)
        for rows in (boxes, walk):
            np.testing.assert_array_equal(rows[:, 0], np.arange(int(first), int(last) + 1))
        assert 1 <= int(first) <= int(last) <= int(total)
        assert set(walk[:, 4]) <= set(range(1, 9)) and (walk[:, 3] > 1.5).all()
        found.append(boxes)
    assert len(found) == int(count)
    return found


def corners(rows):
    x, y, width, height = rows.T
    return np.stack([y, x, y + height, x + width], axis=-1)


def test_the_layout_is_the_official_one(made):
    folders = sequences(made)
    assert list(folders) == list(range(1, 23))
    expected = {"splits.json"}
    for number, folder in folders.items():
        rows = read_rows(folder)
        assert sorted(set(rows[:, 0])) == [1, 11]
        assert (rows[:, 0] == np.sort(rows[:, 0])).all()
        assert (rows[:, 3:5] >= 5).all()
        name = f"{folder.parent.name}/seq{number:02d}"
        for frame in range(1, 21):
            with Image.open(made / name / f"frame{frame:04d}.jpg") as image:
                assert image.size == (144, 96) and image.format == "JPEG"
            expected.add(f"{name}/frame{frame:04d}.jpg")
        expected |= {f"{name}/annotations.txt", f"ActivityTracks/track{number}.dat"}
    assert set(contents(made)) == expected


def activity_of(folder):
    """What most people of each key frame do, by the class numbers of the format."""
    rows = read_rows(folder)
    most = {np.bincount(rows[rows[:, 0] == frame, 5]).argmax() for frame in (1, 11)}
    assert len(most) == 1
    return most.pop()


def test_extended_sequences_come_last_in_their_own_folder(made):
    folders = sequences(made)
    activities = {number: activity_of(folder) for number, folder in folders.items()}
    # 22 by seven in turn: one of them, the first, has four.
    assert collections.Counter(activities.values()) == {2: 4, 3: 3, 4: 3, 5: 3, 6: 3, 7: 3, 8: 3}
    for number, folder in folders.items():
        extended = number > 16
        assert folder.parent.name == ("ActivityDataset2" if extended else "ActivityDataset")
        assert (activities[number] > 6) == extended
    assert CLASSES.index("dancing") == 6 and CLASSES.index("na") == 0


def test_every_split_has_every_activity(made):
    splits = json.loads((made / "splits.json").read_text())
    folders = sequences(made)
    keys = sum(len(set(read_rows(folder)[:, 0])) for folder in folders.values())
    assert splits["key_frames"] == keys == 44
    assert splits["made_by"]["extended"] is True
    parts = [splits[name] for name in ("train", "validation", "test")]
    assert sorted(sum(parts, [])) == list(folders)
    for part in parts:
        assert part == sorted(part)
        assert {activity_of(folders[number]) for number in part} == set(range(2, 9))


@pytest.mark.parametrize(("matches", "counts"), [(15, (5, 5, 5)), (70, (45, 10, 15))])
def test_splits_are_nine_to_two_to_three(matches, counts):
    activities = street_files.deal_activities(matches, extended=False)
    split = street_files.split_sequences(activities, seed=0)
    assert tuple(map(len, split.values())) == counts
    assert street_files.split_sequences(activities, seed=1) != split


def test_annotated_people_are_those_that_are_tracked(made):
    tracked = total = 0
    shuffled = False
    for number, folder in sequences(made).items():
        rows = read_rows(folder)
        targets = read_targets((made / "ActivityTracks" / f"track{number}.dat").read_text())
        for frame in (1, 11):
            annotated = corners(rows[rows[:, 0] == frame, 1:5])
            boxes = [target[target[:, 0] == frame, 1:] for target in targets]
            overlap = box_iou(annotated, corners(np.concatenate(boxes)))
            # Nobody is tracked who is not annotated, but some are not tracked.
            assert (overlap.max(axis=0) > 0.7).all()
            assert overlap.shape[1] <= overlap.shape[0]
            tracked, total = tracked + overlap.shape[1], total + overlap.shape[0]
            shuffled |= (np.diff(overlap.argmax(axis=0)) < 0).any()
    assert shuffled
    assert 0.75 < tracked / total < 0.97


def test_untracked_and_unsteady_shares():
    rng = np.random.default_rng(0)
    missing, off = [], collections.defaultdict(list)
    for seed in range(150):
        sequence = sample(street.ACTIVITIES[seed % 7], seed, frames=10)
        targets = read_targets(
            "".join(f"{line}\n" for line in street_files.track_lines(rng, sequence))
        )
        missing.append(1 - len(targets) / len(sequence.people))
        for difficulty in (0.0, 1.0):
            lines = street_files.annotation_lines(rng, sequence, difficulty=difficulty)
            rows = np.array([ROW.fullmatch(line).groups() for line in lines], int)
            assert len(rows) == len(in_sight(sequence, 0))
            boxes = [
                street_rendering.person_boxes(person, sequence.camera, SIZE)[0]
                for person in in_sight(sequence, 0)
            ]
            overlap = box_iou(corners(rows[:, 1:5]), np.array(boxes))
            off[difficulty].extend(1 - overlap.max(axis=1))
            # The class is the person's own.
            actions = sorted(CLASSES.index(p.action) + 1 for p in in_sight(sequence, 0))
            assert sorted(rows[:, 5]) == actions
    assert np.mean(missing) == pytest.approx(0.13, abs=0.03)
    assert 0.02 < np.mean(off[0.0]) < 0.1 and np.mean(off[1.0]) > 2 * np.mean(off[0.0])


def test_poses_are_eighths_of_a_turn():
    for heading, pose in ((0.0, 1), (-np.pi / 2, 3), (np.pi, 5), (np.pi / 2, 7), (0.8, 8)):
        sequence = sequence_of(lone_person("na", 0.0, heading))
        last = street_files.track_lines(np.random.default_rng(0), sequence)[-1]
        assert last == f"1\t0.00\t6.20\t1.75\t{pose}.00"


@pytest.mark.slow
def test_same_bytes_on_every_run_and_for_any_number_of_sequences(tmp_path):
    synthesize(tmp_path / "one", clips_per_match=1)
    synthesize(tmp_path / "two", clips_per_match=1, matches=21, extended=True)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert len(two) > len(one)
    for name in one.keys() - {"splits.json"}:
        assert one[name] == two[name], name
    synthesize(tmp_path / "three", clips_per_match=1, seed=1)
    three = contents(tmp_path / "three")
    frames = [name for name in one if name.endswith(".jpg")]
    assert all(one[name] != three[name] for name in frames)


def test_a_finished_folder_is_left_and_a_begun_one_finished(tmp_path):
    lines = []

    def call(progress=lines.append, **options):
        synthesize(tmp_path / "out", clips_per_match=1, progress=progress, **options)

    class Interrupted(Exception):
        pass

    def interrupt(line):
        raise Interrupted

    with pytest.raises(Interrupted):
        call(progress=interrupt)
    assert not (tmp_path / "out" / "splits.json").exists()
    begun = tmp_path / "out" / "ActivityDataset" / "seq01" / "annotations.txt"
    time = begun.stat().st_mtime_ns
    # A sequence cut off before its annotations is written anew.
    half = tmp_path / "out" / "ActivityDataset" / "seq02"
    half.mkdir()
    (half / "frame0001.jpg").write_bytes(b"cut off")
    call()
    assert [line.split(":")[0] for line in lines] == [f"match {n} of 15" for n in range(1, 16)]
    assert begun.stat().st_mtime_ns == time
    finished = contents(tmp_path / "out")
    call()
    assert lines[-1].endswith("complete already") and len(lines) == 16
    assert contents(tmp_path / "out") == finished
    synthesize(tmp_path / "fresh", clips_per_match=1)
    assert contents(tmp_path / "fresh") == finished
    for options in ({"seed": 1}, {"extended": True, "matches": 21}):
        with pytest.raises(Exists, match="not empty"):
            call(**options)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"matches": 14}, "matches is 14: give 15 or more, 3 of each of 5 activities"),
        ({"matches": 20, "extended": True}, "matches is 20: give 21 or more"),
        ({"clips_per_match": 0}, "clips_per_match is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"difficulty": -0.5}, "difficulty is -0.5"),
        ({"image_size": (40, 160)}, "image_size is 40 x 160"),
    ],
)
def test_numbers_out_of_range_are_the_users_to_mend(tmp_path, options, word):
    with pytest.raises(UserError, match=word) as caught:
        synthesize(tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_other_peoples_files_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(Exists, match="give a"):
            synthesize(out)
    assert contents(tmp_path) == {"mine.txt": b"mine"}
