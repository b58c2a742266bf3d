"""The digests of a prepared set's own files, to notice damage and to name its content.

A `digests.json` beside the records holds the size and the SHA-256 of every other file. When a set
is opened, the sizes of all files are compared, and the content of a set that is read in a fraction
of a second, as one of boxes is. Of many gigabytes of frames it is not; records have checksums of
their own besides (CRC-32C), which TensorFlow compares as it reads.
"""

import json
import pathlib
from typing import Any

from stvh_jax import digests, files

NAME = "digests.json"

# A larger set is not read whole when it is opened: this much takes a sixth of a second.
_MOST_READ = 256 << 20

# What says how a set is described, and not what it holds.
_DESCRIPTIONS = ("dataset_info.json", "sources.json")


def write(folder: pathlib.Path) -> None:
    """Writes the `digests.json` of a prepared set that is whole."""
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    entries = {
        path.name: {"bytes": path.stat().st_size, "sha256": digests.of_file(path)} for path in paths
    }
    content = {"content": _content_of(entries), "files": entries}
    files.write(folder / NAME, json.dumps(content, indent=2) + "\n")


def check(folder: pathlib.Path, cure: str) -> str | None:
    """Compares a prepared set with its `digests.json`.

    Args:
      folder: of the set.
      cure: what to do where it is damaged.

    Returns:
      The digest of its content: of the clips' names, boxes, labels, pixels and appearance. None if
      it has no `digests.json`, as those that older versions of this program prepared.

    Raises:
      Damaged: a file is missing, cut, or not what it was.
      UserError: one cannot be read.
    """
    if not (folder / NAME).exists():
        return None
    recorded = files.read_json(folder / NAME, "a list of digests", cure=cure)
    with files.reading(folder / NAME, "a list of digests", cure):
        entries = recorded["files"]
        if _content_of(entries) != recorded["content"]:
            raise ValueError("it contradicts itself")
        read_all = sum(int(entry["bytes"]) for entry in entries.values()) <= _MOST_READ
    for name, entry in entries.items():
        path = folder / name
        with files.reading(path, "what was prepared", cure):
            if not path.is_file():
                raise ValueError("it is missing")
            if path.stat().st_size != entry["bytes"]:
                raise ValueError(f"{path.stat().st_size} bytes, {entry['bytes']} were written")
            read = read_all or ".tfrecord" not in name
            if read and digests.of_file(path) != entry["sha256"]:
                raise ValueError("its content has changed")
    return recorded["content"]


def _content_of(entries: dict[str, Any]) -> str:
    parts = {name: entries[name] for name in sorted(entries) if name not in _DESCRIPTIONS}
    return digests.of_json(parts)
