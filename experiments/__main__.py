"""The experiments of the paper: python -m experiments table6 --data vd [--seeds 3].

An experiment trains and evaluates the runs that it needs and that are not in runs/ yet. It writes
Markdown, JSON and pictures to results/DATA/, with the paper's figures beside ours. If it is
stopped, the same command continues.
"""

import argparse
import importlib
import pathlib
import sys
from types import ModuleType

from stvh_jax import interrupts

if __name__ == "__main__":
    interrupts.obey()  # while these are imported, too

from experiments import page, results, settings
from experiments.study import Study
from experiments.sweep import Sweep
from stvh_jax.cli import parsing
from stvh_jax.errors import UserError

NAMES = {
    "table2": "classification, STVH and M-STVH",
    "table3": "retrieval at 16 to 128 bits; the paper's figures are of Volleyball",
    "table4": "the same; the paper's figures are of Collective Activity",
    "table5": "the MSF module replaced by transformer blocks",
    "table6": "2 to 5 layers",
    "table7": "the losses",
    "fig1": "against a global video hash and plain fusion",
    "fig7": "confusion matrices, as the paper has them of Volleyball",
    "fig8": "the same, of Collective Activity",
    "fig9": "the nearest clip at every focus",
    "fig10": "retrieval by focus, for activity and match",
    "fig11": "attention by layer",
    "fig12": "distances between the activities' codes",
    "nested": "one training for all lengths, beyond the paper",
    "table_hashing": "objectives of other hashing methods, beyond the paper",
    "table_cost": "parameters, GFLOPs, clips per second, training time",
    "fig_scale": "the scale from visual to activity, beyond the paper",
    "table_scale": "what a focus of one stored code is, beyond the paper",
    "table_rankings": "what of a query is compared with the stored bits, beyond the paper",
    "feedback": "teaching a search by examples, beyond the paper",
    "label_free": "codes learned without a label, beyond the paper",
    "label_free_views": "what each view, loss and pretext does for these, beyond the paper",
    "label_counts": "how far few labels go with and without a label-free start, beyond the paper",
    "labels": "original and corrected labels of Volleyball, beyond the paper",
}

# More seeds, and more runs at a time, than anybody has the time or the machine for.
_MOST = 1000


def _parser() -> parsing.StrictParser:
    others = {
        "all": "all of them",
        "page": "docs/results.md and docs/filter_matrix.md, from results/",
    }
    names = [f"  {name:16} {text}" for name, text in (NAMES | others).items()]
    parser = parsing.StrictParser(
        prog="python -m experiments",
        description=__doc__,
        epilog="names:\n" + "\n".join(names),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_run)
    parser.add_argument("name", choices=[*NAMES, "all", "page"], metavar="NAME")
    parser.add_argument("--data", choices=settings.SETTINGS, help="the data; vd", default="vd")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0 on; 3")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; 1")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only list the commands, and how long they would take",
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=pathlib.Path(results.FOLDER),
        help="the folder of the results; results/",
    )
    return parser


def unavailable(module, setting: settings.Setting) -> str:
    """Says why an experiment cannot be run on these data, "" if it can."""
    if getattr(module, "NEEDS_FRAMES", False) and not setting.has_frames:
        return f"shows pictures, and {setting.name} has none; nothing is filled in"
    if getattr(module, "NEEDS_CORRECTED_LABELS", False) and not setting.corrected:
        return f"compares two sets of labels, and {setting.name} has one"
    if getattr(module, "NEEDS_LABEL_FREE", False) and not setting.trains_without_labels:
        return f"trains without labels, and configs/{setting.config}.py has no option for that"
    return ""


def _run(arguments: argparse.Namespace) -> int:
    if not (1 <= arguments.seeds <= _MOST and 1 <= arguments.jobs <= _MOST):
        raise UserError(f"--seeds and --jobs must be 1 to {_MOST}")
    if not pathlib.Path("train.py").exists():
        raise UserError("there is no train.py here; run this in the folder of the project")
    if arguments.name == "page":
        if arguments.dry_run:
            raise UserError("page makes no runs; leave out --dry-run")
        print("wrote " + ", ".join(map(str, page.write(arguments.out, list(NAMES)))))
        return 0
    studies = _studies(arguments)
    runs = [run for _, study in studies.values() for run in study.all_runs()]
    for run in runs:
        run.check()
    sweep = Sweep(runs, jobs=arguments.jobs)
    if arguments.dry_run:
        print(sweep.plan())
        return 0
    sweep.check_data()
    sweep.execute()
    for name, (module, study) in studies.items():
        paths = results.write(arguments.out, name, module.TITLE, study, module.report(study))
        print("\n" + paths[1].read_text(), end="")
        print("wrote " + ", ".join(map(str, paths)))
    return 0


def _studies(arguments: argparse.Namespace) -> dict[str, tuple[ModuleType, Study]]:
    """Gives each experiment asked for that can be run on the data: its module and its study.

    Raises:
      UserError: the only one asked for cannot be run.
    """
    setting = settings.SETTINGS[arguments.data]
    names = list(NAMES) if arguments.name == "all" else [arguments.name]
    studies = {}
    for name in names:
        module = importlib.import_module(f"experiments.paper.{name}")
        dataset = getattr(module, "DATASET", setting.dataset)
        if reason := unavailable(module, setting):
            if arguments.name != "all":
                others = [
                    other.name
                    for other in settings.SETTINGS.values()
                    if not unavailable(module, other)
                ]
                raise UserError(f"{name} {reason}; use --data {' or '.join(others)}")
            print(f"{name} {reason}")
        elif arguments.name == "all" and dataset != setting.dataset:
            print(f"{name} is for another data set; its twin has the same rows")
        else:
            seeds = range(1 if hasattr(module, "ONE_SEED") else arguments.seeds)
            studies[name] = module, Study.of(module, setting, seeds)
    return studies


if __name__ == "__main__":
    sys.exit(parsing.run_command(_parser(), None))
