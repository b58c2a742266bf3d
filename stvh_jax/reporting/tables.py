"""Tables as plain text."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of a page: the first cell of a row names it, and without a header it is of words."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Lays rows out as plain text, the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )
