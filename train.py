"""Trains a model: python train.py --config=configs/vd.py [--config.model.bits=64] [--workdir=DIR].

Stopped at any moment, the same command resumes where it was.
"""

import os

# TensorFlow, which reads the data, is silent only if told so before it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from absl import flags
from ml_collections import config_flags

from stvh_jax import command_line

CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment, e.g. configs/vd.py.")
WORKDIR = flags.DEFINE_string(
    "workdir", None, "The run's folder; runs/NAME-MODEL-BITS-SEED if none."
)
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port of process 0, for several processes."
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes train together.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")


def main(_):
    """Wires the config, the data and the trainer."""
    config = CONFIG.value
    command_line.prepare_devices(config.devices)
    command_line.join_processes(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
    from data.pipeline import open_dataset
    from stvh_jax import runs
    from stvh_jax.trainer import train

    train(config, open_dataset(config.data), WORKDIR.value or runs.default_workdir(config))


if __name__ == "__main__":
    command_line.run(main, required=("config",))
