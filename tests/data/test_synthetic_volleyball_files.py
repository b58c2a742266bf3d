"""The files of the synthetic matches: the official layout, the same bytes on every run."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from data.synthetic import volleyball, volleyball_files
from data.tracks import match_tracks
from data.volleyball.annotations import parse_volleyball_annotations
from data.volleyball.constants import ACTIONS, ACTIVITIES
from data.volleyball.tracks import parse_volleyball_tracks
from stvh_jax.errors import Exists, UserError

LINE = re.compile(r"(\d+)\.jpg ([rl]_(?:set|spike|pass|winpoint))((?: \d+ \d+ \d+ \d+ [a-z]+)+)")
TRACK = re.compile(r"(\d+) (\d+) (\d+) (\d+) (\d+) (\d+) 0 0 ([01]) ([a-z]+) ")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic") / "out"
    volleyball_files.synthesize_volleyball(
        out, matches=3, clips_per_match=2, seed=11, progress=lambda line: None
    )
    return out


def contents(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_layout_is_the_official_one(made):
    folders = sorted((made / "videos").iterdir())
    assert [folder.name for folder in folders] == ["0", "1", "2"]
    expected = {"splits.json"}
    for folder in folders:
        text = (folder / "annotations.txt").read_text()
        assert text.endswith("\n")
        for line in text.splitlines():
            key, activity, people = LINE.fullmatch(line).groups()
            assert activity in ACTIVITIES
            people = np.array(people.split()).reshape(-1, 5)
            assert set(people[:, 4]) <= set(ACTIONS)
            key = int(key)
            for frame in range(key - 5, key + 5):
                with Image.open(folder / str(key) / f"{frame}.jpg") as image:
                    assert image.size == (160, 96) and image.format == "JPEG"
                expected.add(f"videos/{folder.name}/{key}/{frame}.jpg")
            track = f"volleyball_tracking_annotation/{folder.name}/{key}/{key}.txt"
            expected |= {track, f"videos/{folder.name}/annotations.txt"}
            check_tracks((made / track).read_text(), key, people)
    assert set(contents(made)) == expected


def check_tracks(text, key, people):
    rows = [TRACK.fullmatch(line).groups() for line in text.splitlines()]
    assert len(rows) == 10 * len(people)
    numbers = np.array([row[:7] for row in rows], int).reshape(-1, 10, 7)
    np.testing.assert_array_equal(numbers[:, 0, 0], np.arange(len(people)))
    assert (numbers[:, :, 5] == np.arange(key - 5, key + 5)).all()
    assert (numbers[:, :, 6] == (np.arange(10) != 5)).all()
    at_key = numbers[:, 5, 1:5]
    annotated = people[:, :4].astype(int)
    annotated[:, 2:] += annotated[:, :2]
    # The same people, in another order.
    assert sorted(map(tuple, at_key)) == sorted(map(tuple, annotated))
    assert (at_key != annotated).any()


def test_the_loader_finds_every_track(made):
    for folder in (made / "videos").iterdir():
        tracks = made / "volleyball_tracking_annotation" / folder.name
        for clip in parse_volleyball_annotations(folder / "annotations.txt"):
            people = parse_volleyball_tracks(tracks / clip.clip / f"{clip.clip}.txt")
            frames = range(clip.frame - 5, clip.frame + 5)
            boxes, tracked = match_tracks(clip.boxes, people, frames, key_frame=clip.frame)
            assert tracked.all() and len(boxes) == 10
            np.testing.assert_array_equal(boxes[5], clip.boxes)


def test_splits_are_by_match_and_cover_all(made):
    splits = json.loads((made / "splits.json").read_text())
    assert splits["clips"] == 6
    for matches, counts in ((3, (1, 1, 1)), (14, (9, 2, 3)), (29, (19, 4, 6))):
        split = volleyball_files.split_matches(matches, seed=11)
        parts = [split[name] for name in ("train", "validation", "test")]
        assert tuple(map(len, parts)) == counts
        assert sorted(sum(parts, [])) == list(range(matches))
        if matches == 3:
            assert split == {name: splits[name] for name in split}
    assert volleyball_files.split_matches(14, seed=1) != volleyball_files.split_matches(14, seed=2)


def test_every_match_has_every_activity_equally_often():
    match = volleyball.sample_match(0, 3, clips=16)
    assert sorted(match.activities) == sorted(ACTIVITIES * 2)
    assert np.diff(match.keys).min() > 41


def test_same_bytes_on_every_run_and_for_any_number_of_matches(made, tmp_path):
    volleyball_files.synthesize_volleyball(
        tmp_path / "more", matches=4, clips_per_match=2, seed=11, progress=lambda line: None
    )
    first, more = contents(made), contents(tmp_path / "more")
    assert len(more) > len(first)
    for name in first.keys() - {"splits.json"}:
        assert first[name] == more[name], name
    other = volleyball.sample_match(12, 0, clips=2)
    assert other.look != volleyball.sample_match(11, 0, clips=2).look


def test_a_finished_folder_is_left_and_a_begun_one_finished(tmp_path):
    lines = []

    def call(progress=lines.append, **changes):
        options = {"matches": 3, "clips_per_match": 1, "image_size": (48, 80)} | changes
        volleyball_files.synthesize_volleyball(tmp_path / "out", progress=progress, **options)

    class Interrupted(Exception):
        pass

    def interrupt(line):
        raise Interrupted

    with pytest.raises(Interrupted):
        call(progress=interrupt)
    assert not (tmp_path / "out" / "splits.json").exists()
    begun = (tmp_path / "out" / "videos" / "0" / "annotations.txt").stat().st_mtime_ns
    call()
    assert [line.split(":")[0] for line in lines] == [f"match {n} of 3" for n in (1, 2, 3)]
    assert (tmp_path / "out" / "videos" / "0" / "annotations.txt").stat().st_mtime_ns == begun
    finished = contents(tmp_path / "out")
    call()
    assert lines[-1].endswith("complete already") and len(lines) == 4
    assert contents(tmp_path / "out") == finished
    with pytest.raises(Exists, match="not empty"):
        call(seed=1)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"matches": 2}, "matches is 2"),
        ({"clips_per_match": 0}, "clips_per_match is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"difficulty": 1.5}, "difficulty is 1.5"),
        ({"image_size": (20, 160)}, "image_size is 20 x 160"),
    ],
)
def test_numbers_out_of_range_are_the_users_to_mend(tmp_path, options, word):
    with pytest.raises(UserError, match=word):
        volleyball_files.synthesize_volleyball(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_other_peoples_files_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(Exists, match="give a"):
            volleyball_files.synthesize_volleyball(out)
    assert (tmp_path / "mine.txt").read_text() == "mine"
