"""How far something is, on one line of a terminal."""

import sys


def show(what: str, total: int, done: int, loss: float | None = None) -> None:
    """Shows how far something is, on a line that the next one replaces, if somebody watches."""
    if sys.stderr.isatty():
        also = "" if loss is None else f", loss {loss:.4f}"
        end = "\n" if done == total else ""
        print(f"\r{what}: {done}/{total}{also}", end=end, file=sys.stderr, flush=True)
