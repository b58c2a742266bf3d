"""Receives the files of a form, as they are sent: bounded in bytes, in time and in number."""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from typing import IO, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from stvh_jax import files
from stvh_jax.app.uploads import UploadLimits, check_size
from stvh_jax.errors import UserError, shown

# The most bytes of a text, and of everything that is not in the files.
_MOST_TEXT, _MOST_BETWEEN = 4000, 64 << 10
# How many may send at once; what all of them send lies on the disk.
_MOST_AT_ONCE = 4


@dataclasses.dataclass(frozen=True)
class Received:
    """What was sent.

    Attributes:
      video: the file.
      tracks: likewise.
      fields: the texts by their names, as far as they were sent.
    """

    video: pathlib.Path
    tracks: pathlib.Path
    fields: Mapping[str, str]


class Receiver:
    """Receives uploads, a few at once; a server has one."""

    def __init__(
        self,
        folder: os.PathLike | str,
        limits: UploadLimits,
        *,
        fields: Collection[str] = ("title", "at"),
    ):
        """Receives nothing yet.

        Args:
          folder: where the files lie while they are received.
          limits: what an upload may be.
          fields: the names of the texts that may come with it.
        """
        self._folder, self._limits, self._fields = folder, limits, fields
        self._receiving = 0

    @contextlib.asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Received]:
        """Receives an upload; what is left of its files when the context ends is deleted.

        Args:
          request: a form of `multipart/form-data`, of which nothing was read yet.

        Raises:
          UserError: it is no such form, too large or too slow, a file is missing, or too many are
            sending.
        """
        if self._receiving >= _MOST_AT_ONCE:
            raise UserError("others are uploading; try again in a minute")
        self._receiving += 1
        folder = pathlib.Path(tempfile.mkdtemp(prefix="received-", dir=self._folder))
        try:
            try:
                async with asyncio.timeout(self._limits.sending):
                    received = await self._received(request, folder)
            except TimeoutError as error:
                raise UserError("the upload was sent too slowly; try a smaller video") from error
            except ClientDisconnect as error:
                raise UserError("the upload was broken off") from error
            yield received
        finally:
            self._receiving -= 1
            shutil.rmtree(folder, ignore_errors=True)

    async def _received(self, request: Request, folder: pathlib.Path) -> Received:
        limits = self._limits
        most = {"video": limits.most_video_bytes, "tracks": limits.most_tracks_bytes}
        left = sum(most.values()) + _MOST_BETWEEN
        length = request.headers.get("content-length", "")[:20]
        _check_whole(int(length) if length.isdecimal() else 0, left)
        with contextlib.ExitStack() as stack:
            kind = request.headers.get("content-type", "")
            form = _Form(kind, folder, most, self._fields, stack)
            stream = aiter(request.stream())
            while not form.ended:
                async with asyncio.timeout(limits.silence):
                    chunk = await anext(stream)
                if not chunk:
                    raise UserError("the upload ends too early; send it again")
                left -= len(chunk)
                _check_whole(0, left)
                # A disk may be slow, and others are waiting.
                await asyncio.to_thread(form.write, chunk)
            with files.writing("the upload"):
                stack.close()
        return form.received()


def _check_whole(size: int, most: int) -> None:
    """Checks how much is sent in all.

    Raises:
      UserError: it is more than is taken.
    """
    if size > most:
        raise UserError("the upload is too large; cut out the moment that you look for")


class _Form:
    """Writes the files of a form to a folder, and keeps its texts.

    Attributes:
      ended: whether the form is whole.
    """

    def __init__(
        self,
        content_type: str,
        folder: pathlib.Path,
        most: Mapping[str, int],
        fields: Collection[str],
        stack: contextlib.ExitStack,
    ):
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise UserError("this is not the form of an upload; use that of the page")
        self._folder, self._stack = folder, stack
        self._most, self._fields = most, fields
        self._sizes: dict[str, int] = {}
        self._files: dict[str, IO[bytes]] = {}
        self._texts: dict[str, bytearray] = {}
        self._header, self._value, self._part = bytearray(), bytearray(), ""
        self.ended = False
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._name_header,
            "on_header_value": self._add_to_header,
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": self._add,
            "on_end": self._end,
        }
        with _readable():
            self._parser = MultipartParser(options[b"boundary"], callbacks)

    def write(self, chunk: bytes) -> None:
        """Takes the next bytes.

        Raises:
          UserError: they are of no form, or a file is too large.
        """
        with _readable(), files.writing("the upload"):
            self._parser.write(chunk)

    def received(self) -> Received:
        """Gives what was sent.

        Raises:
          UserError: a file is missing or empty, or a text is no text.
        """
        for name in ("video", "tracks"):
            check_size(self._sizes.get(name, 0), self._most[name], name)
        try:
            texts = {name: bytes(value).decode() for name, value in self._texts.items()}
        except UnicodeDecodeError as error:
            raise UserError("a text of the form is not UTF-8; use the page's form") from error
        return Received(self._folder / "video", self._folder / "tracks", texts)

    def _begin(self) -> None:
        self._part = ""

    def _name_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_to_header(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._part = options.get(b"name", b"").decode("latin-1")
        self._header, self._value = bytearray(), bytearray()

    def _open(self) -> None:
        name = self._part
        if name in self._sizes or name in self._texts:
            raise UserError(f"the form has {shown(name)} twice; use the page's form")
        if name in self._most:
            self._sizes[name] = 0
            file = open(self._folder / name, "xb")  # noqa: SIM115 - closed with the stack
            self._files[name] = self._stack.enter_context(file)
        elif name in self._fields:
            self._texts[name] = bytearray()
        else:
            raise UserError(f"the form has a part {shown(name)}; use the page's form")

    def _add(self, data: bytes, start: int, end: int) -> None:
        name = self._part
        if name in self._files:
            self._sizes[name] += end - start
            check_size(self._sizes[name], self._most[name], name)
            self._files[name].write(data[start:end])
        else:
            self._texts[name] += data[start:end]
            if len(self._texts[name]) > _MOST_TEXT:
                raise UserError(f"the {name} is too long; give at most {_MOST_TEXT} bytes")

    def _end(self) -> None:
        self.ended = True


@contextlib.contextmanager
def _readable():
    try:
        yield
    except FormParserError as error:
        raise UserError("this is not a readable form; send the upload again") from error
