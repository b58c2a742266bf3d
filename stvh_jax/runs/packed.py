"""A run as one file, to share: packs what encoding needs, and opens it from disk or a URL."""

import hashlib
import io
import os
import pathlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from typing import BinaryIO, cast

from etils import epath

from stvh_jax import files
from stvh_jax.errors import Damaged, UserError
from stvh_jax.runs import download, folders, trained_models

ENDING = ".zip"
# The files of a run that are packed, and the only ones that are unpacked. No part of such a name
# begins with a dot or a slash, so none leads out of the folder.
_MEMBER = re.compile(
    rf"({re.escape(folders.CONFIG)}|{re.escape(folders.FINISHED)}"
    rf"|{folders.CHECKPOINTS}/[0-9]{{1,15}}/(config|digests|metrics|variables)(/\w[\w.-]*)+)"
)
# One time for every file, so that the same run gives the same bytes: the earliest of ZIP.
_TIME = (1980, 1, 1, 0, 0, 0)
# Far more than any model of this library has: bytes, packed or unpacked; bytes of a file that holds
# no arrays; files; and bytes of an archive's list of them.
_MOST_BYTES = 4 << 30
_MOST_TEXT = 16 << 20
_MOST_MEMBERS = 10_000
_MOST_LISTED = 8 << 20
_URLS = ("https://", "http://")
# The bit of a member's flags that says so.
_ENCRYPTED = 1


def pack(
    run: epath.PathLike, out: epath.PathLike, *, checkpoint: str = "best"
) -> tuple[int, str, int]:
    """Packs a run's config and one checkpoint's variables into a file.

    Unpacked, the file is a run that can encode and be evaluated, but not resumed. The same run
    always gives the same bytes.

    Args:
      run: the run's folder, local or in a bucket.
      out: the file to write, whole or not at all; a file that is there is replaced.
      checkpoint: `best` on validation (the latest where there was none) or `latest`.

    Returns:
      The checkpoint's step, which of the two it is, and the size of the file in bytes.

    Raises:
      UserError: there is no run, its checkpoint is damaged, or the file cannot be written.
    """
    from stvh_jax.runs import checkpoints  # it loads JAX and Orbax

    run, out = folders.open_folder(run), files.output(out)
    if out.suffix != ENDING:
        raise UserError(f"{out} does not end in {ENDING}; give the file to write")
    folders.read_config(run)
    step, checkpoint = checkpoints.choose_step(run, checkpoint)
    checkpoints.load_config(run, step)
    checkpoints.load_variables(run, step)
    folder = run / folders.CHECKPOINTS / str(step)
    # The score says that it is the best one; the latest comes without, so as not to seem so.
    items = ["config", "variables", *(["metrics"] if checkpoint == "best" else [])]
    items += [folders.DIGESTS] if (folder / folders.DIGESTS).is_dir() else []
    paths = [run / folders.CONFIG, run / folders.FINISHED]
    paths += [path for item in items for path in _files(folder / item)]
    # Orbax's mark of what is wholly written names the folder on the machine that trained.
    members = {
        path.relative_to(run).as_posix(): path
        for path in paths
        if path.is_file() and path.name != "commit_success.txt"
    }
    with (
        files.writing(out),
        files.replacing(out) as temporary,
        temporary.open("wb") as file,
        zipfile.ZipFile(file, "w") as archive,
    ):
        for name in sorted(members):
            member = zipfile.ZipInfo(name, _TIME)
            member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(member, members[name].read_bytes())
    return step, checkpoint, out.stat().length


def _files(folder: epath.Path) -> Iterator[epath.Path]:
    """Lists the files at any depth, in a bucket too."""
    for path in folder.iterdir():
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def open_run(path: epath.PathLike) -> epath.Path:
    """Names the folder of a run: the path itself, or where a packed run is unpacked in the cache.

    A file is known by its content. A URL is fetched once; delete its folder to fetch it again.

    Args:
      path: a folder, a `.zip` of `pack`, either of them local or in a bucket; a URL of one,
        `https://` or `http://`; or the name of a model that comes with the library.

    Raises:
      NotFound: there is no such file, or it cannot be fetched.
      Damaged: the file is cut or holds something else than a run.
      UserError: it cannot be read or unpacked.
    """
    with files.reading(path, "a packed run"):
        if str(path).startswith(_URLS):
            folder = _folder_of(hashlib.sha256(str(path).encode()))
            if not folder.is_dir():
                with tempfile.TemporaryFile() as file:
                    download.fetch(str(path), file, most=_MOST_BYTES)
                    _unpack(file, folder, source=path)
            return folder
        run = folders.open_folder(_shipped(path) or path)
        if run.suffix != ENDING or run.is_dir():
            return run
        return _open_file(run)


def address_of(path: epath.PathLike) -> str:
    """Names a run as `open_run` finds it again from any working directory."""
    local = not str(path).startswith(_URLS) and not _shipped(path)
    return str(folders.open_folder(path)) if local else str(path)


def is_there(address: str) -> bool:
    """Says whether there is a run at an address; of a URL, that there may be."""
    url = address.startswith(_URLS)
    return url or bool(_shipped(address)) or folders.open_folder(address).exists()


def _shipped(path: epath.PathLike) -> pathlib.Path | None:
    """Gives the file of a model that comes with the library, unless there is a path of its name."""
    shipped = trained_models.find(path)
    return shipped if shipped is not None and not epath.Path(path).exists() else None


def _open_file(run: epath.Path) -> epath.Path:
    """Names the folder where a packed run is unpacked in the cache."""
    with run.open("rb") as file:
        opened = cast(io.BufferedReader, file)
        folder = _folder_of(hashlib.file_digest(opened, "sha256"))
        if not folder.is_dir():
            _unpack(opened, folder, source=run)
    return folder


def _folder_of(digest) -> epath.Path:
    return epath.Path(files.cache_folder().absolute() / "runs" / digest.hexdigest()[:32])


def _unpack(file: BinaryIO, folder: epath.Path, *, source: epath.PathLike) -> None:
    """Unpacks the run in an archive, whole or not at all.

    Raises:
      UserError: it holds none or cannot be read, or the cache cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            zipfile.ZipFile(cast(BinaryIO, _InPieces(file))) as archive,
            tempfile.TemporaryDirectory(dir=folder.parent) as temporary,
        ):
            members = _members(archive, source)
            for member in members:
                target = pathlib.Path(temporary, "run", member.filename)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as packed, target.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
            _check_config(pathlib.Path(temporary, "run"), source)
            _put(pathlib.Path(temporary, "run"), folder)
    except UserError:
        raise
    except OSError as error:
        cause = error.strerror or error
        raise UserError(f"{source} cannot be unpacked into {folder.parent} ({cause})") from error
    except Exception as error:  # a damaged archive raises whatever its decompressor does
        cause = files.reason(error)
        raise Damaged(f"{source} is not a whole .zip file ({cause}); fetch it again") from error


class _InPieces:
    """A file that is read in pieces: `ZipFile` reads an archive's list of members at once."""

    def __init__(self, file: BinaryIO):
        self._file, self.seek, self.tell = file, file.seek, file.tell
        self.seekable = file.seekable

    def read(self, size: int = -1) -> bytes:
        """Reads as a file does.

        Raises:
          ValueError: more is wanted than a list of members takes.
        """
        content = self._file.read(min(size, _MOST_LISTED + 1) if size >= 0 else _MOST_LISTED + 1)
        if len(content) > _MOST_LISTED:
            raise ValueError("its list of members is absurdly long")
        return content


def _members(archive: zipfile.ZipFile, source: epath.PathLike) -> list[zipfile.ZipInfo]:
    """Lists what belongs to a run.

    Raises:
      Damaged: there is no run in it, or it is not as `pack` makes it.
      UserError: it is absurdly large.
    """
    members = [member for member in archive.infolist() if _MEMBER.fullmatch(member.filename)]
    names = {member.filename for member in members}
    if folders.CONFIG not in names or not any("/variables/" in name for name in names):
        raise Damaged(f"{source} does not hold a run; pack one with: stvh share RUN OUT.zip")
    if len(members) > _MOST_MEMBERS:
        raise UserError(f"{source} has more than {_MOST_MEMBERS} files; it is not a run")
    if len(names) < len(members):
        raise Damaged(f"{source} has a file twice; pack the run again: stvh share RUN OUT.zip")
    if any(member.flag_bits & _ENCRYPTED for member in members):
        raise Damaged(f"{source} is encrypted; pack the run again: stvh share RUN OUT.zip")
    # No member gives more bytes than it announces.
    if sum(member.file_size for member in members) > _MOST_BYTES:
        raise UserError(f"{source} unpacks to more than {_MOST_BYTES >> 30} GiB; it is not a run")
    for member in members:
        if "/d/" not in member.filename and member.file_size > _MOST_TEXT:
            raise Damaged(
                f"{source} is not a run: {member.filename} has more than {_MOST_TEXT >> 20} MiB"
            )
    return members


def _check_config(run: pathlib.Path, source: epath.PathLike) -> None:
    """Checks that an unpacked run has a config, so that no other is kept under a URL's name.

    Raises:
      Damaged: it has none.
    """
    try:
        folders.read_config(epath.Path(run))
    except UserError as error:
        said = str(error).replace(f"{run}/", "")
        raise Damaged(f"{source} is not a run that can be used: {said}") from error


def _put(made: pathlib.Path, folder: epath.Path) -> None:
    """Gives a folder its name; what another process has put there meanwhile stays."""
    try:
        os.rename(made, folder)
    except OSError:
        if not folder.is_dir():
            raise
