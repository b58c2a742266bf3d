"""How alike two arrangements of people are: a measure that needs no labels, and a loss from it.

A person is a point: where it stands among the others, how large it is, how much taller than its
place in the picture lets expect, and how it moves; all in heights of people, so that neither the
place nor the zoom of the camera counts. An arrangement is the set of its points,
and the distance of two is that of their means in the space of a kernel (Gretton et al., "A Kernel
Two-Sample Test", JMLR 2012): no person is matched with another, and any numbers can be compared.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# What each of a person's numbers weighs beside where it stands: width, height, how much taller than
# expected; and the most that motion is enlarged, so that what is measured of people who stand still
# does not count.
_WIDTH, _HEIGHT, _TALLER, _MOST_MOTION = 1.0, 0.5, 4.0, 100.0
_SMALL = 1e-4
# The logit of what is left out of a softmax.
_LEFT_OUT = -1e9


def describe_people(
    boxes: Float[Array, "B T N 4"], actor_mask: Bool[Array, "B N"], *, aspect: float
) -> Float[Array, "B N F"]:
    """Describes each person of an arrangement, in mean heights; zeros for padded actors.

    Means over the frames: the middle of the bottom side, x and y, less its mean over the people;
    width and height; the height less what a line through the heights over y lets expect there, as
    people look smaller far away. And of each of T > 1 frames, the motion (`_motion`), enlarged so
    that the people of all clips differ as much in it as in the rest. F is 5 or 5 + 4 T.

    Args:
      boxes: in 0..1 of the frame.
      actor_mask: true for actors.
      aspect: the width of the frame over its height.
    """
    weights = actor_mask / jnp.maximum(actor_mask.sum(axis=1, keepdims=True), 1)

    def mean(values: Float[Array, "B N"]) -> Float[Array, "B 1"]:
        return (values * weights).sum(axis=1, keepdims=True)

    top, left, bottom, right = jnp.moveaxis(boxes, -1, 0)
    x, y, width, height = (
        values.mean(axis=1)
        for values in (aspect * (left + right) / 2, bottom, aspect * (right - left), bottom - top)
    )
    size = jnp.maximum(mean(height), _SMALL)
    lower = y - mean(y)
    slope = mean(lower * (height - size)) / (mean(lower**2) + _SMALL)
    taller = height - size - slope * lower
    described = [
        x - mean(x),
        lower,
        _WIDTH * width,
        _HEIGHT * height,
        _TALLER * taller,
    ]
    people = jnp.stack(described, axis=-1) / size[..., None]
    if boxes.shape[1] > 1:
        motion = _motion(boxes, weights, aspect=aspect)
        enlarged = _variety(people, actor_mask) / jnp.maximum(_variety(motion, actor_mask), _SMALL)
        motion *= jnp.minimum(enlarged, _MOST_MOTION)
        people = jnp.concatenate([people, motion], axis=-1)
    return jnp.where(actor_mask[..., None], people, 0)


def _variety(people: Float[Array, "B N F"], actor_mask: Bool[Array, "B N"]) -> Float[Array, ""]:
    """Computes how far people are from the mean of all, summed over the numbers."""
    mask = actor_mask[..., None]
    count = jnp.maximum(actor_mask.sum(), 1)
    mean = jnp.where(mask, people, 0).sum(axis=(0, 1), keepdims=True) / count
    return jnp.where(mask, jnp.abs(people - mean), 0).sum() / count


def _motion(
    boxes: Float[Array, "B T N 4"], weights: Float[Array, "B N"], *, aspect: float
) -> Float[Array, "B N F"]:
    """Describes how each person moves, in each frame, in its own mean heights; F is 4 T.

    The centre, y and x, the height and the width, less their means over the frames; less the mean
    of the same over the people, which is the camera's motion.
    """
    top, left, bottom, right = jnp.moveaxis(boxes, -1, 0)
    seen = jnp.stack(
        [(top + bottom) / 2, aspect * (left + right) / 2, bottom - top, aspect * (right - left)],
        axis=-1,
    )
    height = jnp.maximum((bottom - top).mean(axis=1, keepdims=True), _SMALL)
    moved = (seen - seen.mean(axis=1, keepdims=True)) / height[..., None]
    moved = moved - (moved * weights[:, None, :, None]).sum(axis=2, keepdims=True)
    batch, frames, slots, _ = boxes.shape
    return jnp.moveaxis(moved, 1, 2).reshape(batch, slots, 4 * frames) / frames


def distances(
    people: Float[Array, "B N F"], actor_mask: Bool[Array, "B N"], *, reach: float
) -> Float[Array, "B B"]:
    """Computes the squared distances of arrangements, as the kernel's means of them.

    With k(p, q) = exp(-|p - q|_1 / reach) and E the mean over the people of two clips,
    d_ij = E k(p_i, p_i') + E k(p_j, p_j') - 2 E k(p_i, p_j). A clip of nobody is at 0.

    Args:
      people: of each clip.
      actor_mask: true for actors.
      reach: how far apart two people may stand and still be alike, in the units of `people`.
    """
    batch, slots, _ = people.shape
    weights = actor_mask / jnp.maximum(actor_mask.sum(axis=1, keepdims=True), 1)
    points = jnp.moveaxis(people.reshape(batch * slots, -1), -1, 0)
    apart = sum(jnp.abs(number[:, None] - number[None, :]) for number in points)
    kernel = jnp.exp(-apart / reach) * weights.reshape(1, -1)
    by_clip = (kernel.reshape(batch, slots, -1) * weights[..., None]).sum(axis=1)
    means = by_clip.reshape(batch, batch, slots).sum(axis=2)
    own = jnp.diagonal(means)
    return own[:, None] + own[None, :] - 2 * means


def arrangement_loss(
    views: tuple[Float[Array, "B K"], Float[Array, "B K"]],
    apart: Float[Array, "B B"],
    clip_mask: Bool[Array, "B"],
    *,
    sharpness: float,
    temperature: float,
) -> Float[Array, "B"]:
    """Computes how little codes tell which clips have like arrangements.

    Per clip i, over all other clips j, with u and v its views, m_i the mean
    distance of clip i to others, and t the softmax of -d_ij / (sharpness sqrt(m_i m_j)): the mean
    over both directions of the cross-entropy -sum_j t_j log softmax_j(u_i.v_j / temperature). The
    scale by sqrt(m_i m_j) is that of Zelnik-Manor and Perona, "Self-Tuning Spectral Clustering",
    NIPS 2004: no clip is far from all others.

    Args:
      views: unit vectors for two views of each clip.
      apart: d, the distances of the clips.
      clip_mask: false for clips that only pad the batch.
      sharpness: of the target; of 256 clips, 0.035 has about ten that count.
      temperature: divides the cosines.
    """
    one, other = views
    others = clip_mask[None, :] & ~jnp.eye(len(one), dtype=bool)
    count = jnp.maximum(others.sum(axis=1), 1)
    mean = jnp.maximum(jnp.where(others, apart, 0).sum(axis=1) / count, _SMALL**2)
    scaled = apart / (sharpness * jnp.sqrt(mean[:, None] * mean[None, :]))
    target = jax.nn.softmax(jnp.where(others, -scaled, _LEFT_OUT), axis=1)
    cosine = one @ other.T / temperature
    losses = [
        -jnp.where(others, target * jax.nn.log_softmax(jnp.where(others, each, _LEFT_OUT)), 0)
        for each in (cosine, cosine.T)
    ]
    return jnp.where(clip_mask, sum(each.sum(axis=1) for each in losses) / 2, 0)
