"""The compiled functions of a training run."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh

from stvh_jax.config import Config
from stvh_jax.dataset import Dataset
from stvh_jax.models.build import Model, build_model
from stvh_jax.models.compiling import jit
from stvh_jax.models.shapes import example_clips, variable_shapes
from stvh_jax.training import sharding
from stvh_jax.training.augment import Augmentation
from stvh_jax.training.objectives import objective_of
from stvh_jax.training.optimizer import build_optimizer, learning_rate_schedule
from stvh_jax.training.state import create_state
from stvh_jax.training.step import make_train_step, make_validation_step


@dataclasses.dataclass(frozen=True)
class CompiledSteps:
    """The functions of a run; each is compiled when it is first called.

    Attributes:
      model: the model that they train.
      create_state: makes the state of step 0.
      train_step: `(state, clips, key) -> state, metrics`; the state given is used up.
      validation_step: `(variables, clips) -> sums`.
      key: the key of the steps, on every device.
    """

    model: Model
    create_state: Callable
    train_step: Callable
    validation_step: Callable
    key: Any


def compile_steps(
    config: Config,
    dataset: Dataset,
    mesh: Mesh,
    *,
    steps_per_epoch: int,
    backbone_options: dict | None,
) -> CompiledSteps:
    """Makes the functions of a run, sharded over the devices of a mesh.

    `dataset` gives the names of the classes, `backbone_options` what the backbone's weights need,
    such as their pixel normalisation.

    Raises:
      UserError: a field of the model or the optimizer has a value that cannot be used.
    """
    model = build_model(
        config.model,
        activity_names=dataset.activity_names,
        action_names=dataset.action_names,
        backbone_options=backbone_options,
    )
    variable_shapes(model, config)  # before anything is allocated
    train = config.train
    lengths = {"steps_per_epoch": steps_per_epoch, "epochs": train.epochs}
    frozen = config.model.freeze_backbone
    optimizer = build_optimizer(config.optimizer, **lengths, freeze_backbone=frozen)
    objective = objective_of(config)
    train_step = make_train_step(
        model,
        optimizer,
        objective,
        learning_rate_schedule(config.optimizer, **lengths),
        augment=Augmentation.of(train),
        average=train.average,
        accumulate=train.accumulate,
    )
    whole, split = sharding.replicated(mesh), sharding.split_batch(mesh)
    clips, averaged = example_clips(config), train.average > 0

    def key(number):
        return jax.random.fold_in(jax.random.key(config.seed), number)

    return CompiledSteps(
        model=model,
        create_state=jit(
            lambda: create_state(
                key(0),
                model,
                optimizer,
                clips,
                averaged=averaged,
                create_readers=objective.create_readers,
            ),
            out_shardings=whole,
        ),
        train_step=jit(
            train_step,
            donate_argnums=0,
            in_shardings=(whole, split, whole),
            out_shardings=(whole, whole),
        ),
        validation_step=jit(
            make_validation_step(model, objective),
            in_shardings=(whole, split),
            out_shardings=whole,
        ),
        # Made by a compiled function: no process could put it on the devices of the others.
        key=jax.jit(lambda: key(1), out_shardings=whole)(),
    )
