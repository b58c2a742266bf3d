"""Evaluates a trained model: python evaluate.py --bits=128 [--workdir=DIR] [--split=test].

Without --workdir it takes the newest finished run with those bits under runs/, and says which.
Prints a table and leaves evaluation-SPLIT.json, evaluation-SPLIT.html and a folder of plots,
evaluation-SPLIT/, in the run's folder. The filter matrix of an M-STVH run is fitted the first time
and kept in the run's filter_matrix/.
"""

from absl import flags
from ml_collections import config_flags

from stvh_jax.cli import parsing


def main(open_dataset=None, argv: list[str] | None = None) -> None:
    """Runs the command line.

    Args:
      open_dataset: opens the data set of `config.data`, where --dataset names no other function.
      argv: the program's name and arguments; those of the process if None.
    """
    bits = flags.DEFINE_integer(
        "bits",
        128,
        "Length of the run's codes; of nested ones, how many first bits.",
        lower_bound=8,
    )
    workdir = flags.DEFINE_string(
        "workdir", None, "The run's folder; the newest finished if left out."
    )
    config_flag = config_flags.DEFINE_config_file(
        "config", None, "The config that the run must have."
    )
    query_split = flags.DEFINE_string(
        "split", None, "The query clips; config.data.test_split if left out."
    )
    base_split = flags.DEFINE_string(
        "base", None, "The clips searched; config.data.train_split if left out."
    )
    checkpoint = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Which checkpoint.")
    data_dir = flags.DEFINE_string(
        "data_dir", None, "Prepared data sets; config.data.dir if left out."
    )
    exclude_within_frames = flags.DEFINE_integer(
        "exclude_within_frames",
        None,
        "In match retrieval, leave out clips this near to the query.",
        lower_bound=1,
    )
    filter_values = flags.DEFINE_enum(
        "filter_values",
        "binary",
        ["binary", "01", "real", "none"],
        "The entries of the filter matrix; none fits no such matrix.",
    )
    filter_per_step = flags.DEFINE_bool(
        "filter_per_step", False, "A filter matrix for each step from focus to focus."
    )
    filter_normalise = flags.DEFINE_enum(
        "filter_normalise",
        "code",
        ["code", "bit"],
        "Derived codes: less the mean of the code or bit.",
    )
    dataset = parsing.define_dataset_flag()

    def evaluate(_):
        from stvh_jax.inference.encoder import load
        from stvh_jax.runs import folders

        run = folders.find(workdir=workdir.value, bits=bits.value, config=config_flag.value)
        print(f"run: {run}", flush=True)
        encoder = load(run, checkpoint=checkpoint.value, bits=bits.value)
        with encoder.config.data.unlocked():
            given = config_flag.value.data.dir if config_flag.value else encoder.config.data.dir
            encoder.config.data.dir = data_dir.value or given
        opener = parsing.dataset_opener(dataset.value, open_dataset)
        # Slow to import, and not needed to find that there is no such run.
        from stvh_jax.evaluation.evaluate import Evaluation

        evaluation = Evaluation(
            encoder,
            opener(encoder.config.data),
            run=run,
            query_split=query_split.value,
            base_split=base_split.value,
            exclude_within_frames=exclude_within_frames.value,
            filter_options={
                "values": filter_values.value,
                "per_step": filter_per_step.value,
                "normalise": filter_normalise.value,
            },
        )
        print(evaluation.table())
        for path in evaluation.write():
            print(f"wrote {path}")

    parsing.run_flags(evaluate, argv, usage=__doc__)
