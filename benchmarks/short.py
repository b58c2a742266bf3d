"""Runs the short form of every benchmark with a peer, and compares the ratios with those stored.

python -m benchmarks.short [--only backbones,head] [--store]     (make bench)

A ratio is worse where even the lowest of its rounds is 1.25 times the stored one, or more; the exit
status is then 1. --store keeps what was found as what is compared with: run it on a quiet machine.
Ratios differ between processors by more than that, so that the file says on which it was made.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

from benchmarks.timing import environment, needs_torch
from stvh_jax.reporting.tables import aligned

ROOT = pathlib.Path(__file__).resolve().parents[1]
STORED = ROOT / "benchmarks" / "ratios.json"
# By name, the arguments that make it short.
SHORT = {
    "backbones": ["--image-size", "240", "360", "--rounds", "5"],
    "roi_align": ["--rounds", "3"],
    "head": ["--rounds", "3"],
    "training_step": ["--rounds", "5"],
    "encoding": ["--image-size", "240", "360", "--rounds", "3"],
    "input_pipeline": ["--small", "--rounds", "3"],
    "ranking": ["--base", "100000", "--queries", "500", "--rounds", "3"],
}
WORSE = 1.25


def run(name: str) -> dict[str, dict]:
    """Runs a benchmark in its short form; gives its comparisons by what is compared."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "found.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", *SHORT[name], "--out", str(out)]
        subprocess.run(command, cwd=ROOT, check=True)
        comparisons = json.loads(out.read_text())["comparisons"]
    return {one["work"]: one for one in comparisons}


def is_worse(found: dict, stored: float | None) -> bool:
    """Says whether a comparison is surely above the ratio that was stored for it."""
    return stored is not None and found["lowest_ratio"] >= WORSE * stored


def main() -> int:
    """Prints a row for each comparison and returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(SHORT), help="names, joined by commas")
    parser.add_argument("--store", action="store_true", help="keep the ratios that are found")
    given = parser.parse_args()
    names = given.only.split(",")
    if unknown := [name for name in names if name not in SHORT]:
        parser.error(f"there is no benchmark {unknown[0]!r}; choose from {', '.join(SHORT)}")
    needs_torch()
    stored = json.loads(STORED.read_text()) if STORED.exists() else {}
    ratios = stored.get("ratios", {})
    rows, worse = [["", "ratio", "stored", "change", ""]], 0
    for name in names:
        for work, found in run(name).items():
            before = ratios.get(name, {}).get(work)
            bad = is_worse(found, before)
            worse += bad
            change = "" if before is None else f"{found['ratio'] / before:.2f}"
            known = "" if before is None else f"{before:.2f}"
            mark = "worse" if bad else ""
            rows.append([f"{name}: {work}", f"{found['ratio']:.2f}", known, change, mark])
            if given.store:
                ratios.setdefault(name, {})[work] = round(found["ratio"], 3)
    print(aligned(rows))
    if given.store:
        kept = {"environment": environment(), "ratios": ratios}
        STORED.write_text(json.dumps(kept, indent=2) + "\n")
        return 0
    return int(worse > 0)


if __name__ == "__main__":
    sys.exit(main())
