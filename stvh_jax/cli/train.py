"""Trains a model: python train.py --config=configs/vd.py [--config.model.bits=64] [--workdir=DIR].

Stopped at any moment, the same command resumes where it was.
"""

from absl import flags
from ml_collections import config_flags

from stvh_jax.cli import parsing

# More machines than anybody has; process 0 waits for all that are announced.
_MOST_PROCESSES = 10_000


def main(open_dataset=None, argv: list[str] | None = None) -> None:
    """Runs the command line.

    Args:
      open_dataset: opens the data set of `config.data`, where --dataset names no other function.
      argv: the program's name and arguments; those of the process if None.
    """
    config_flag = config_flags.DEFINE_config_file(
        "config", None, "The experiment, for example configs/vd.py."
    )
    workdir = flags.DEFINE_string(
        "workdir", None, "The run's folder; runs/NAME-MODEL-BITS-SEED if left out."
    )
    dataset = parsing.define_dataset_flag()
    coordinator = flags.DEFINE_string(
        "coordinator", None, "host:port of process 0, for several processes."
    )
    num_processes = flags.DEFINE_integer(
        "num_processes",
        None,
        "How many processes train together.",
        lower_bound=1,
        upper_bound=_MOST_PROCESSES,
    )
    process_id = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")

    def train(_):
        config = config_flag.value
        parsing.prepare_devices(config.devices)
        joined = (coordinator.value, num_processes.value, process_id.value)
        with parsing.joined_processes(*joined):
            opener = parsing.dataset_opener(dataset.value, open_dataset)
            from stvh_jax.runs import folders
            from stvh_jax.training import starting, trainer

            given = config_flags.get_override_values(flags.FLAGS["config"])
            config = starting.with_model_of_start(config, given=given, workdir=workdir.value)
            folder = workdir.value or folders.default_workdir(config)
            clips = opener(config.data)
            if config.train.start_from:
                config.model.key_frame = clips.key_frame
            trainer.train(config, clips, folder)

    parsing.run_flags(train, argv, usage=__doc__, required=("config",))
