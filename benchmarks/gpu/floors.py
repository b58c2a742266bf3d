"""What training and encoding must compute at least: operations counted from shapes.

An operation is a multiplication or an addition: a multiply-add is two. What a convolution would
multiply with the zeros that pad a map is left out, as XLA's own count does.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stvh_jax.config import Config
from stvh_jax.models.backbones.build import build_backbone
from stvh_jax.models.build import Model
from stvh_jax.models.shapes import example_clips


@dataclasses.dataclass(frozen=True)
class Count:
    """Operations of a computation.

    Attributes:
      convolutions: of each convolution, in the order in which they are computed.
      products: of each product of matrices.
    """

    convolutions: tuple[int, ...] = ()
    products: tuple[int, ...] = ()

    def __add__(self, other: "Count") -> "Count":
        return Count(self.convolutions + other.convolutions, self.products + other.products)

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.convolutions) + sum(self.products)


@dataclasses.dataclass(frozen=True)
class Work:
    """Operations of one clip.

    Attributes:
      forward: of the whole model, convolutions and products.
      floor: of the convolutions of the backbone alone.
      training: as `forward`, with those of the gradients.
      training_floor: as `floor`, with those of the gradients, if the backbone is trained.
    """

    forward: int
    floor: int
    training: int
    training_floor: int


def count(function: Callable, *arguments: Any) -> Count:
    """Counts the operations of a function; nothing is computed.

    A loop of a known length counts as often as it runs, any other once; of branches the one with
    the most operations counts.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr) -> Count:
    total = Count()
    for equation in jaxpr.eqns:
        name, shapes = equation.primitive.name, [v.aval.shape for v in equation.invars]
        inner = [_count(one) for one in _inner(equation.params)]
        if name == "conv_general_dilated":
            total += Count(convolutions=(_convolution(equation.params, *shapes),))
        elif name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            depth = math.prod(shapes[0][axis] for axis in contracted)
            total += Count(products=(2 * depth * math.prod(equation.outvars[0].aval.shape),))
        elif name == "scan":
            total += sum(inner * equation.params["length"], Count())
        elif name == "cond":
            total += max(inner, key=lambda branch: branch.total)
        else:
            total += sum(inner, Count())
    return total


def _convolution(params, maps, kernel) -> int:
    axes = params["dimension_numbers"]
    batch, _, *maps_axes = axes.lhs_spec
    features, channels, *kernel_axes = axes.rhs_spec
    pairs = maps[batch] * kernel[features] * kernel[channels]
    for place, (maps_axis, kernel_axis) in enumerate(zip(maps_axes, kernel_axes)):
        pairs *= _taps(
            maps[maps_axis],
            kernel[kernel_axis],
            params["window_strides"][place],
            params["padding"][place],
            params["lhs_dilation"][place],
            params["rhs_dilation"][place],
        )
    return 2 * pairs


def _taps(size, window, stride, padding, spread, dilation) -> int:
    """Counts along one axis how often a cell of the map is read, in all places of the window."""
    width = (size - 1) * spread + 1
    steps = (width + sum(padding) - (window - 1) * dilation - 1) // stride + 1
    read = np.arange(steps)[:, None] * stride + np.arange(window) * dilation - padding[0]
    return int(((read >= 0) & (read < width) & (read % spread == 0)).sum())


def _inner(params) -> list:
    def is_jaxpr(value) -> bool:
        return hasattr(getattr(value, "jaxpr", value), "eqns")

    leaves = jax.tree.leaves(list(params.values()), is_leaf=is_jaxpr)
    return [getattr(leaf, "jaxpr", leaf) for leaf in leaves if is_jaxpr(leaf)]


def count_backbone(backbone: dict[str, Any], image_size: tuple[int, int]) -> Count:
    """Counts the operations of a backbone on one frame; `backbone` is `config.model.backbone`."""
    module = build_backbone(**backbone)
    frame = jax.ShapeDtypeStruct((1, *image_size, 3), jnp.uint8)
    variables = jax.eval_shape(
        lambda frame: module.init(jax.random.key(0), frame, train=False), frame
    )
    return count(lambda *given: module.apply(*given, train=False), variables, frame)


def work_of(model: Model, config: Config) -> Work:
    """Counts the operations of one clip.

    A gradient takes twice what its forward pass does, half of it for the parameters and half for
    what came in. The pixels that come in need none, nor does a frozen backbone.
    """
    frames = config.model.num_frames
    backbone = count_backbone(dict(config.model.backbone), tuple(config.data.image_size))
    floor, first = frames * backbone.total, frames * backbone.convolutions[0]
    clips = jax.eval_shape(lambda: example_clips(config))
    variables = jax.eval_shape(
        lambda: model.init({"params": jax.random.key(0)}, example_clips(config), train=False)
    )
    forward = count(lambda *given: model.apply(*given, train=False), variables, clips).total
    training_floor = floor if config.model.freeze_backbone else 3 * floor - first
    return Work(
        forward=forward,
        floor=floor,
        training=3 * (forward - floor) + training_floor,
        training_floor=training_floor,
    )


def xla_count(lowered: jax.stages.Lowered) -> float | None:
    """Asks XLA for the operations of a computation, a second count, of all kinds together.

    It counts the body of a loop once. None where it cannot say.
    """
    analysis = lowered.cost_analysis()
    flops = analysis.get("flops") if isinstance(analysis, dict) else None
    return float(flops) if flops is not None and np.isfinite(flops) and flops > 0 else None
