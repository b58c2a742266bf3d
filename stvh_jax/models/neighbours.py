"""What a model of boxes is told of movement and of neighbours, all in heights of the actor's box.

A step is then as long near the camera as far from it, and a neighbour is as near.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# Heights are taken to be at least this long, in frame heights.
SMALLEST_HEIGHT = 1e-3
# Movements are in tenths of a height over the clip, and no description is larger than its bound.
TENTHS, MOST_MOVEMENT, MOST_OFFSET = 10.0, 10.0, 5.0
# The distance of a neighbour that there is not, and the radii within which others are counted.
NOWHERE, RADII = 20.0, (1, 2, 4)


def describe_movement(
    boxes: Float[Array, "B T N 4"], actor_mask: Bool[Array, "B N"]
) -> Float[Array, "B T N 13"]:
    """Describes how each actor moves over the clip, alike in all frames.

    The slope s of the line through its box centres (y, x); |s|; s less its mean over the valid
    actors, which takes the camera's motion out, and the size of that; the speed |s| and its
    logarithm; how fast the box grows; and what is left of the movement (y, x) beside the line.
    Zeros for padded actors.
    """
    valid, num_frames = actor_mask[:, None, :, None], boxes.shape[1]
    height, middle = _heights(boxes), _middles(boxes)
    centre = jnp.concatenate([(boxes[..., 0:1] + boxes[..., 2:3]) / 2, middle], axis=-1)
    mean_height = height.mean(axis=1, keepdims=True)
    time = _unit_time(num_frames)
    slope = (centre * time).sum(axis=1, keepdims=True)
    line = centre.mean(axis=1, keepdims=True) + slope * time
    beside = jnp.sqrt(((centre - line) ** 2).mean(axis=1, keepdims=True) + 1e-10)
    slope, beside = TENTHS * slope / mean_height, TENTHS * beside / mean_height
    growth = TENTHS * (jnp.log(height) * time).sum(axis=1, keepdims=True)
    count = jnp.maximum(valid.sum(axis=2, keepdims=True), 1)
    own = slope - jnp.where(valid, slope, 0).sum(axis=2, keepdims=True) / count
    speed = jnp.sqrt((slope**2).sum(axis=-1, keepdims=True) + 1e-8)
    described = jnp.concatenate(
        [slope, abs(slope), own, abs(own), speed, jnp.log(speed + 0.05), growth, beside], axis=-1
    )
    described = jnp.clip(described, -MOST_MOVEMENT, MOST_MOVEMENT)
    return jnp.where(valid, jnp.repeat(described, num_frames, axis=1), 0)


def describe_neighbours(
    boxes: Float[Array, "B T N 4"], actor_mask: Bool[Array, "B N"], *, count: int
) -> Float[Array, "B T N F"]:
    """Describes the nearest other actors, F = 12 count + 3.

    The distance is that of the feet (y, x) and of the logarithms of heights. For each of the
    `count` nearest: the logarithm of the distance; whether there is such an actor; its offset
    (y, x), logarithm of heights' ratio and relative movement (y, x), each also without its sign.
    Then the number of others within 1, 2 and 4, in fives. Zeros for padded actors.
    """
    height = _heights(boxes)
    feet = jnp.concatenate([boxes[..., 2:3], _middles(boxes)], axis=-1)
    time = _unit_time(boxes.shape[1])
    mean_height = height.mean(axis=1, keepdims=True)
    movement = TENTHS * (feet * time).sum(axis=1, keepdims=True) / mean_height
    offset = (feet[:, :, None] - feet[:, :, :, None]) / height[:, :, :, None]
    ratio = jnp.log(height[..., 0][:, :, None] / height)
    distance = jnp.sqrt((offset**2).sum(axis=-1) + ratio**2 + 1e-8)
    itself = jnp.eye(boxes.shape[2], dtype=bool)[None, None]
    distance = jnp.where(actor_mask[:, None, None, :] & ~itself, distance, NOWHERE)
    relative = movement[:, :, None] - movement[:, :, :, None]
    values = jnp.concatenate(
        [offset, ratio[..., None], jnp.broadcast_to(relative, offset.shape)], axis=-1
    )
    values = jnp.clip(values, -MOST_OFFSET, MOST_OFFSET)
    described, left = [], distance
    for _ in range(count):
        # The least of what is left, again and again: a sort would be many times slower.
        nearest = jnp.argmin(left, axis=-1, keepdims=True)
        far = jnp.take_along_axis(distance, nearest, axis=-1)
        is_there = far < NOWHERE
        taken = jnp.take_along_axis(values, nearest[..., None], axis=3)[:, :, :, 0]
        taken = jnp.where(is_there, taken, 0)
        described += [jnp.log(far + 0.1), is_there, taken, abs(taken)]
        places = jnp.arange(left.shape[-1])[None, None, None]
        left = jnp.where(places == nearest, 2 * NOWHERE, left)
    within = [(distance < radius).sum(axis=-1, keepdims=True) / 5 for radius in RADII]
    return jnp.where(
        actor_mask[:, None, :, None], jnp.concatenate([*described, *within], axis=-1), 0
    )


def _unit_time(num_frames: int) -> Float[Array, "1 T 1 1"]:
    """Numbers frames around zero, scaled to length one: a product with it gives a slope."""
    time = jnp.arange(num_frames) - (num_frames - 1) / 2
    return (time / jnp.maximum(jnp.linalg.norm(time), 1e-6))[None, :, None, None]


def _heights(boxes: Float[Array, "B T N 4"]) -> Float[Array, "B T N 1"]:
    return jnp.maximum(boxes[..., 2:3] - boxes[..., 0:1], SMALLEST_HEIGHT)


def _middles(boxes: Float[Array, "B T N 4"]) -> Float[Array, "B T N 1"]:
    return (boxes[..., 1:2] + boxes[..., 3:4]) / 2
