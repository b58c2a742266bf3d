"""The shapes of a model, found without allocating anything, and the sizes that none may pass.

A config may come from anybody, and each of its fields may be in its range while the model of all of
them together would fill any machine.
"""

import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.errors import UserError
from stvh_jax.models.build import Model

# Numbers in all parameters of a model, and in the largest array that one clip makes it compute:
# 4 and 8 GiB in float32. The paper's largest model has 0.09 and 0.6 thousand millions.
MOST_PARAMETERS = 1 << 30
MOST_NUMBERS = 1 << 31


def example_clips(config: Config) -> Clips:
    """Makes one clip of zeros, with the shapes of `config`, to initialise a model with."""
    frames, actors = config.model.num_frames, config.model.num_actors
    pixels = features = appearance = None
    if config.model.source == "frames":
        pixels = jnp.zeros((1, frames, *config.data.image_size, 3), jnp.uint8)
    if config.model.source == "features":
        features = jnp.zeros((1, frames, actors, config.model.features))
    if config.model.source == "boxes_and_appearance":
        appearance = jnp.zeros((1, 1, config.model.appearance_channels))
    return Clips(
        boxes=jnp.zeros((1, frames, actors, 4)),
        actor_mask=jnp.ones((1, actors), bool),
        clip_mask=jnp.ones((1,), bool),
        frames=pixels,
        actor_features=features,
        appearance=appearance,
    )


def variable_shapes(model: Model, config: Config) -> dict:
    """Computes the shapes and types of a model's variables.

    Returns:
      A `jax.ShapeDtypeStruct` in the place of each variable.

    Raises:
      UserError: the model is absurdly large, or has parts that cannot be built together.
    """

    def initialise(key):
        variables = dict(model.init({"params": key}, example_clips(config), train=False))
        variables.pop("intermediates", None)
        return variables

    computed, shapes = jax.make_jaxpr(initialise, return_shape=True)(jax.random.key(0))
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    if parameters > MOST_PARAMETERS:
        raise UserError(
            f"the model of this config has {parameters:.2g} parameters, more than "
            f"{MOST_PARAMETERS:.2g}; lower config.model.features, layers or bits"
        )
    largest = max(map(math.prod, _computed_shapes(computed.jaxpr)), default=0)
    if largest > MOST_NUMBERS:
        raise UserError(
            f"the model of this config makes arrays of {largest:.2g} numbers of one clip, more "
            f"than {MOST_NUMBERS:.2g}; lower config.data.image_size, num_frames or num_actors, or "
            "config.model.features, or set config.model.frames_per_chunk=1"
        )
    return shapes


def _computed_shapes(jaxpr) -> Iterator[tuple[int, ...]]:
    """Lists the shapes of all arrays that a computation makes on its way."""
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            yield variable.aval.shape
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if _is_jaxpr(inner):
                yield from _computed_shapes(getattr(inner, "jaxpr", inner))


def _is_jaxpr(value) -> bool:
    return hasattr(getattr(value, "jaxpr", value), "eqns")
