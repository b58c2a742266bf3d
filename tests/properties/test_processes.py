"""Two processes that train together, through jax.distributed."""

import shutil

import jax
import numpy as np
import pytest
from etils import epath

from stvh_jax.runs.history import read_history
from stvh_jax.training.trainer import open_run
from tests.helpers import trainings
from tests.helpers.fakes import FakeDataset, tiny_config

pytestmark = pytest.mark.slow


@pytest.mark.soak
def test_two_processes_of_two_devices_train_as_one_process_of_four(trained, tmp_path):
    processes = trainings.start_two(tmp_path, devices=2)
    try:
        (output, errors), (other_output, other_errors) = (
            process.communicate(timeout=240) for process in processes
        )
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], errors + other_errors
    assert "4 device(s)" in output
    assert "step" not in other_output

    expected, actual = (read_history(epath.Path(folder)) for folder in (trained(4), tmp_path))
    assert [line["step"] for line in actual] == [line["step"] for line in expected]
    for one, other in zip(expected, actual):
        for name in one.keys() - {"clips_per_second"}:
            np.testing.assert_allclose(other[name], one[name], rtol=1e-6)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1

    # The checkpoint of both is one, and one process goes on from it.
    run = tmp_path / "copy"
    shutil.copytree(tmp_path / "checkpoints", run / "checkpoints")
    expected, actual = (
        jax.device_get(open_run(tiny_config(), FakeDataset(), folder).initial_state())
        for folder in (trained(4), run)
    )
    assert actual.step == 12
    for one, other in zip(jax.tree.leaves(expected.variables), jax.tree.leaves(actual.variables)):
        assert np.linalg.norm(other - one) <= 1e-6 * np.linalg.norm(one)


@pytest.mark.soak
@pytest.mark.parametrize("victim", [0, 1])
def test_where_one_of_two_is_killed_the_other_ends_in_one_line(victim, tmp_path):
    processes = trainings.start_two(tmp_path, wait_at=8)
    try:
        for process in processes:
            trainings.read_until_waiting(process)
        processes[victim].kill()
        other = processes[1 - victim]
        _, errors = other.communicate("\n", timeout=60)
        processes[victim].communicate()
    finally:
        for process in processes:
            process.kill()
    ended = f"error: process {victim} of this training has ended; the same commands resume\n"
    assert (other.returncode, errors) == (2, ended)
