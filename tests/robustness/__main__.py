"""The program of `make soak`: tries all targets and ends with a table; status 1 of any failure.

python -m tests.robustness [--minutes 20] [--seed 7] [--kills 100] [--only WORD] [--case FOLDER]
"""

import argparse
import os
import pathlib
import shutil
import sys
import time

from tests.robustness import material
from tests.robustness.soak import OUTPUT, Failures, again, soak, table
from tests.robustness.targets import TARGETS


def main() -> int:
    """Runs the command line and returns the exit status."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--least", type=int, default=1, help="cases of each target at least")
    parser.add_argument("--kills", type=int, default=3, help="kills of each kind at least")
    parser.add_argument("--only", default="", help="targets with this in their name, a|b for two")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("soak"))
    parser.add_argument("--case", type=pathlib.Path, help="runs a case that was kept once more")
    arguments = parser.parse_args()
    # The models are tiny: they take far longer to compile than to run.
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    if arguments.case:
        material.build(once=True)
        outcome = again(TARGETS, arguments.case)
        print(f"{outcome.verdict.value if outcome.verdict else 'skipped'}\n{outcome.text}")
        return 0 if outcome.verdict is None or outcome.verdict.good else 1
    words = arguments.only.split("|")
    targets = [target for target in TARGETS if any(word in target.name for word in words)]
    print(
        f"seed {arguments.seed}; {len(targets)} targets, {arguments.minutes:g} minutes", flush=True
    )
    material.build(once=False)
    shutil.rmtree(arguments.out / "failures", ignore_errors=True)
    failures = Failures(arguments.out / "failures")
    tallies = soak(
        targets,
        seconds=60 * arguments.minutes,
        seed=arguments.seed,
        least=arguments.least,
        kills=arguments.kills,
        failures=failures,
    )
    print(f"\nseed {arguments.seed}\n{table(tallies)}")
    for name in sorted(failures.kept):
        print(f"make soak CASE={failures.folder / name}    (what it said: {OUTPUT} in it)")
    good = all(tally.good for tally in tallies)
    print("all is right" if good else "not all is right")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        os._exit(130)  # without waiting for the cases that run: their processes end with this one
