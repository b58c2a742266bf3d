"""Scripts that stand in for train.py and evaluate.py, and the calls that they received."""

import pathlib

from experiments import __main__ as command

TRAIN = """
import json, pathlib, sys, time
flags = dict(flag.removeprefix("--").split("=", 1) for flag in sys.argv[1:])
run = pathlib.Path(flags["workdir"])
checkpoint = run / "checkpoints/1"
for part in ("config", "variables", "metrics"):
    (checkpoint / part).mkdir(parents=True, exist_ok=True)
(checkpoint / "metrics/metrics").write_text('{"activity_accuracy": 0.5}')
with open("calls.txt", "a") as file:
    print("train", run.name, file=file)
time.sleep(float(pathlib.Path("seconds.txt").read_text()))
if flags.get("config.model.layers") == "4" and pathlib.Path("broken.txt").exists():
    print("error: the loss is no number")
    sys.exit(2)
(run / "finished.json").write_text('{"step": 1}')
"""
EVALUATE = """
import json, pathlib, sys
import numpy as np
flags = dict(flag.removeprefix("--").split("=", 1) for flag in sys.argv[1:])
run = pathlib.Path(flags["workdir"])
with open("calls.txt", "a") as file:
    print("evaluate", run.name, flags["bits"], file=file)
seed = int(run.name.split(",")[0].rsplit("-", 1)[1])
layers = int(run.name.partition("layers=")[2].partition(",")[0] or 3)
accuracy = 0.5 + 0.1 * seed + 0.01 * layers
kinds = [(kind, k) for kind in ("activity", "match") for k in (5, 10, 20, 50)]
of_focus = {f"{kind}_map@{k}": accuracy / k for kind, k in kinds}
of_focus |= {f"{kind}_map@{k}/over_hits": 2 * accuracy / k for kind, k in kinds}
results = {
    "model": "stvh" if "-stvh-" in run.name else "mstvh",
    "checkpoint": {"step": 1, "kind": flags["checkpoint"]},
    "data": {
        "base_split": "train" if run.name.startswith("demo") else "train+validation",
        "query_split": "test",
        "base_clips": 20,
        "query_clips": 8,
        "exclude_within_frames": None,
    },
    "hardware": "1 x abacus",
    "bits": int(flags["bits"]),
    "layers": layers,
    "activity_accuracy": accuracy,
    "activity_mpca": accuracy,
    "activity_accuracy_from_code": accuracy,
    "action_accuracy": None,
    "activity_names": ["set", "spike"],
    "confusion_matrix": [[3, 1], [2, 2]],
    "class_distances": [[1.0, 40.0 + seed], [40.0 + seed, None]],
    "foci": {str(focus): of_focus for focus in range(layers + 1)},
}
name = "evaluation-test"
if "+" in run.name and flags["bits"] != "128":
    name += f"-{flags['bits']}_bits"
(run / f"{name}.json").write_text(json.dumps(results))
assert flags["each_query"] == "true"
queries = np.arange(8)
# Each query is as right as all of them together: its mean must be the accuracy.
np.savez(
    run / f"{name}-queries.npz",
    **{"match": np.full(8, "1"), "clip": queries.astype(str)},
    **{"correct": np.full(8, accuracy), "ap@10": np.full(8, accuracy / 10) + 0.01 * queries},
)
"""


def run(*arguments):
    """Calls the command; returns its status."""
    return command.parsing.run_command(command._parser(), list(arguments))


def calls():
    path = pathlib.Path("calls.txt")
    return path.read_text().splitlines() if path.exists() else []
