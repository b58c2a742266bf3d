"""Trains the shared run in a process of its own: --workdir=DIR."""

import sys

from stvh_jax import interrupts

if __name__ == "__main__":
    interrupts.obey()

from absl import flags

from tests import conftest  # noqa: F401 - the same settings as in the tests' process
from tests.helpers.fakes import FakeDataset, tiny_config

WORKDIR = flags.DEFINE_string("workdir", None, "The run's folder.")
DEVICES = flags.DEFINE_integer("devices", 1, "Virtual devices of this process.")
WAIT_AT = flags.DEFINE_integer("wait_at", -1, "Finished steps before which to wait for a line.")
COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of two processes this is.")


class WaitingDataset(FakeDataset):
    """Says `waiting` before a batch and yields it when a line comes in."""

    def training_batches(self, split, *, start_step=0, **options):
        batches = super().training_batches(split, start_step=start_step, **options)
        for step, clips in enumerate(batches, start=start_step):
            if step == WAIT_AT.value:
                print("waiting", flush=True)
                sys.stdin.readline()
            yield clips


def main(_):
    from stvh_jax.cli import parsing
    from stvh_jax.training.trainer import train

    parsing.prepare_devices(DEVICES.value)
    processes = 2 if COORDINATOR.value else None
    with parsing.joined_processes(COORDINATOR.value, processes, PROCESS_ID.value):
        train(tiny_config(), WaitingDataset(), WORKDIR.value)


if __name__ == "__main__":
    from stvh_jax.cli import parsing

    parsing.run_flags(main, required=("workdir",))
