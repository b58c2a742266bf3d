"""Tables, and how they look as plain text."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text cells.

    Attributes:
      header: the headings; empty for a list of facts, which are words and not numbers.
      rows: the rows, the first cell of which names the row.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Lays rows out as plain text, the first column left-aligned and the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )
