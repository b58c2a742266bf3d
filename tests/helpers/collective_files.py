"""Raw Collective Activity folders made for tests, in the archives' layout."""

import json
import pathlib

from tests.helpers.volleyball_files import SIZE, write_frame

REAL = pathlib.Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "collective"

NA, CROSSING, WAITING, QUEUEING, WALKING, TALKING, DANCING, JOGGING = range(1, 9)
SPLITS = {"train": [1, 2], "validation": [3], "test": [4]}


def people(*numbers):
    """Makes people of these classes who stand apart."""
    return [(2 + 9 * place, 6, 6, 12, number) for place, number in enumerate(numbers)]


def small_set(root):
    """Writes a complete small set in the archive's layout: 20 frames in each sequence."""
    return write_sequences(
        root,
        {
            1: {1: people(CROSSING, WALKING, WAITING), 11: people(QUEUEING, QUEUEING)},
            2: {1: people(TALKING, NA), 11: people(TALKING)},
            3: {1: people(WAITING)},
            4: {11: people(WALKING, WALKING, NA)},
        },
        splits=SPLITS,
    )


def annotation_rows(key_frame, people):
    """Writes the people, (x, y, width, height, class number), as rows of annotations.txt."""
    return "".join(
        f"{key_frame:03d}\t{x}\t{y}\t{width}\t{height}\t{number}\t-1\n"
        for x, y, width, height, number in people
    )


def track_text(targets, total=10):
    """Writes targets, {frame: (x, y, width, height)} each, as a track file."""
    lines = [f"Total frames {total}", f"Number of Targets {len(targets)}"]
    for number, boxes in enumerate(targets, start=1):
        lines.append(f"Target {number} (frames from {min(boxes)} to {max(boxes)})")
        lines.append("Bounding Boxes (frame, x, y, width, height)")
        lines += [f"{frame}\t{x}\t{y}\t{w}\t{h}" for frame, (x, y, w, h) in boxes.items()]
        lines.append("3D Trajetory (frame, x, z, height, pose)")
        lines += [f"{frame}\t0.52\t4.97\t1.84\t4.00" for frame in boxes]
    return "\n".join(lines) + "\n"


def folder_of(sequence):
    """Returns the name of a sequence's folder."""
    return f"seq{sequence:02d}" if isinstance(sequence, int) else sequence


def frame_colours(sequence, frame):
    """Returns the colours of a made frame's left and right halves; no two frames agree."""
    tint = 20 * (sequence if isinstance(sequence, int) else len(sequence) % 10)
    return (40 + 5 * frame, tint, 200), (40 + 5 * frame, tint, 20)


def write_sequences(root, sequences, *, splits=None, frames=20, second=()):
    """Writes a raw folder.

    Args:
      root: the folder.
      sequences: sequence, by its number or name -> {key frame: people}.
      splits: split -> sequences, written to splits.json; None leaves the named ones in force.
      frames: how many images each sequence has.
      second: the sequences that lie in ActivityDataset2.
    """
    for sequence, key_frames in sequences.items():
        name = "ActivityDataset2" if sequence in second else "ActivityDataset"
        folder = root / name / folder_of(sequence)
        folder.mkdir(parents=True)
        rows = [annotation_rows(frame, people) for frame, people in key_frames.items()]
        (folder / "annotations.txt").write_text("".join(rows))
        for frame in range(1, frames + 1):
            path = folder / f"frame{frame:04d}.jpg"
            write_frame(path, *frame_colours(sequence, frame), size=SIZE)
    if splits is not None:
        key_frames = sum(map(len, sequences.values()))
        (root / "splits.json").write_text(json.dumps(splits | {"key_frames": key_frames}))
    return root


def write_tracks(root, sequence, targets):
    """Writes a sequence's track file into the archive's folder."""
    name = f"track{sequence}.dat" if isinstance(sequence, int) else f"{sequence}.dat"
    path = root / "ActivityTracks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(track_text(targets))
    return path
