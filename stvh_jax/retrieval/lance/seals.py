"""Digests of the files of a store, which show whether what is read is what was written.

Lance never changes a file once it is written, and does not notice if the disk does. After a write,
`digests/N.json`, N the version, holds the SHA-256 of every file that no earlier one holds. A
version without a digest, whose writer was killed before the end, or which an earlier release wrote,
is read as it is and sealed by the next write. A bucket has checksums of its own.
"""

import json
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from stvh_jax import digests, files
from stvh_jax.errors import Damaged, NotFound
from stvh_jax.retrieval.lance.manifests import fragments
from stvh_jax.retrieval.lance.storage import TABLE, local_folder, storage_errors

_MANIFESTS = "_versions"
# The name of a file of deletions, which ends in its number.
_DELETIONS = re.compile(r"[0-9]+-[0-9]+-([0-9]{1,20})\.\w+")

# What Lance writes again at every version; it only says where to look first.
_HINT = "latest_version_hint.json"

# Manifests that sort from the newest to the oldest are named by this number less the version.
_LARGEST = 2**64 - 1

_CURE = "restore a copy of the index"
_OR_OLDER = f"{_CURE}, or open an older version of it"

# Files that this process has found to be what was written: path -> digest, size and times.
_verified: dict[pathlib.Path, tuple] = {}


class Seals:
    """The digests of a store in a folder."""

    def __init__(self, folder: pathlib.Path, table: str):
        """Reads nothing yet.

        Args:
          folder: the store's.
          table: the name of its table.
        """
        self._table = folder / f"{table}.lance"
        self._folder = folder / "digests"
        self._read: dict[tuple, dict[str, str]] = {}

    def newest_sealed(self) -> int:
        """Gives the newest version that was sealed; 0 if there is none."""
        return max(self._numbers(), default=0)

    def newest(self) -> int:
        """Gives the newest version that there is; 0 if there is none."""
        return max(self.versions(), default=0)

    def versions(self) -> dict[int, str]:
        """Finds the manifest of every version that there is."""
        with files.reading(self._table / _MANIFESTS, "a folder of versions"):
            folder = self._table / _MANIFESTS
            names = os.listdir(folder) if folder.is_dir() else []
        manifests = {}
        for name in names:
            if re.fullmatch(r"[0-9]{1,20}\.manifest", name):
                number = int(name.partition(".")[0])
                version = _LARGEST - number if len(name) == len("1.manifest") + 19 else number
                manifests[version] = f"{_MANIFESTS}/{name}"
        return manifests

    def digest_of(self, version: int) -> str | None:
        """Gives the digest of the manifest of a version, which names its files; None without it."""
        manifest = self.versions().get(version)
        if manifest is None:
            return None
        with files.reading(self._table / manifest, "a version of an index", _CURE):
            digest, *state = _verified.get(self._table / manifest, (None,))
            known = digest is not None and tuple(state) == _state(self._table / manifest)
            return digest if known else self._digest(manifest)

    def check_newest(self, sealed: int, version: int) -> None:
        """Checks that the newest version found is no older than one that was sealed before.

        Raises:
          Damaged: it is: what was written since is lost.
        """
        if version < sealed:
            name = f"{_LARGEST - sealed}.manifest"
            raise Damaged(
                f"{self._table / _MANIFESTS / name}, version {sealed} of the index, is missing; "
                f"{_OR_OLDER}"
            )

    def check(self, version: int) -> None:
        """Checks the files of a version, each once for as long as it stays as it is.

        Raises:
          Damaged: one is not what was written, or is not there.
        """
        manifest = self.versions().get(version)
        if manifest is None:
            return  # the store says that there is no such version
        recorded = self._recorded()
        if manifest in recorded:
            self._check_file(manifest, recorded[manifest], _CURE)
        with files.reading(self._table / manifest, "a version of an index", _CURE):
            content = (self._table / manifest).read_bytes()
        for path in _named_in(content, recorded):
            self._check_file(path, recorded[path], _OR_OLDER)

    def check_manifests(self) -> None:
        """Checks what describes the versions, of all of them.

        Raises:
          Damaged: one is not what was written, or is not there.
        """
        for path, digest in self._recorded().items():
            if path.startswith(_MANIFESTS) and path.endswith(".manifest"):
                self._check_file(path, digest, _CURE)

    def seal(self, version: int) -> None:
        """Writes down the digests of all files that have none yet; called by the one writer."""
        recorded = self._recorded()
        new = {path: self._digest(path) for path in self._files() if path not in recorded}
        content = {"version": version, "files": new}
        text = json.dumps(content | {"digest": digests.of_json(content)}, indent=0)
        self._folder.mkdir(exist_ok=True)
        files.write(self._folder / f"{version}.json", text + "\n")

    def is_sealed(self, version: int) -> bool:
        """Says whether the manifest of a version has a digest."""
        return self.versions().get(version) in self._recorded()

    def only_added(self, before: int, after: int) -> bool:
        """Says whether a version has all that an earlier one had, as it was, and more behind it.

        Files are never changed, and no two have the same name, whatever was restored in between.
        """
        manifests, parts = self.versions(), []
        for version in (before, after):
            if version not in manifests:
                return False
            path = self._table / manifests[version]
            with files.reading(path, "a version of an index", _CURE):
                parts.append(fragments(path.read_bytes()))
        first, second = parts
        return bool(first) and second is not None and second[: len(first)] == first

    def forget_after(self, version: int) -> None:
        """Drops the digests of versions that are lost; called by the one writer."""
        for number in self._numbers():
            if number > version:
                (self._folder / f"{number}.json").unlink()

    def _numbers(self) -> list[int]:
        with files.reading(self._folder, "a folder of digests"):
            names = os.listdir(self._folder) if self._folder.is_dir() else []
        return [int(name[:-5]) for name in names if re.fullmatch(r"[0-9]{1,18}\.json", name)]

    def _recorded(self) -> dict[str, str]:
        """Gives the digests of all files that have one."""
        recorded = {}
        for number in sorted(self._numbers()):
            recorded |= self._of_version(self._folder / f"{number}.json")
        return recorded

    def _of_version(self, path: pathlib.Path) -> dict[str, str]:
        """Reads one file of digests; it may be gone already."""
        cure = f"without the folder {self._folder.name} the index opens unchecked"
        try:
            with files.reading(path, "a file of digests", cure):
                key = (path.name, *_state(path))
                if key not in self._read:
                    content = files.read_json(path, "a file of digests", cure=cure)
                    if content.pop("digest", None) != digests.of_json(content):
                        raise ValueError("its own digest is another")
                    self._read[key] = dict(content["files"])
        except NotFound:
            return {}
        return self._read[key]

    def _files(self) -> Iterator[str]:
        """Names all files of the table, without those that a killed write has begun (.tmp...)."""
        for folder, _, names in os.walk(self._table):
            for name in sorted(names):
                if name != _HINT and not files.is_hidden(name):
                    yield (pathlib.Path(folder) / name).relative_to(self._table).as_posix()

    def _digest(self, path: str) -> str:
        whole = self._table / path
        state = _state(whole)
        digest = digests.of_file(whole)
        _verified[whole] = (digest, *state)
        return digest

    def _check_file(self, path: str, expected: str, cure: str) -> None:
        """Checks one file.

        Raises:
          Damaged: it is not what was written, or is not there.
        """
        whole = self._table / path
        try:
            with files.reading(whole, "a readable part of an index", cure):
                if _verified.get(whole) == (expected, *_state(whole)):
                    return
                digest = self._digest(path)
        except NotFound as error:
            raise Damaged(f"{whole}, a part of the index, is missing; {cure}") from error
        if digest != expected:
            raise Damaged(
                f"{whole} is not what was written, its SHA-256 differs from that in "
                f"{self._folder.name}; {cure}"
            )


def _state(path: pathlib.Path) -> tuple[int, ...]:
    """Gives what changes when a file is written to."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _named_in(manifest: bytes, recorded: dict[str, str]) -> list[str]:
    """Finds the files that a manifest names: of data by their names, of deletions by their numbers.

    A manifest is an uncompressed protobuf. A name that happens to stand in it for another reason
    is checked for nothing, and no harm is done.
    """
    data, deletions = {}, {}
    for path in recorded:
        folder, _, name = path.rpartition("/")
        if folder == "data":
            data[name.encode()] = path
        elif folder == "_deletions" and (number := _DELETIONS.fullmatch(name)):
            deletions[_varint(int(number[1]))] = path
    lengths = {len(name) for name in data}
    ends = [match.end() for match in re.finditer(rb"\.lance", manifest)]
    found = {manifest[max(0, end - length) : end] for end in ends for length in lengths}
    # The number of a file of deletions is the third field of its message.
    numbers = re.finditer(rb"(?=\x18([\x80-\xff]{0,9}[\x00-\x7f]))", manifest)
    known = {match[1] for match in numbers}
    return [data[name] for name in sorted(found & data.keys())] + [
        deletions[number] for number in sorted(known & deletions.keys())
    ]


def _varint(number: int) -> bytes:
    """Writes a number as protobuf does."""
    content = bytearray()
    while number > 127:
        content.append(number & 127 | 128)
        number >>= 7
    content.append(number)
    return bytes(content)


def seals_of(uri: str, table: str) -> Seals | None:
    """Gives the digests of a store; None of one in a bucket."""
    folder = local_folder(uri)
    return None if folder is None else Seals(folder, table)


def check_version(uri: str, table: Any, version: int) -> None:
    """Checks that there is a version.

    Args:
      uri: where the store is.
      table: its `LanceTable`, which is asked where it is not in a folder.
      version: the number.

    Raises:
      NotFound: there is not.
    """
    seals = seals_of(uri, TABLE)
    if seals is not None:
        numbers = list(seals.versions())
    else:
        with storage_errors(uri):
            numbers = [entry["version"] for entry in table.list_versions()]
    if version not in numbers:
        raise NotFound(
            f"{uri} has no version {version}; the oldest is {min(numbers)}, the newest "
            f"{max(numbers)}"
        )
