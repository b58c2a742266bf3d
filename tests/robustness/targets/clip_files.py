"""Files of clips: annotations, splits, tracks, and a user's own images and boxes."""

import functools
import json
import pathlib
import pickle
import shutil

import numpy as np

from tests.robustness import material
from tests.robustness.case import Target, expect
from tests.robustness.mutations import (
    Random,
    broken_bytes,
    broken_json,
    broken_text,
    junk,
)


def _broken_copy(path: pathlib.Path, breaks, random: Random, folder: pathlib.Path) -> str:
    """Breaks a copy of a file; gives its name."""
    content = path.read_bytes()
    content = breaks(random, content if breaks is broken_bytes else content.decode())
    (folder / path.name).write_bytes(content)
    return path.name


def _junk_tracks(random: Random):
    """Draws the content of a pickle of tracks, right in some places."""
    array = random.choice(
        [
            np.full((2, 4), 0.5),
            np.full((2, 4), np.nan),
            np.zeros((0, 4)),
            np.zeros((1, 4), complex),
            np.array([["a", "b", "c", "d"]]),
            np.array([[None] * 4], object),
            [[0.1, 0.2, 0.3, 0.4]],
            [[10**400, 0, 1, 1]],
            junk(random),
        ]
    )
    name = random.choice([("1", "40"), (1, 40), "1/40", ("1",), junk(random)])
    frame = random.choice([40, 40, np.int64(40), "40", 2**70, -1, float("nan"), junk(random)])
    name, frame = (repr(key) if isinstance(key, (list, dict)) else key for key in (name, frame))
    frames = random.choice([{frame: array}, {frame: array, 41: array}, junk(random), {}])
    return random.choice([{name: frames}, {name: frames}, {name: frames}, [frames], junk(random)])


def make_pickle(random: Random, folder: pathlib.Path):
    path = material.RAW / "tracks_normalized.pkl"
    if random.random() < 0.7:
        return _broken_copy(path, broken_bytes, random, folder)
    depth = random.choice([0, 0, 0, 10_000])
    content = pickle.dumps(_junk_tracks(random), random.choice([0, 2, 4, 5]))
    if depth:
        content = b"\x80\x04" + b"]" * depth + b"a" * (depth - 1) + b"."
    (folder / path.name).write_bytes(content)
    return path.name


def run_pickle(folder: pathlib.Path, name: str):
    from data.volleyball.tracks import load_normalized_tracks

    first = load_normalized_tracks(folder / name)
    # Memory that no one has written to would not hold the same numbers twice.
    np.full(100_000, np.pi)
    second = load_normalized_tracks(folder / name)
    expect(first.keys() == second.keys(), "two readings give other clips")
    for clip, tracks in first.items():
        again = second[clip]
        shape = (*tracks.visible.shape, 4)
        expect(tracks.boxes.shape == shape, f"{clip}: boxes {tracks.boxes.shape} of {shape}")
        expect(bool(np.isfinite(tracks.boxes).all()), f"{clip}: boxes are not finite")
        expect(np.array_equal(tracks.boxes, again.boxes), f"{clip}: two readings differ")
        expect(np.array_equal(tracks.frames, again.frames), f"{clip}: two readings differ")


def make_annotations(random: Random, folder: pathlib.Path):
    kind = random.choice(["volleyball", "collective"])
    root = material.RAW / "videos" / "0" if kind == "volleyball" else (
        material.COLLECTIVE / "ActivityDataset" / "seq01")  # fmt: skip
    _broken_copy(root / "annotations.txt", broken_text, random, folder)
    return kind


def run_annotations(folder: pathlib.Path, kind: str):
    from data.collective_activity.annotations import scan_collective_annotations
    from data.volleyball.annotations import parse_volleyball_annotations

    path = folder / "annotations.txt"
    if kind == "volleyball":
        clips = parse_volleyball_annotations(path)
        boxes = [clip.boxes for clip in clips]
    else:
        frames, problems = scan_collective_annotations(path, num_classes=8)
        if problems:
            raise problems[0]
        boxes = [frame.boxes for frame in frames]
    for each in boxes:
        expect(each.ndim == 2 and bool(np.isfinite(each).all()), "boxes are not finite")


def make_text_tracks(random: Random, folder: pathlib.Path):
    path = random.choice(
        [
            material.RAW / "volleyball_tracking_annotation" / "0" / "40" / "40.txt",
            material.COLLECTIVE / "ActivityTracks" / "track1.dat",
        ]
    )
    return _broken_copy(path, broken_text, random, folder)


def run_text_tracks(folder: pathlib.Path, name: str):
    from data.collective_activity.tracks import parse_collective_tracks
    from data.volleyball.tracks import parse_volleyball_tracks

    parse = parse_volleyball_tracks if name.endswith(".txt") else parse_collective_tracks
    tracks = parse(folder / name)
    expect(bool(np.isfinite(tracks.boxes).all()), "boxes are not finite")


def make_splits(random: Random, folder: pathlib.Path):
    return _broken_copy(material.RAW / "splits.json", broken_json, random, folder)


def run_splits(folder: pathlib.Path, name: str):
    from data.raw import read_splits

    splits, count = read_splits(folder / name, "clips")
    expect(isinstance(count, int) and not isinstance(count, bool), f"{count!r} clips")
    for match in (match for matches in splits.values() for match in matches):
        expect(isinstance(match, str) and "/" not in match, f"a match is {match!r}")


def make_clip(what: str, random: Random, folder: pathlib.Path):
    shutil.copytree(material.CLIP, folder / "clip")
    clip = folder / "clip"
    if what == "tracks":
        path, breaks = clip / "tracks.csv", broken_text
    elif what == "array":
        path, breaks = clip / "boxes.npy", broken_bytes
    else:
        path, breaks = random.choice(sorted((clip / "frames").iterdir())), broken_bytes
    _broken_copy(path, breaks, random, path.parent)
    return "boxes.npy" if what == "array" else "tracks.csv"


def run_clip(folder: pathlib.Path, boxes: str):
    from stvh_jax.inference.clip_files import read_clip

    frames, boxes_read, mask = read_clip(
        folder / "clip" / boxes, folder / "clip" / "frames", num_frames=4
    )
    expect(bool(np.isfinite(boxes_read).all()), "boxes are not finite")
    expect(boxes_read.shape == (4, len(mask), 4), f"boxes have shape {boxes_read.shape}")
    expect(frames is not None and frames.dtype == np.uint8, "frames are not pixels")


def make_appearance(random: Random, folder: pathlib.Path):
    path = random.choice([material.APPEARANCE, material.CLIP / "appearance.npy"])
    return _broken_copy(path, broken_bytes, random, folder)


def run_appearance(folder: pathlib.Path, name: str):
    from data.appearance import read_appearance
    from stvh_jax.inference import clip_files

    if name.endswith(".npy"):
        features = clip_files.read_appearance(folder / name)
        expect(features.ndim == 2 and features.size > 0, f"features have shape {features.shape}")
        return
    found, right = (read_appearance(path) for path in (folder / name, material.APPEARANCE))
    expect(found.rows == right.rows, "rows of other clips")
    expect(np.array_equal(found.features, right.features), "other features")


def make_weights(random: Random, folder: pathlib.Path):
    return _broken_copy(
        random.choice(sorted(material.WEIGHTS.iterdir())), broken_bytes, random, folder
    )


def run_weights(folder: pathlib.Path, name: str):
    from stvh_jax import files
    from stvh_jax.models.weights.containers import read_container

    with files.reading(folder / name, "a file of weights"):
        read = read_container(folder / name)
    tensors = getattr(read, "tensors", None) or getattr(read, "layers", None)
    expect(isinstance(tensors, dict), f"it holds {json.dumps(str(read))[:200]}")


TARGETS = (
    Target("tracks pickle", make_pickle, run_pickle),
    Target("annotations", make_annotations, run_annotations),
    Target("tracks as text", make_text_tracks, run_text_tracks),
    Target("splits.json", make_splits, run_splits),
    Target("tracks.csv", functools.partial(make_clip, "tracks"), run_clip),
    Target("boxes.npy", functools.partial(make_clip, "array"), run_clip),
    Target("appearance", make_appearance, run_appearance),
    Target("images", functools.partial(make_clip, "image"), run_clip),
    Target("weight files", make_weights, run_weights),
)
