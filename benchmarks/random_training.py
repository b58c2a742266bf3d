"""Training of a config on random clips: the compiled step of a real run, and what it is given."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from benchmarks.drawing import draw_variables
from benchmarks.random_models import RandomClasses, random_clips
from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.models.build import Model
from stvh_jax.models.shapes import variable_shapes
from stvh_jax.training import sharding
from stvh_jax.training.compiled import CompiledSteps, compile_steps
from stvh_jax.training.state import TrainState

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
    config: Config, *, batch: int, devices: int = 1, initialised: bool = True
) -> RandomTraining:
    """Makes the run of a config over some devices, with random clips; `take_step` takes its steps.

    It has the classes of `random_models`; a backbone's weights are initialised, too. Without
    `initialised` the variables are those of `drawn_state`, for which nothing is compiled.
    """
    mesh = sharding.make_mesh(devices)
    steps = compile_steps(
        config, RandomClasses(), mesh, steps_per_epoch=STEPS_PER_EPOCH, backbone_options=None
    )
    state = steps.create_state() if initialised else drawn_state(steps, config, mesh)
    clips = sharding.put_batch(random_clips(config, batch=batch), mesh)
    compiled = steps.train_step.lower(state, clips, steps.key).compile()
    return RandomTraining(steps.model, compiled, state, clips, steps.key)


def drawn_state(steps: CompiledSteps, config: Config, mesh: Mesh) -> TrainState:
    """Makes a state of step 0 with variables drawn by `draw_variables`, on every device."""
    shapes = jax.eval_shape(steps.create_state)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    variables = draw_variables(variable_shapes(steps.model, config))
    return jax.device_put(zeros.beginning_with(variables), sharding.replicated(mesh))
