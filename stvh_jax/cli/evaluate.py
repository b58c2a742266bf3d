"""Evaluates a trained model: python evaluate.py --bits=128 [--workdir=DIR] [--split=test].

Without --workdir it takes the newest finished run with codes of that length under runs/ and says
which one. It prints a table and writes evaluation-SPLIT.json, evaluation-SPLIT.html and a folder of
plots, evaluation-SPLIT/, into the run's folder. The filter matrix of an M-STVH run is fitted the
first time and kept in the run's filter_matrix/.
"""

from absl import flags
from ml_collections import config_flags

from stvh_jax.cli import parsing


def main(open_dataset=None, argv: list[str] | None = None) -> None:
    """Runs the command line.

    Args:
      open_dataset: opens the data set of `config.data`, unless --dataset names another function.
      argv: the program's name and arguments; those of the process if None.
    """
    _define_flags()
    parsing.run_flags(lambda _: _evaluate(flags.FLAGS, open_dataset), argv, usage=__doc__)


def _define_flags() -> None:
    flags.DEFINE_integer(
        "bits",
        128,
        "Length of the run's codes; for nested codes, the number of first bits.",
        lower_bound=8,
    )
    flags.DEFINE_string("workdir", None, "The run's folder; the newest finished run if left out.")
    config_flags.DEFINE_config_file("config", None, "The config that the run must have.")
    flags.DEFINE_string("split", None, "The query clips; config.data.test_split if left out.")
    flags.DEFINE_string("base", None, "The clips searched; config.data.train_split if left out.")
    flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Which checkpoint.")
    flags.DEFINE_string(
        "variant",
        None,
        "The prepared variant to evaluate on, with the same classes; config.data.variant if left "
        "out. Of another one, the files are named evaluation-SPLIT-VARIANT.",
    )
    flags.DEFINE_string("data_dir", None, "Prepared data sets; config.data.dir if left out.")
    flags.DEFINE_integer(
        "exclude_within_frames",
        None,
        "In match retrieval, leave out clips fewer than this many frames from the query.",
        lower_bound=1,
    )
    flags.DEFINE_enum(
        "filter_values",
        "binary",
        ["binary", "01", "real", "none"],
        "The entries of the filter matrix; none: no filter matrix is fitted.",
    )
    flags.DEFINE_bool(
        "filter_per_step", False, "Fit a filter matrix for each step from focus to focus."
    )
    flags.DEFINE_enum(
        "filter_normalise",
        "code",
        ["code", "bit"],
        "What is subtracted before the sign: the mean over a code, or the mean of each bit.",
    )
    flags.DEFINE_bool(
        "each_query",
        False,
        "Also write what each query reached: evaluation-SPLIT-queries.npz in the run's folder.",
    )
    parsing.define_dataset_flag()


def _evaluate(given: flags.FlagValues, open_dataset) -> None:
    from stvh_jax.inference.encoder import load
    from stvh_jax.runs import folders

    run = folders.find(workdir=given.workdir, bits=given.bits, config=given.config)
    print(f"run: {run}", flush=True)
    parsing.prepare_devices()
    encoder = load(run, checkpoint=given.checkpoint, bits=given.bits)
    with encoder.config.data.unlocked():
        folder = given.config.data.dir if given.config else encoder.config.data.dir
        encoder.config.data.dir = given.data_dir or folder
    data = encoder.config.data.copy_and_resolve_references()
    with data.unlocked():
        data.variant = given.variant or data.variant
    opener = parsing.dataset_opener(given.dataset, open_dataset)
    # Slow to import, so that a run that is not there is reported first.
    from stvh_jax.evaluation.evaluate import evaluate

    evaluation = evaluate(
        encoder,
        opener(data),
        run=run,
        query_split=given.split,
        base_split=given.base,
        variant=data.variant,
        exclude_within_frames=given.exclude_within_frames,
        filter_options={
            "values": given.filter_values,
            "per_step": given.filter_per_step,
            "normalise": given.filter_normalise,
        },
    )
    print(evaluation.table())
    for path in evaluation.write(each_query=given.each_query):
        print(f"wrote {path}")
