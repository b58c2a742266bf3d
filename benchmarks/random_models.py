"""Models of a config with random variables, and clips of random people: what benchmarks run on."""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.models.build import Model, build_model
from stvh_jax.models.shapes import example_clips, variable_shapes

# Numbers of classes are those of the Volleyball Dataset.
ACTIVITIES, ACTIONS = 8, 9


class RandomClasses(NamedTuple):
    """The names of the classes, in the place of a data set's; none has a side."""

    activity_names: tuple[str, ...] = tuple(f"activity {place}" for place in range(ACTIVITIES))
    action_names: tuple[str, ...] = tuple(f"action {place}" for place in range(ACTIONS))


@dataclasses.dataclass(frozen=True)
class RandomModel:
    """A model of a config, its variables drawn at random, none of them trained.

    Attributes:
      config: the whole config.
      model: the module.
      variables: its collections, by name.
    """

    config: Config
    model: Model
    variables: dict


def random_model(config: Config, *, seed: int = 0) -> RandomModel:
    """Builds the model of a config and draws its variables.

    Those of a backbone, which the config would read from a file, are drawn like the others.
    """
    model = build_model(config.model, **RandomClasses()._asdict())
    variable_shapes(model, config)  # says so where the model is too large to build
    example = example_clips(config)
    initialise = jax.jit(lambda key: model.init({"params": key}, example, train=False))
    variables = dict(initialise(jax.random.key(seed)))
    variables.pop("intermediates", None)
    return RandomModel(config, model, variables)


def random_clips(config: Config, *, batch: int, seed: int = 0) -> Clips:
    """Draws a batch of clips that fit a config: people who walk, their classes, and noise to see.

    Returns:
      Clips of NumPy arrays, without names.
    """
    random = np.random.default_rng(seed)
    example = jax.eval_shape(lambda: example_clips(config))
    frames, actors = config.model.num_frames, config.model.num_actors
    centre = random.uniform(0.2, 0.8, (batch, 1, actors, 2))
    centre = centre + random.normal(0, 0.005, (batch, frames, actors, 2)).cumsum(axis=1)
    half = np.array([0.125, 0.035]) * random.uniform(0.5, 1.5, (batch, 1, actors, 1))
    boxes = np.clip(np.concatenate([centre - half, centre + half], axis=-1), 0, 1)

    def like(leaf, draw):
        return None if leaf is None else draw((batch, *leaf.shape[1:])).astype(leaf.dtype)

    return Clips(
        boxes=boxes.astype(np.float32),
        actor_mask=np.ones((batch, actors), bool),
        frames=like(example.frames, lambda shape: random.integers(0, 256, shape, np.uint8)),
        actor_features=like(example.actor_features, lambda shape: random.normal(size=shape)),
        appearance=like(example.appearance, lambda shape: random.normal(size=shape)),
        activity=random.integers(0, ACTIVITIES, batch).astype(np.int32),
        action=random.integers(0, ACTIONS, (batch, actors)).astype(np.int32),
        clip_mask=np.ones(batch, bool),
    )
