"""Training of a config on random clips: the compiled step of a real run, and what it is given."""

import dataclasses
import types
from typing import Any

import jax
import numpy as np

from benchmarks.random_models import ACTIONS, ACTIVITIES, random_clips
from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.models.build import Model
from stvh_jax.training import sharding
from stvh_jax.training.compiled import compile_steps

# Only the learning rate's schedule reads it.
STEPS_PER_EPOCH = 100


@dataclasses.dataclass
class RandomTraining:
    """A run at its first step.

    Attributes:
      model: what is trained.
      step: the compiled training step.
      state: what the next step starts from.
      clips: the batch of every step, on its devices.
      key: of the steps.
    """

    model: Model
    step: Any
    state: Any
    clips: Clips
    key: Any

    def take_step(self) -> dict[str, jax.Array]:
        """Takes a step and waits for it; gives its metrics."""
        self.state, metrics = self.step(self.state, self.clips, self.key)
        return jax.block_until_ready((self.state, metrics))[1]


def random_training(
    config: Config, *, batch: int, devices: int = 1, drawn: bool = True
) -> RandomTraining:
    """Makes the run of a config over some devices, with random clips; `take_step` takes its steps.

    It has the classes of `random_models`; a backbone's weights are drawn, too. Without `drawn` all
    parameters are small random numbers whatever they are for: these need not be compiled.
    """
    names = types.SimpleNamespace(
        activity_names=[f"activity {place}" for place in range(ACTIVITIES)],
        action_names=[f"action {place}" for place in range(ACTIONS)],
    )
    mesh = sharding.make_mesh(devices)
    steps = compile_steps(
        config, names, mesh, steps_per_epoch=STEPS_PER_EPOCH, backbone_options=None
    )
    if drawn:
        state = steps.create_state()
    else:
        shapes = jax.eval_shape(steps.create_state)
        state = jax.device_put(_small_numbers(shapes), sharding.replicated(mesh))
    clips = sharding.put_batch(random_clips(config, batch=batch), mesh)
    compiled = steps.train_step.lower(state, clips, steps.key).compile()
    return RandomTraining(steps.model, compiled, state, clips, steps.key)


def _small_numbers(shapes: Any) -> Any:
    """Puts positive numbers in the place of every shape, which variances must be; zero steps."""
    random = np.random.default_rng(0)

    def numbers(leaf):
        if not np.issubdtype(leaf.dtype, np.floating):
            return np.zeros(leaf.shape, leaf.dtype)
        return (np.abs(random.normal(size=leaf.shape)) / 50).astype(leaf.dtype)

    return jax.tree.map(numbers, shapes)
