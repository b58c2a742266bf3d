"""Writes to an index until it is killed: a process of its own for `test_kills.py`.

Reads a line `FOLDER FIRST COUNT` at a time, and forks a writer for it, which says its process
number, then `begin N` before each write and `done N` when the index has acknowledged it.
"""

import os
import sys
import warnings

import numpy as np

import stvh_jax.retrieval.lance.engine  # noqa: F401 - once, before the forks, for it takes a second
from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.retrieval.index import Index

BITS, LAYERS = 16, 2
KINDS = ("create", "add", "upsert", "derive", "delete", "restore", "compact")


def matrix():
    random = np.random.default_rng(0)
    return FilterMatrix(random.choice([-1, 1], (1, BITS, BITS)).astype(np.int64), LAYERS)


def codes_of(clips, number):
    """Gives the codes that write `number` gives some clips."""
    return np.array([[clip % 256, number % 256] for clip in clips], np.uint8)


def written(kind, number, before):
    """Gives what the clips, number by number of their last write, are after a write."""
    if kind == "add":
        return before | dict.fromkeys(range(100 * number, 100 * number + 5), number)
    if kind == "upsert":
        return before | dict.fromkeys([*sorted(before)[:3], 100 * number], number)
    if kind == "delete":
        return {clip: value for clip, value in before.items() if clip % 7 != number % 7}
    return before


def write(kind, number, folder):
    if kind == "create":
        Index.create(folder, bits=BITS, stored_foci=(LAYERS,), filter_matrix=matrix())
        return
    index = Index.open(folder)
    (everything,) = index.search(np.zeros(BITS // 8, np.uint8), k=None, radius=BITS)
    before = {int(hit.clip): 0 for hit in everything}
    if kind in ("add", "upsert"):
        clips = [clip for clip, by in written(kind, number, before).items() if by == number]
        writer = index.add if kind == "add" else index.upsert
        writer(codes_of(clips, number), match=["m"] * len(clips), clip=clips)
    elif kind == "derive":
        index.search(np.zeros(BITS // 8, np.uint8), focus=0)
    elif kind == "delete":
        index.delete(f"CAST(clip AS BIGINT) % 7 = {number % 7}")
    elif kind == "restore":
        index.restore(index.version)
    elif kind == "compact":
        index.compact()


def main():
    warnings.filterwarnings("ignore", "lancedb fork support")
    for line in sys.stdin:
        folder, first, count = line.split()
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            print("ended", flush=True)
            continue
        print(os.getpid(), flush=True)
        for number in range(int(first), int(first) + int(count)):
            kind = "create" if not Index.exists(folder) else KINDS[1 + number % (len(KINDS) - 1)]
            print(f"begin {number} {kind}", flush=True)
            write(kind, number, folder)
            print(f"done {number} {kind}", flush=True)
        os._exit(0)


if __name__ == "__main__":
    main()
