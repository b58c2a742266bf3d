"""The tables that the benchmark of the search prints."""

from collections.abc import Mapping, Sequence

from benchmarks.search_clips import CONDITIONS


def markdown(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    """Lays out a table; floats have three figures."""
    lines = [header, ["---"] * len(header)]
    lines += [[_three_figures(x) if isinstance(x, float) else str(x) for x in row] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _three_figures(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def tables(results: Mapping[str, Sequence[Mapping]]) -> str:
    """Lays out everything measured."""
    found = [
        f"{name}\n\n{table(results[key])}"
        for key, name, table in (
            ("searches", "Searches: ms a query, then ratios to the faster FAISS", searches_table),
            ("searches", "Conditions: ratios to the faster FAISS without one", conditions_table),
            ("indexes", "Indexes: seconds and MiB", indexes_table),
            ("comparisons", "Found: recall, and queries equal to brute force", comparisons_table),
            ("derivations", "Derivation of a million codes: ms", derivations_table),
        )
    ]
    return "\n\n".join(found)


def fastest_faiss(spent: Mapping[str, float]) -> float:
    """Gives the time of the faster of FAISS's two ways to search everything."""
    return min(spent["FAISS, heap"], spent["FAISS, counting"])


def _ratios(spent: Mapping[str, float], names: Sequence[str]) -> list:
    return [spent[name] / fastest_faiss(spent) if name in spent else "-" for name in names]


def searches_table(searches: Sequence[Mapping]) -> str:
    """Lays out the searches of all clips, one row each."""
    names = ["stored", "derived", "between", "linear", "without", "NumPy", "Lance"]
    rows = []
    for search in searches:
        spent = search["milliseconds"]
        case = [search[key] for key in ("clips", "bits", "queries", "k")]
        times = [spent[name] for name in ("limit", "FAISS, heap", "FAISS, counting", "stored")]
        rows.append([*case, *times, *_ratios(spent, names)])
    header = ["clips", "bits", "queries", "k", "limit", "FAISS, heap", "FAISS, counting"]
    return markdown([*header, "stored", *(f"{name} x" for name in names)], rows)


def conditions_table(searches: Sequence[Mapping]) -> str:
    """Lays out the searches with conditions, one row each."""
    names = ["again", "gathered", "gather", "selector", "first"]
    rows = [
        [
            *(search[key] for key in ("clips", "bits", "queries", "k")),
            share,
            *_ratios(search["milliseconds"], [f"{share}, {name}" for name in names]),
        ]
        for search in searches
        for share in CONDITIONS
    ]
    return markdown(["clips", "bits", "queries", "k", "where", *names], rows)


def indexes_table(indexes: Sequence[Mapping]) -> str:
    """Lays out the indexes, one row each."""
    rows = []
    for one in indexes:
        absent, present = one["absent"], one["present"]
        steps = [(absent, "stored"), (absent, "derived"), (present, "derived"), (present, "linear")]
        seconds = [process[f"{step}_seconds"] for process, step in steps]
        memory = [process[f"{step}_memory"] for process, step in steps]
        disk = [one["store_bytes"], one["derived_bytes"]]
        mebibytes = [size / 2**20 for size in (*disk, one["build_memory"], *memory)]
        rows.append([one["clips"], one["bits"], one["build_seconds"], *seconds, *mebibytes])
    header = [
        "clips",
        "bits",
        "adding, s",
        "first search, s",
        "first derived, s",
        "again opened, s",
        "first linear, s",
    ]
    header += ["store, MiB", "derived, MiB", "adding, MiB", "search, MiB", "deriving, MiB"]
    return markdown([*header, "again opened, MiB", "linear, MiB"], rows)


def comparisons_table(comparisons: Sequence[Mapping]) -> str:
    """Lays out how what is found compares with brute force, one row a case, one column a way."""
    keys, ways = ["clips", "bits", "codes", "k"], list(comparisons[0]["ways"])
    rows = []
    for one in comparisons:
        scores = [one["ways"][way] for way in ways]
        cells = [f"{score['recall']:.3g} / {score['equal']:.3g}" for score in scores]
        rows.append([*(one[key] for key in keys), *cells])
    return markdown([*keys, *ways], rows)


def derivations_table(derivations: Sequence[Mapping]) -> str:
    """Lays out the derivations, one row a focus."""
    rows = []
    for one in derivations:
        ours, theirs = (one["milliseconds"][name] for name in ("ours", "NumPy"))
        rows.append([one["bits"], one["focus"], ours, theirs, ours / theirs, one["different_bits"]])
    return markdown(["bits", "focus", "ours", "NumPy", "ratio", "different bits"], rows)
