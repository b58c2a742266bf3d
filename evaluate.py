"""Evaluates a trained model: python evaluate.py --bits=128 [--workdir=DIR] [--split=test].

Without --workdir it takes the newest finished run with those bits under runs/, and says which.
Prints a table and leaves evaluation-SPLIT.json, evaluation-SPLIT.html and a folder of plots,
evaluation-SPLIT/, in the run's folder. The filter matrix of an M-STVH run is fitted the first time
and kept in the run's filter_matrix/.
"""

import os

# TensorFlow, which reads the data, is silent only if told so before it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from absl import flags
from ml_collections import config_flags

from stvh_jax import command_line

BITS = flags.DEFINE_integer(
    "bits", 128, "Length of the run's codes; of nested ones, how many first bits.", lower_bound=8
)
WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder; the newest finished if left out.")
CONFIG = config_flags.DEFINE_config_file("config", None, "The config that the run must have.")
SPLIT = flags.DEFINE_string("split", None, "The query clips; config.data.test_split if left out.")
BASE = flags.DEFINE_string("base", None, "The clips searched; config.data.train_split if left out.")
CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Which checkpoint.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Prepared data sets; config.data.dir if left out.")
EXCLUDE_WITHIN_FRAMES = flags.DEFINE_integer(
    "exclude_within_frames",
    None,
    "In match retrieval, leave out clips this near to the query.",
    lower_bound=1,
)
FILTER_VALUES = flags.DEFINE_enum(
    "filter_values",
    "binary",
    ["binary", "01", "real", "none"],
    "The entries of the filter matrix; none fits no such matrix.",
)
FILTER_PER_STEP = flags.DEFINE_bool(
    "filter_per_step", False, "A filter matrix for each step from focus to focus."
)
FILTER_NORMALISE = flags.DEFINE_enum(
    "filter_normalise", "code", ["code", "bit"], "Derived codes: less the mean of the code or bit."
)


def main(_):
    """Finds the run, opens its data, judges it and writes the results."""
    from stvh_jax import runs
    from stvh_jax.encoder import load

    workdir = runs.find(workdir=WORKDIR.value, bits=BITS.value, config=CONFIG.value)
    print(f"run: {workdir}", flush=True)
    encoder = load(workdir, checkpoint=CHECKPOINT.value, bits=BITS.value)
    with encoder.config.data.unlocked():
        given = CONFIG.value.data.dir if CONFIG.value else encoder.config.data.dir
        encoder.config.data.dir = DATA_DIR.value or given
    # Slow to import, and not needed to find that there is no such run.
    from data.pipeline import open_dataset
    from stvh_jax.evaluation import Evaluation

    evaluation = Evaluation(
        encoder,
        open_dataset(encoder.config.data),
        run=workdir,
        query_split=SPLIT.value,
        base_split=BASE.value,
        exclude_within_frames=EXCLUDE_WITHIN_FRAMES.value,
        filter_options={
            "values": FILTER_VALUES.value,
            "per_step": FILTER_PER_STEP.value,
            "normalise": FILTER_NORMALISE.value,
        },
    )
    print(evaluation.table())
    for path in evaluation.write():
        print(f"wrote {path}")


if __name__ == "__main__":
    command_line.run(main)
