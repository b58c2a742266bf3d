"""Evaluation's measures at the size of an archive: time, and memory that does not grow with it.

python -m benchmarks.ranking [--base=1000000] [--queries=2000] [--rounds=3] [--out=FILE]

Random queries rank random codes of 128 bits, and every measure of `retrieval_metrics` is computed.
PyTorch, which is defined here on its own, does a part of that: it finds the ten nearest by a
product of signs, some codes at a time, and computes AP@10 of the order that it happened to find.
Every measurement is a process of its own; its memory is its peak RSS, and what it had before, with
the codes and labels in memory. --whole measures 100000 queries in place of projecting them.
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from benchmarks import processes, timing
from stvh_jax.evaluation import metrics
from stvh_jax.reporting.tables import aligned

BITS, CLASSES, K = 128, 8, 10
# Base codes that PyTorch compares at a time, and queries.
BLOCK, QUERIES_AT_A_TIME = 1 << 15, 1024
# The queries of a whole evaluation.
WHOLE_QUERIES = 10**5


def draw(queries: int, base: int) -> tuple[np.ndarray, ...]:
    """Draws packed codes and labels of the queries, and of the base.

    The codes of a class are alike, so that what is found is neither all nor nothing.
    """
    random = np.random.default_rng(0)
    centres = random.integers(0, 2, (CLASSES, BITS), np.uint8)

    def side(count):
        labels = random.integers(0, CLASSES, count)
        codes = np.empty((count, BITS // 8), np.uint8)
        for start in range(0, count, BLOCK):
            some = labels[start : start + BLOCK]
            flipped = random.random((len(some), BITS), np.float32) < 0.35
            codes[start : start + BLOCK] = np.packbits(centres[some] ^ flipped, axis=1)
        return codes, labels

    (query_codes, query_labels), (base_codes, base_labels) = side(queries), side(base)
    return query_codes, base_codes, query_labels, base_labels


def ours(query_codes, base_codes, query_labels, base_labels) -> float:
    """Computes every measure as evaluation does; gives mAP@10."""
    ranked = metrics.rank_by_label(query_codes, base_codes, query_labels, base_labels)
    return metrics.retrieval_metrics(ranked.groups)[f"map@{K}"]


def peer(query_codes, base_codes, query_labels, base_labels) -> float:
    """Computes mAP@10 in PyTorch, ties in the order in which `topk` gives them."""
    import torch

    def signs(codes):
        return 2 * torch.from_numpy(np.unpackbits(codes, axis=1)).float() - 1

    total, positions = 0.0, torch.arange(1, K + 1)
    labels, own = torch.from_numpy(base_labels), torch.from_numpy(query_labels)
    counts = torch.bincount(labels, minlength=CLASSES)
    for start in range(0, len(query_codes), QUERIES_AT_A_TIME):
        some = slice(start, start + QUERIES_AT_A_TIME)
        queries = signs(query_codes[some])
        near = torch.empty(len(queries), 0)
        rows = torch.empty(len(queries), 0, dtype=torch.int64)
        for first in range(0, len(base_codes), BLOCK):
            products = queries @ signs(base_codes[first : first + BLOCK]).T
            found = products.topk(min(K, products.shape[1]), dim=1)
            near, rows = (
                torch.cat([near, found.values], 1),
                torch.cat([rows, found.indices + first], 1),
            )
            kept = near.topk(min(K, near.shape[1]), dim=1)
            near, rows = kept.values, rows.gather(1, kept.indices)
        relevant = (labels[rows] == own[some, None]).float()
        precisions = relevant.cumsum(1) / positions[: rows.shape[1]]
        most = counts[own[some]].clamp(1, K)
        total += float(((precisions * relevant).sum(1) / most).sum())
    return total / len(query_codes)


def measure(way: str, queries: int, base: int) -> dict[str, float]:
    """Measures one way in this process."""
    ways: dict[str, Callable[..., float]] = {"ours": ours, "peer": peer}
    drawn = draw(queries, base)
    ways[way](*(part[:100] for part in drawn))  # imports and warms up
    processes.forget_peak()
    before, start = processes.memory("VmRSS"), time.perf_counter()
    found = ways[way](*drawn)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "before": before, "peak": processes.memory(), "map@10": found}


def measured(way: str, queries: int, base: int, threads: int = 1) -> dict[str, float]:
    """Measures one way in a process of its own."""
    asked = {"way": way, "queries": queries, "base": base}
    threads_of = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return processes.apart("benchmarks.ranking", asked, threads_of)


def growth(queries: int, base: int) -> list[dict]:
    """Measures our way with ever more queries, and with a base ever larger."""
    sizes = [(queries // part, base) for part in (8, 4, 2, 1)]
    # Queries cost little memory beside few base items: the most of them are counted like that.
    sizes += [(queries, base // part) for part in (8, 4, 2)]
    sizes += [(many, base // 1000) for many in (WHOLE_QUERIES // 4, WHOLE_QUERIES)]
    return [{"queries": q, "base": m, **measured("ours", q, m)} for q, m in sizes if q and m]


def print_growth(rows: list[dict]) -> None:
    """Prints time, queries a second and memory by size."""
    table = [["queries", "base clips", "seconds", "queries/s", "ns/pair", "before MiB", "peak MiB"]]
    for row in rows:
        table.append(
            [
                f"{row['queries']}",
                f"{row['base']}",
                f"{row['seconds']:.2f}",
                f"{row['queries'] / row['seconds']:.0f}",
                f"{1e9 * row['seconds'] / (row['queries'] * row['base']):.2f}",
                f"{row['before'] / 2**20:.0f}",
                f"{row['peak'] / 2**20:.0f}",
            ]
        )
    print(aligned(table), flush=True)


def compare(queries: int, base: int, rounds: int, threads: int) -> tuple[timing.Comparison, dict]:
    """Times both ways in turn, in processes of their own; gives their memory and mAP@10, too."""
    found: dict[str, list[dict]] = {"ours": [], "peer": []}
    for _ in range(rounds):
        found["ours"].append(measured("ours", queries, base))
        found["peer"].append(measured("peer", queries, base, threads))
    seconds = {way: [one["seconds"] for one in rows] for way, rows in found.items()}
    work = f"all measures, 1 thread; AP@10 in PyTorch, {threads}"
    comparison = timing.Comparison(work, seconds["ours"], seconds["peer"])
    return comparison, {way: rows[0] for way, rows in found.items()}


def main() -> None:
    """Prints the growth, the comparison and what the whole would take."""
    parser = timing.parser(__doc__, rounds=3)
    parser.add_argument("--base", type=int, default=10**6, help="clips that are searched")
    parser.add_argument("--queries", type=int, default=2000, help="clips that search")
    parser.add_argument("--small", action="store_true", help="400 queries and 100000 clips")
    parser.add_argument("--whole", action="store_true", help="measure 100000 queries, too")
    parser.add_argument("--asked", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.asked:
        print(json.dumps(measure(**arguments.asked)))
        return
    peer = timing.needs_torch()
    if arguments.small:
        arguments.queries, arguments.base = 400, 10**5
    whole = WHOLE_QUERIES if arguments.whole else None
    rows = growth(arguments.queries, arguments.base)
    if whole:
        rows.append(
            {"queries": whole, "base": arguments.base, **measured("ours", whole, arguments.base)}
        )
    print_growth(rows)
    largest = max(rows, key=lambda row: row["queries"] * row["base"])
    projected = largest["seconds"] * WHOLE_QUERIES / largest["queries"]
    if not whole:
        print(f"projected, not measured: {WHOLE_QUERIES} queries in {projected / 60:.1f} minutes")
    pairs = [
        compare(arguments.queries, arguments.base, arguments.rounds, threads) for threads in (1, 2)
    ]
    for way, value in pairs[0][1].items():
        print(f"{way}: mAP@10 {value['map@10']:.4f}, peak {value['peak'] / 2**20:.0f} MiB")
    timing.report(
        f"{arguments.queries} queries rank {arguments.base} clips",
        [comparison for comparison, _ in pairs],
        peer=peer,
        out=arguments.out,
    )
    if arguments.out:
        written = json.loads(arguments.out.read_text())
        written |= {"growth": rows, "once": [once for _, once in pairs]}
        arguments.out.write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
