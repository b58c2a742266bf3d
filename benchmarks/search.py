"""Times the search of an index against bare FAISS, NumPy and Lance in one run: read the ratios.

taskset -c 1 python -m benchmarks.search [--clips=100000] [--bits=64,128] [--threads=2] [--out=FILE]

An index of random codes is made on disk and searched at a stored and a derived focus, between two
foci, by a random weight of each bit, with filters and without a match; every way takes its turn in
every round, and the median of its processor time counts. What is found is compared with brute
force, on uniform codes and on codes of which many are equal. Opening and memory are those of
processes of their own.
"""

import collections
import itertools
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence

import faiss
import lancedb
import numpy as np
from absl import flags

from benchmarks.processes import memory
from benchmarks.search_clips import (
    BETWEEN,
    CONDITIONS,
    DERIVED,
    MATCH,
    STORED,
    Clips,
    NumpyScan,
    brute_force,
    derive_by_product,
    drawn,
    filter_matrix,
    weighted_apart,
    weights_of,
    words,
)
from benchmarks.search_tables import tables
from stvh_jax.cli import parsing
from stvh_jax.codes.packing import hamming_distances
from stvh_jax.queries import from_clip
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.record import code_column
from stvh_jax.retrieval.surroundings import Surroundings

# How many different codes there are where many are to be equal.
DISTINCT = 500
NEIGHBOURS, QUERIES = (10, 50), (1, 100)
# What Lance is asked at a time, and the most clips it gets a batch on: its memory grows with both.
LANCE_QUERIES, LANCE_CLIPS = 4, 10**6
# Queries compared with brute force.
COMPARED = 4
# A way is called several times a turn until this is spent, in seconds.
TURN = 5e-3
DERIVED_CLIPS = 10**6


def milliseconds(ways: Mapping[str, Callable], rounds: int) -> dict[str, float]:
    """Times each way in turn, `rounds` times: the median of a call.

    On one thread the processor's time counts, on several that of the clock.
    """
    clock = time.process_time if faiss.omp_get_max_threads() == 1 else time.perf_counter
    calls = {}
    for name, way in ways.items():
        way()  # opens, compiles, fills caches
        start = clock()
        way()
        calls[name] = 1 + min(99, int(TURN / max(1e-6, clock() - start)))
    spent = collections.defaultdict(list)
    for _ in range(rounds):
        for name, way in ways.items():
            if calls[name] > 1:
                way()  # brings its own codes back into the cache
            start = clock()
            for _ in range(calls[name]):
                way()
            spent[name].append((clock() - start) / calls[name])
    return {name: 1e3 * statistics.median(durations) for name, durations in spent.items()}


def lance_nearest(table, query: np.ndarray, k: int):
    """Asks Lance for the k clips nearest to a few queries, by its own scan."""
    search = table.search(query, vector_column_name=code_column(STORED))
    return search.distance_type("hamming").limit(k).select(["clip", "_distance"]).to_arrow()


def ways_to_search(uri: str, clips: Clips, queries: np.ndarray, k: int) -> dict[str, Callable]:
    """Gives every way to search by its name."""
    count = len(queries)
    index = Index.open(uri)
    heap, counting = (faiss.IndexBinaryFlat(8 * clips.codes.shape[1]) for _ in range(2))
    counting.use_heap = False
    for flat in (heap, counting):
        flat.add(clips.codes)
    table = lancedb.connect(uri).open_table("clips")
    scan = NumpyScan(clips.codes)
    linear = [from_clip({STORED: weights_of(query)}) for query in queries]
    ways = {
        "limit": lambda: [np.bitwise_xor.reduce(words(clips.codes).ravel()) for _ in range(count)],
        "FAISS, heap": lambda: heap.search(queries, k),
        "FAISS, counting": lambda: counting.search(queries, k),
        "stored": lambda: index.search(queries, k=k),
        "derived": lambda: index.search(queries, k=k, focus=DERIVED),
        "between": lambda: index.search(queries, k=k, focus=BETWEEN),
        "without": lambda: index.search(queries, k=k, without=[Surroundings(MATCH)]),
        "linear": lambda: [index.search(query=query, k=k) for query in linear],
        "NumPy": lambda: [scan.nearest(query, k) for query in queries],
    }
    if count == 1 or len(clips.codes) <= LANCE_CLIPS:
        few = [queries[i : i + LANCE_QUERIES] for i in range(0, count, LANCE_QUERIES)]
        few = [part[0] if len(part) == 1 else list(part) for part in few]
        ways["Lance"] = lambda: [lance_nearest(table, part, k) for part in few]
    # Filters are new to it each time, and none of those that the other index keeps is lost.
    fresh, number = Index.open(uri), itertools.count(1)
    for share, where in CONDITIONS.items():
        ways |= _filtered(index, counting, clips, share, queries, k)
        if count == 1:
            ways[f"{share}, first"] = lambda where=where: fresh.search(
                queries, k=k, where=f"{where} AND clip <> '-{next(number)}'"
            )
    return ways


def _filtered(index, flat, clips: Clips, share: str, queries, k: int) -> dict[str, Callable]:
    """Gives the ways to search the clips of a filter that are known already."""
    passing = clips.masks[share]
    bitmap = np.packbits(passing, bitorder="little")
    selected = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bitmap))
    rows = np.flatnonzero(passing)
    gathered = clips.codes[rows]

    # Whole codes as single numbers, where there are such: a tenth of the time.
    whole = clips.codes.view({8: np.uint64, 16: np.complex128}[clips.codes.shape[1]])

    def gather():
        return np.take(whole, rows, axis=0).view(np.uint8)

    return {
        f"{share}, selector": lambda: flat.search(queries, k, params=selected),
        f"{share}, gather": lambda: faiss.knn_hamming(queries, gather(), k, variant="mc"),
        f"{share}, gathered": lambda: faiss.knn_hamming(queries, gathered, k, variant="mc"),
        f"{share}, again": lambda: index.search(queries, k=k, where=CONDITIONS[share]),
    }


def _ways_to_compare(uri: str, index: Index, clips: Clips, k: int) -> dict[str, tuple]:
    """Gives by name what each focus weighs in a way, the clips that it may find, and the way."""
    everybody, match = np.ones(len(clips.codes), bool), clips.masks["1/55"]
    heap, counting = (faiss.IndexBinaryFlat(index.info.bits) for _ in range(2))
    counting.use_heap = False
    for flat in (heap, counting):
        flat.add(clips.codes)
    table, scan = lancedb.connect(uri).open_table("clips"), NumpyScan(clips.codes)

    def ours(query, **options):
        (hits,) = index.search(query, k=k, **options)
        return hits.distances, np.array([int(hit.clip) for hit in hits])

    def bare(flat, query):
        distances, rows = flat.search(query[None], k)
        return distances[0], rows[0]

    def by_lance(query):
        found = lance_nearest(table, query, k)
        return found["_distance"].to_numpy(), found["clip"].cast("int64").to_numpy()

    def by_weights(query):
        (hits,) = index.search(query=from_clip({STORED: weights_of(query)}), k=k)
        return hits.distances, np.array([int(hit.clip) for hit in hits])

    plain, between = {STORED: 1}, index.info.weights(BETWEEN)
    return {
        "stored": (plain, everybody, ours),
        "derived": (
            {DERIVED: 1},
            everybody,
            lambda query: ours(query, focus=DERIVED),
        ),
        "between": (between, everybody, lambda query: ours(query, focus=BETWEEN)),
        "linear": (weighted_apart, everybody, by_weights),
        "without": (plain, ~match, lambda query: ours(query, without=[Surroundings(MATCH)])),
        **{
            share: (plain, passing, lambda query, share=share: ours(query, where=CONDITIONS[share]))
            for share, passing in clips.masks.items()
        },
        "FAISS, heap": (plain, everybody, lambda query: bare(heap, query)),
        "FAISS, counting": (plain, everybody, lambda query: bare(counting, query)),
        "NumPy": (plain, everybody, lambda query: scan.nearest(query, k)),
        "Lance": (plain, everybody, by_lance),
    }


def compare(uri: str, clips: Clips, k: int) -> dict[str, dict[str, float]]:
    """Compares what is found with brute force.

    Returns:
      By way, the share of the right clips that are found (`recall`), and the share of queries
      whose clips are the right ones in the right order, at the right distances (`equal`).
    """
    index = Index.open(uri)
    codes = {focus: index.info.codes_of(focus, {STORED: clips.codes}) for focus in (STORED, 2, 3)}
    random = np.random.default_rng(0)
    queries = clips.codes[random.integers(len(clips.codes), size=COMPARED)]
    queries[0] ^= 255
    ways = _ways_to_compare(uri, index, clips, k)
    scores = {name: [] for name in ways}
    for query in queries:
        own = {focus: index.info.codes_of(focus, {STORED: query[None]}) for focus in codes}
        apart = {focus: hamming_distances(own[focus], codes[focus])[0] for focus in codes}
        for name, (weights, passing, way) in ways.items():
            total, unit = (
                weights(query, clips.codes)
                if callable(weights)
                else (
                    sum(weight * apart[focus] for focus, weight in weights.items()),
                    sum(weights.values()),
                )
            )
            distances, rows = brute_force(total, passing, k)
            found_distances, found_rows = way(query)
            # A linear query's weights are rounded to whole numbers.
            close = np.allclose if callable(weights) else np.array_equal
            equal = close(found_distances, distances / unit)
            equal = equal and np.array_equal(found_rows, rows)
            scores[name].append((np.isin(rows, found_rows).mean(), equal))
    return {
        name: dict(zip(("recall", "equal"), np.mean(values, axis=0).tolist()))
        for name, values in scores.items()
    }


def measure_derivation(bits: int, rounds: int) -> list[dict]:
    """Times the derivation of each focus of a million codes."""
    matrix = filter_matrix(bits)
    codes = np.random.default_rng(bits).integers(0, 256, (DERIVED_CLIPS, bits // 8), np.uint8)
    rows = []
    for focus in range(STORED):
        ways = {
            "ours": lambda focus=focus: matrix.derive(codes, focus),
            "NumPy": lambda focus=focus: derive_by_product(matrix, codes, focus),
        }
        different = int(np.bitwise_count(ways["ours"]() ^ ways["NumPy"]()).sum(dtype=np.int64))
        rows.append(
            {
                "bits": bits,
                "focus": focus,
                "milliseconds": milliseconds(ways, rounds),
                "different_bits": different,
            }
        )
    return rows


def build(uri: str, clips: int, bits: int, distinct: int | None) -> dict[str, float]:
    """Makes an index and tells how long it took to add the clips, and the memory it took."""
    before = memory("VmRSS")
    index = Index.create(uri, bits=bits, stored_foci=[STORED], filter_matrix=filter_matrix(bits))
    spent = 0.0
    for codes, record in drawn(clips, bits, distinct):
        start = time.perf_counter()
        index.add(codes, **record)
        spent += time.perf_counter() - start
    return {"build_seconds": spent, "build_memory": memory("VmHWM") - before}


def first_searches(uri: str) -> dict[str, float]:
    """Opens an index and tells how long the first searches took, and the memory they took."""
    before, start = memory("VmRSS"), time.perf_counter()
    index = Index.open(uri)
    query = np.zeros(index.info.bits // 8, np.uint8)
    found = {}
    linear = from_clip({STORED: weights_of(query)})
    for name, ask in (
        ("stored", {"codes": query}),
        ("derived", {"codes": query, "focus": DERIVED}),
        ("linear", {"query": linear}),
    ):
        index.search(**ask)
        found[f"{name}_seconds"] = time.perf_counter() - start
        found[f"{name}_memory"] = memory("VmHWM") - before
        start = time.perf_counter()
    return found


def in_a_process(step: str, uri: str, clips: int, bits: int, distinct: int | None) -> dict:
    """Runs a step in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.search", f"--step={step}", f"--folder={uri}"]
    command += [f"--clips={clips}", f"--bits={bits}", f"--distinct={distinct or 0}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def folder_bytes(folder: pathlib.Path) -> int:
    """Counts the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure_index(uri: str, clips: int, bits: int) -> dict[str, float]:
    """Makes an index and measures it on disk, when it is opened, and in memory."""
    found = in_a_process("build", uri, clips, bits, None)
    found["store_bytes"] = folder_bytes(pathlib.Path(uri))
    absent = in_a_process("open", uri, clips, bits, None)
    present = in_a_process("open", uri, clips, bits, None)
    found["derived_bytes"] = folder_bytes(pathlib.Path(uri) / "derived")
    return {**found, "absent": absent, "present": present}


def measure(folder: pathlib.Path, clips: int, bits: int, rounds: int) -> dict[str, list[dict]]:
    """Measures an index of so many clips and bits."""
    case = {"clips": clips, "bits": bits}
    uri = str(folder / "uniform")
    results = {"indexes": [{**case, **measure_index(uri, clips, bits)}], "searches": []}
    drawn_clips = Clips.draw(clips, bits)
    random = np.random.default_rng(1)
    for queries, k in itertools.product(QUERIES, NEIGHBOURS):
        asked = random.integers(0, 256, (queries, bits // 8), np.uint8)
        ways = ways_to_search(uri, drawn_clips, asked, k)
        spent = milliseconds(ways, rounds if queries == 1 else max(1, rounds // 3))
        each = {name: value / queries for name, value in spent.items()}
        results["searches"].append({**case, "k": k, "queries": queries, "milliseconds": each})
    tied = str(folder / "tied")
    in_a_process("build", tied, clips, bits, DISTINCT)
    results["comparisons"] = [
        {
            **case,
            "k": k,
            "codes": name,
            "ways": compare(place, Clips.draw(clips, bits, distinct), k),
        }
        for name, place, distinct in (("uniform", uri, None), ("tied", tied, DISTINCT))
        for k in NEIGHBOURS
    ]
    return results


def main(
    clips: Sequence[int], bits: Sequence[int], rounds: int, folder: str | None, out: str | None
):
    """Measures everything, writes it where it is wanted after each index, and prints the tables."""
    results = collections.defaultdict(list)
    for each in bits:
        results["derivations"] += measure_derivation(each, rounds)
    for size, each in itertools.product(clips, bits):
        place = pathlib.Path(tempfile.mkdtemp(dir=folder))
        try:
            for name, rows in measure(place, size, each, rounds).items():
                results[name] += rows
        finally:
            shutil.rmtree(place)
        print(f"{size} clips of {each} bits are done", file=sys.stderr, flush=True)
        if out:
            pathlib.Path(out).write_text(json.dumps(results, indent=1) + "\n")
    print(tables(results))


def step_of(step: str, uri: str, clips: int, bits: int, distinct: int | None) -> None:
    """Runs one step of `in_a_process`."""
    done = build(uri, clips, bits, distinct) if step == "build" else first_searches(uri)
    print(json.dumps(done))


if __name__ == "__main__":
    CLIPS = flags.DEFINE_list("clips", ["100000", "1000000", "10000000"], "How many clips.")
    BITS = flags.DEFINE_list("bits", ["64", "128"], "Bits of a code, multiples of 64.")
    THREADS = flags.DEFINE_integer("threads", 1, "Threads of FAISS and the index.", lower_bound=1)
    ROUNDS = flags.DEFINE_integer("rounds", 9, "Timed turns of each way.", lower_bound=1)
    FOLDER = flags.DEFINE_string("folder", None, "Where the indexes are made, and deleted again.")
    OUT = flags.DEFINE_string("out", None, "A JSON file of everything measured.")
    STEP = flags.DEFINE_enum("step", None, ["build", "open"], "Only this, of one index.")
    DISTINCT_CODES = flags.DEFINE_integer("distinct", 0, "Different codes of a step; 0 for any.")

    def _run(_):
        faiss.omp_set_num_threads(THREADS.value)
        clips, bits = ([int(text) for text in flag.value] for flag in (CLIPS, BITS))
        if STEP.value:
            step_of(STEP.value, FOLDER.value, clips[0], bits[0], DISTINCT_CODES.value or None)
        else:
            main(clips, bits, ROUNDS.value, FOLDER.value, OUT.value)

    parsing.run_flags(_run)
