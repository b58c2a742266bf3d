"""Times what a search is used with: records of the hits, new conditions, and writes in between.

taskset -c 0 python -m benchmarks.index_use [--clips=100000,1000000] [--bits=128] [--rounds=9]

Everything takes its turn in every round, and the median of its processor time counts. It prints
milliseconds, and ratios to the faster of FAISS's two ways to search everything.
"""

import collections
import itertools
import pathlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence

import faiss
import numpy as np
from absl import flags

from benchmarks.search_clips import CONDITIONS, DERIVED, STORED, Clips, drawn, filter_matrix
from benchmarks.search_tables import fastest_faiss, markdown
from stvh_jax.cli import parsing
from stvh_jax.retrieval.index import Index

K = 10
# How often everything is used before it is timed.
WARM = 16
# Clips of a small write: of a match in the middle, and of one behind all others.
WRITTEN = 10
PLACES = {"the middle": "27", "the end": "99"}


def with_times(clips: int, bits: int):
    """Draws the clips of `drawn` with every field of a record known."""
    for codes, record in drawn(clips, bits, None):
        start = record["clip"] / 25.0
        yield (
            codes,
            record
            | {
                "start": start,
                "stop": start + 1.6,
                "confidence": np.random.default_rng(0).random(len(codes)),
                "predicted": record["activity"],
                "media": np.char.add(np.char.add("videos/", record["match"]), ".mp4"),
            },
        )


def build(uri: str, clips: int, bits: int) -> None:
    """Makes an index."""
    index = Index.create(uri, bits=bits, stored_foci=[STORED], filter_matrix=filter_matrix(bits))
    for codes, record in with_times(clips, bits):
        index.add(codes, **record)


class Uses:
    """The uses of an index that are timed, each by its name; each call of one is a new one."""

    def __init__(self, uri: str, clips: int, bits: int):
        """Opens the index, and gives FAISS the same codes."""
        self._codes = Clips.draw(clips, bits).codes
        self._random = np.random.default_rng(2)
        self._uri, self._index, self._written = uri, Index.open(uri), Index.open(uri)
        self._numbers = itertools.count(10 * clips)

    def faiss(self, *, use_heap: bool) -> Callable:
        """Gives FAISS's search of all clips."""
        flat = faiss.IndexBinaryFlat(8 * self._codes.shape[1])
        flat.use_heap = use_heap
        flat.add(self._codes)
        return lambda: flat.search(self._query(), K)

    def search(self) -> None:
        """Searches alone."""
        self._index.search(self._query(), k=K)

    def records(self) -> None:
        """Searches and reads the records of the hits."""
        (hits,) = self._index.search(self._query(), k=K)
        list(hits)

    def condition(self, where: str) -> None:
        """Searches with a condition that is new."""
        new = f"{where} AND match <> '-{next(self._numbers)}'"
        self._index.search(self._query(), k=K, where=new)

    def write(self, match: str) -> None:
        """Adds a few clips, which are not searched yet."""
        numbers = [next(self._numbers) for _ in range(WRITTEN)]
        codes = self._random.integers(0, 256, (WRITTEN, self._codes.shape[1]), np.uint8)
        self._written.add(codes, match=[match] * WRITTEN, clip=numbers)

    def search_written(self, **options) -> None:
        """Searches the index that is written to."""
        self._written.search(self._query(), k=K, **options)

    def search_written_records(self) -> None:
        """Searches it and reads records."""
        list(self._written.search(self._query(), k=K)[0])

    def open(self) -> None:
        """Opens the index anew and searches it."""
        self._index = Index.open(self._uri)
        self.search()

    def _query(self) -> np.ndarray:
        return self._random.integers(0, 256, (1, self._codes.shape[1]), np.uint8)

    def all(self) -> dict[str, Callable]:
        """Gives all of them in the order of their turns."""
        found = {
            "FAISS, heap": self.faiss(use_heap=True),
            "FAISS, counting": self.faiss(use_heap=False),
            "search": self.search,
            "search with records": self.records,
        }
        for share, where in CONDITIONS.items():
            found[f"new condition, {share}"] = lambda where=where: self.condition(where)
        for place, match in PLACES.items():
            found |= {
                f"write of {WRITTEN} clips in {place}": lambda match=match: self.write(match),
                f"search after a write in {place}": self.search_written,
                f"the same at a derived focus, {place}": lambda: self.search_written(focus=DERIVED),
            }
        found["records after a write"] = self.search_written_records
        return found


def first_times(uri: str, clips: int, bits: int, rounds: int) -> dict[str, float]:
    """Times what comes first after the opening of an index, in milliseconds."""
    uses, spent = Uses(uri, clips, bits), collections.defaultdict(list)
    firsts = {
        "opening and the first search": uses.open,
        "first records": uses.records,
        "first condition, 50 %": lambda: uses.condition(CONDITIONS["50 %"]),
    }
    for _ in range(rounds):
        for name, use in firsts.items():
            if use != uses.open:
                uses.open()
            spent[name].append(seconds(use))
    return {name: 1e3 * statistics.median(times) for name, times in spent.items()}


def seconds(call: Callable) -> float:
    """Gives the processor time of a call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(uri: str, clips: int, bits: int, rounds: int) -> dict[str, float]:
    """Times all uses in turns: the median of each in milliseconds."""
    uses = Uses(uri, clips, bits).all()
    spent = collections.defaultdict(list)
    for _ in range(WARM):  # opens, reads, fills caches; records, too, are kept after a while
        for use in uses.values():
            use()
    for _ in range(rounds):
        for name, use in uses.items():
            spent[name].append(seconds(use))
    return {name: 1e3 * statistics.median(times) for name, times in spent.items()}


def main(clips: Sequence[int], bits: Sequence[int], rounds: int, folder: str | None) -> None:
    """Measures every size and prints a table of each."""
    faiss.omp_set_num_threads(1)
    for size, each in itertools.product(clips, bits):
        place = pathlib.Path(tempfile.mkdtemp(dir=folder))
        try:
            uri = str(place / "index")
            build(uri, size, each)
            spent = first_times(uri, size, each, rounds) | measure(uri, size, each, rounds)
        finally:
            shutil.rmtree(place)
        limit = fastest_faiss(spent)
        rows = [[name, value, value / limit] for name, value in spent.items()]
        print(f"{size} clips of {each} bits\n\n{markdown(['', 'ms', 'x FAISS'], rows)}\n")


if __name__ == "__main__":
    CLIPS = flags.DEFINE_list("clips", ["100000", "1000000"], "How many clips.")
    BITS = flags.DEFINE_list("bits", ["128"], "Bits of a code, multiples of 64.")
    ROUNDS = flags.DEFINE_integer("rounds", 9, "Timed turns of each use.", lower_bound=1)
    FOLDER = flags.DEFINE_string("folder", None, "Where the indexes are made, and deleted again.")

    def _run(_):
        clips, bits = ([int(text) for text in flag.value] for flag in (CLIPS, BITS))
        main(clips, bits, ROUNDS.value, FOLDER.value)

    parsing.run_flags(_run)
