"""What a prepared set was made from, to notice when its raw files change; no TensorFlow.

A `sources.json` beside the records holds the splits, the sizes of the matches' frames, and of every
annotation, track file and frame that the set was made from its size, time and SHA-256; of a file of
features its name, shape and SHA-256. Files of labels are read again to be compared. Frames are many
gigabytes: one of the same size and time is taken for the same, and any other is read.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from data.annotations import ClipAnnotation
from data.appearance import Appearance
from data.raw import RawClips
from stvh_jax import digests, files
from stvh_jax.errors import UserError

NAME = "sources.json"


@dataclasses.dataclass(frozen=True)
class Source:
    """A raw file.

    Attributes:
      size: in bytes.
      time: of its last change, in nanoseconds.
      sha256: of its content, in hexadecimal digits.
    """

    size: int
    time: int
    sha256: str

    @classmethod
    def of(cls, path: pathlib.Path, sha256: str = "") -> "Source":
        """Describes a file, whose digest is computed unless it is known.

        Raises:
          UserError: it cannot be read.
        """
        with files.reading(path, "a readable file"):
            found = path.stat()
            return cls(found.st_size, found.st_mtime_ns, sha256 or digests.of_file(path))


def label_sources(raw: RawClips, appearance: Appearance | None = None) -> dict[str, Any]:
    """Describes all that a set is made from but the frames, as `sources.json` has it.

    Raises:
      UserError: a file cannot be read, or is malformed.
    """
    matches = _matches(raw)
    paths = {path: None for match in matches for path in _label_files(raw, match)}
    return {
        "splits": {split: list(names) for split, names in raw.splits.items()},
        "frame sizes": {match: _frame_size(raw, match) for match in matches},
        "labels": describe(raw, {path: Source.of(path) for path in paths}),
        "appearance": appearance and _describe_appearance(appearance),
    }


def describe(raw: RawClips, sources: Mapping[pathlib.Path, Source]) -> dict[str, Any]:
    """Describes files as `sources.json` has them.

    They are named as they are seen from the folder of the matches, which may be moved or copied.
    """
    return {_name(raw, path): dataclasses.astuple(source) for path, source in sources.items()}


def _describe_appearance(appearance: Appearance) -> dict[str, Any]:
    return {
        "file": appearance.path.name,
        "shape": list(appearance.shape),
        "sha256": appearance.sha256,
    }


def write(folder: pathlib.Path, sources: Mapping[str, Any]) -> None:
    """Writes the `sources.json` of a prepared set."""
    files.write(folder / NAME, json.dumps(sources) + "\n")


def refuse_other_sources(
    folder: pathlib.Path, raw: RawClips, appearance: Appearance | None = None
) -> None:
    """Raises an error if a prepared set was made from other files than those of a raw folder.

    Sets of older versions of this program do not tell, and pass.

    Args:
      folder: of the prepared set.
      raw: the opened raw folder.
      appearance: the features of whole frames of a variant that has them.

    Raises:
      UserError: it was.
      Damaged: its `sources.json` is malformed.
    """
    path = folder / NAME
    if not path.exists():
        return
    cure = f"delete {folder} to prepare the set again"
    recorded = files.read_json(path, "a list of raw files", cure=cure)
    with files.reading(path, "a list of raw files", cure):
        difference = _difference(recorded, raw, appearance)
    if difference:
        raise UserError(f"{folder} was prepared from other files: {difference}; {cure}")


def _difference(recorded: Mapping[str, Any], raw: RawClips, appearance: Appearance | None) -> str:
    """Says what is not as it was, "" if all is."""
    found = label_sources(raw, appearance)
    for kind, before, after in (
        ("the list of matches of ", recorded["splits"], found["splits"]),
        ("the frame size of ", recorded["frame sizes"], found["frame sizes"]),
        ("", _digests(recorded["labels"]), _digests(found["labels"])),
    ):
        if difference := _changed(before, after):
            return kind + difference
    if appearance is not None and recorded["appearance"]["sha256"] != appearance.sha256:
        file = recorded["appearance"]["file"]
        return f"{appearance.path} is not the {file} that its features are from"
    return _frame_difference(recorded["frames"], raw) if recorded["frames"] else ""


def _digests(entries: Mapping[str, Any]) -> dict[str, str]:
    return {name: Source(*entry).sha256 for name, entry in entries.items()}


def _frame_difference(recorded: Mapping[str, Any], raw: RawClips) -> str:
    paths = {_name(raw, path): path for path in _frames(raw)}
    if difference := _changed(dict.fromkeys(recorded), dict.fromkeys(paths)):
        return difference
    for name, path in paths.items():
        before, found = Source(*recorded[name]), path.stat()
        same = (found.st_size, found.st_mtime_ns) == (before.size, before.time)
        if not same and Source.of(path).sha256 != before.sha256:
            return f"{name} has changed"
    return ""


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    for name in after:
        if name not in before:
            return f"{name} is new"
    for name in before:
        if name not in after:
            return f"{name} is gone"
        if before[name] != after[name]:
            return f"{name} has changed"
    return ""


def _matches(raw: RawClips) -> list[str]:
    """Lists the matches that have annotations."""
    names = [match for names in raw.splits.values() for match in names]
    return [match for match in names if raw.annotation_path(match).exists()]


def _frame_size(raw: RawClips, match: str) -> list[int] | None:
    try:
        return list(raw.frame_size(match))
    except UserError:  # of a match without images, whose clips are left out
        return None


def _label_files(raw: RawClips, match: str) -> Iterable[pathlib.Path]:
    yield from raw.label_paths(match)
    yield from raw.track_paths(match, _clips(raw, match))


def _frames(raw: RawClips) -> Iterable[pathlib.Path]:
    for match in _matches(raw):
        for clip in _clips(raw, match):
            if raw.has_frames(match, clip):
                yield from raw.frame_paths(match, clip)


def _clips(raw: RawClips, match: str) -> list[ClipAnnotation]:
    return raw.scan(match).clips


def _name(raw: RawClips, path: pathlib.Path) -> str:
    return pathlib.PurePath(os.path.relpath(path, raw.folder)).as_posix()
