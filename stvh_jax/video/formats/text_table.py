"""Lines of numbers, whatever stands between them: millions of them in a few seconds."""

import dataclasses
import re
import warnings

import numpy as np
from jaxtyping import Float64, Int64

from stvh_jax.errors import Damaged, shown
from stvh_jax.video.rows import MOST_BOXES, check_count, line_of

# So many signs are looked at at a time, so that what is kept for each sign stays small.
_CHUNK = 1 << 22

_SPACES = bytes.maketrans(b",;\t\v\f", b"     ")
_NUMBER = re.compile(
    rb"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf|infinity)", re.I
)

# No text holds these; a picture or a program soon does.
_BINARY = tuple(map(chr, set(range(32)) - set(b"\t\n\v\f\r\x1a")))


@dataclasses.dataclass(frozen=True)
class Table:
    """Lines that are not blank.

    Attributes:
      values: the first K cells of each line, NaN where a line has fewer and in empty cells.
      counts: how many cells each line has.
      lines: the number of each line, from 1.
    """

    values: Float64[np.ndarray, "M K"]
    counts: Int64[np.ndarray, "M"]
    lines: Int64[np.ndarray, "M"]


def decode(content: bytes) -> str:
    """Decodes text in UTF-8 or UTF-16, with or without a byte order mark; lines end with `\\n`.

    Bytes that UTF-8 does not know, as in names written by old systems, become a sign each.

    Raises:
      Damaged: it is not text.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif content[:200:2].count(0) > content[1:200:2].count(0):
        encoding = "utf-16-be"
    elif content[1:200:2].count(0) > 0:
        encoding = "utf-16-le"
    else:
        encoding = "utf-8-sig"
    text = content.decode(encoding, errors="replace")
    if any(sign in text for sign in _BINARY):
        raise Damaged("it is not text")
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\x1a")


def cells_of(line: str) -> list[str]:
    """Gives the cells of one line, as `parse_table` sees them: empty ones are "nan"."""
    content = _plain(line.encode("utf-8", errors="replace"), decimal_commas=_decimal_commas(line))
    return content.decode("utf-8", errors="replace").split()


def is_number(cell: str) -> bool:
    """Says whether a cell is a number."""
    return _NUMBER.fullmatch(cell.encode("utf-8")) is not None


def parse_table(text: str, columns: int, *, skipped: int = 0) -> Table:
    """Reads the first cells of each line, which commas, semicolons, tabs or spaces part.

    Args:
      text: the lines, which end with a line feed.
      columns: how many cells of each line are read, K.
      skipped: lines at the beginning that are not read.

    Raises:
      Damaged: a cell is not a number, and the message begins with its line; or a line is endless.
      UserError: there are too many lines.
    """
    # Room for every line; what is not written to takes no memory.
    most = min(text.count("\n") + 1, MOST_BOXES)
    values, (counts, lines) = np.empty((most, columns)), np.empty((2, most), np.int64)
    decimal_commas, start, before, read = _decimal_commas(text), 0, 0, 0
    while start < len(text):
        end = text.find("\n", start + _CHUNK) + 1 or len(text)
        if end - start > 2 * _CHUNK:
            raise Damaged(f"it has a line of more than {_CHUNK >> 20} MiB")
        content = text[start:end].encode("utf-8", errors="replace")
        content = _plain(content, decimal_commas=decimal_commas)
        if before < skipped:  # only ever a header, which stands in the first part
            cut = content.split(b"\n", skipped)
            content = b"\n" * skipped + (cut[skipped] if len(cut) > skipped else b"")
        part = _parse_part(content, columns, before)
        before += content.count(b"\n")
        place = slice(read, read + len(part.lines))
        check_count(place.stop)
        values[place], counts[place], lines[place] = part.values, part.counts, part.lines
        start, read = end, place.stop
    return Table(values[:read], counts[:read], lines[:read])


def _decimal_commas(text: str) -> bool:
    """Says whether the commas of a text are decimal: semicolons part its cells."""
    return ";" in text and "." not in text


def _plain(content: bytes, *, decimal_commas: bool) -> bytes:
    """Writes lines with spaces between the cells, NaN in empty ones, and decimal points."""
    if decimal_commas:
        content = content.replace(b",", b".")
    return _with_empty_cells(content.replace(b";", b",")).translate(_SPACES)


def _with_empty_cells(content: bytes) -> bytes:
    """Writes NaN into the empty cells between commas."""
    if b"," not in content:
        return content
    content = content.replace(b"\t", b" ")
    while b"  " in content:
        content = content.replace(b"  ", b" ")
    content = content.replace(b" ,", b",").replace(b", ", b",")
    if b",," in content:
        content = content.replace(b",,", b",nan,").replace(b",,", b",nan,")
    return (b"nan" if content[:1] == b"," else b"") + content.replace(b"\n,", b"\nnan,")


def _parse_part(part: bytes, columns: int, before: int) -> Table:
    """Reads whole lines of which there are `before` others in front."""
    signs = np.frombuffer(part, np.uint8)
    space = signs <= 32
    begins = ~space
    begins[1:] &= space[:-1]
    ends = np.flatnonzero(signs == 10)
    line = np.searchsorted(ends, np.flatnonzero(begins))
    counts = np.bincount(line, minlength=len(ends) + 1)
    column = np.arange(len(line)) - (np.cumsum(counts) - counts)[line]
    kept = column < columns
    if not kept.all():
        # Each sign belongs to the last cell that began at or before it.
        cell = np.cumsum(begins, dtype=np.int32) - 1
        signs = np.where(kept[np.maximum(cell, 0)] | (signs == 10), signs, 32).astype(np.uint8)
    filled = np.flatnonzero(counts)
    row = np.zeros(len(counts), np.int64)
    row[filled] = np.arange(len(filled))
    values = np.full((len(filled), columns), np.nan)
    values[row[line[kept]], column[kept]] = _numbers(signs.tobytes(), int(kept.sum()), before)
    # Spreadsheets write an empty line as one of separators.
    said = ~np.isnan(values).all(axis=1)
    lines = filled.astype(np.int64) + before + 1
    return Table(values[said], counts[filled].astype(np.int64)[said], lines[said])


def _numbers(content: bytes, count: int, before: int) -> Float64[np.ndarray, "count"]:
    """Reads all numbers of a part.

    Raises:
      Damaged: a cell is not a number.
    """
    if not count:
        return np.zeros(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            values = np.fromstring(content, sep=" ")
        except (DeprecationWarning, ValueError):
            values = np.zeros(0)
    # Of a cell such as 1.2.3 two numbers were read.
    if len(values) == count:
        return values
    for number, line in enumerate(content.split(b"\n"), start=before + 1):
        for cell in line.split():
            if not _NUMBER.fullmatch(cell):
                text = cell.decode("utf-8", errors="replace")
                raise Damaged(f"{line_of(number)}: {shown(text, 40)} is not a number")
    raise Damaged("it has cells that are not numbers")
