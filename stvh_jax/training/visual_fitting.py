"""Fits the visual bits of a graded code to what clips show: e = (x - m) W, v = e P + o.

With labels of matches, W makes the scatter of clips within their matches white, and P is trained so
that clips of one match are nearer than others (SupCon, Khosla et al. 2020), a real-valued query
against the bits of the others. Training matches are few, so each is shown at many places: all its
clips are moved together, by a share of the difference of two clips drawn at random. Without labels
groups of clips that look alike take the place of matches (`training.clip_groups`).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Shaped

from stvh_jax.codes.visual_maps import VisualMaps, fit_adaptation, padded
from stvh_jax.errors import UserError
from stvh_jax.training.clip_groups import group_alike

# Of the whitened features, how many say at most which clips look alike.
_ALIKE_FEATURES = 512
# Added to the variances before their inverse is taken, as a share of the largest.
_FLOOR = 1e-3
# Of a batch: groups, fewer where there are few clips, and members of each; the share of a
# difference that a group is moved by, at most; and the noise on a clip, in lengths of a clip, of
# which a projection to one bit leaves a small part.
_GROUPS, _MEMBERS, _MOVE, _NOISE = 96, 8, 0.5, 2.0 / 32
_STEPS, _LEARNING_RATE, _TEMPERATURE = 1500, 1e-3, 0.03
# What the correlation of the bits weighs beside SupCon.
_INDEPENDENCE = 1.0


def fit(
    views: Float[np.ndarray, "M S C"],
    matches: Shaped[np.ndarray, "M"],
    *,
    supervision: str,
    bits: int,
    features: int,
    seed: int = 0,
    steps: int = _STEPS,
) -> VisualMaps:
    """Fits the maps to training clips.

    Args:
      views: what S views of each clip show.
      matches: the name of each clip's match; read for "match" alone.
      supervision: "match", "instance" or "random", see `config.model.visual_supervision`.
      bits: V.
      features: E.
      seed: of what is drawn at random.
      steps: of the training of P.

    Raises:
      UserError: the clips are too few, or what they show is not finite.
    """
    views = np.asarray(views, np.float64)
    if not np.isfinite(views).all():
        raise UserError("what a training clip shows is not finite; no visual bits can be fitted")
    if len(views) < 2:
        raise UserError("there are fewer than two training clips; no visual bits can be fitted")
    pooled = views.mean(axis=1)
    mean, rng = pooled.mean(axis=0), np.random.RandomState(seed)
    if supervision == "random":
        scale = np.diag(1 / np.sqrt(pooled.var(axis=0) + 1e-5))[:, :features]
        drawn = rng.randn(features, bits) / np.sqrt(features)
        return _maps(mean, scale, drawn, np.zeros(bits))
    groups = np.unique(matches, return_inverse=True)[1]
    if supervision == "instance":
        directions = total_whitening(pooled - mean, min(features, _ALIKE_FEATURES))
        groups = group_alike((pooled - mean) @ directions, rng=rng)
        pooled, groups = pooled[groups >= 0], np.unique(groups[groups >= 0], return_inverse=True)[1]
        mean = pooled.mean(axis=0)
    whitening = within_whitening(pooled - mean, groups, features)
    embedded = (pooled - mean) @ whitening
    scale = np.sqrt((embedded**2).mean())
    if not scale > 0:
        raise UserError("all training clips show the same; no visual bits can be fitted")
    start = fit_adaptation(embedded, bits).projection
    projection, offset = _train(embedded / scale, groups, start, seed=seed, steps=steps)
    return _maps(mean, whitening / scale, projection, offset)


def _maps(*arrays: np.ndarray) -> VisualMaps:
    return VisualMaps(*(array.astype(np.float32) for array in arrays))


def within_whitening(
    pooled: Float[np.ndarray, "M C"], groups: Int[np.ndarray, "M"], features: int
) -> Float[np.ndarray, "C E"]:
    """Whitens the scatter within groups, among the principal directions of all clips."""
    _, _, directions = np.linalg.svd(pooled, full_matrices=False)
    directions = directions[:features].T
    reduced = pooled @ directions
    means = np.stack([reduced[groups == group].mean(axis=0) for group in range(groups.max() + 1)])
    # Padded last: directions without any scatter come out mixed, as they do on each machine.
    whitening = directions @ total_whitening(reduced - means[groups], directions.shape[1])
    return padded(whitening, features)


def total_whitening(rows: Float[np.ndarray, "n C"], features: int) -> Float[np.ndarray, "C E"]:
    """Gives the principal directions of centred rows, each divided by its standard deviation."""
    variances, directions = np.linalg.eigh(rows.T @ rows / len(rows))
    variances, directions = variances[::-1][:features], directions[:, ::-1][:, :features]
    scaled = directions / np.sqrt(np.maximum(variances, 0) + _FLOOR * max(variances[0], 1e-30))
    return padded(scaled, features)


def _train(
    embedded: Float[np.ndarray, "M E"],
    groups: Int[np.ndarray, "M"],
    start: Float[np.ndarray, "E V"],
    *,
    seed: int,
    steps: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Trains P and o by SupCon; see the beginning of this module."""
    clips = jnp.asarray(embedded, jnp.float32)
    # The clips of each group, in one table; a random number below their count chooses one.
    order, counts = np.argsort(groups, kind="stable"), np.bincount(groups)
    starts = np.cumsum(counts) - counts
    number = int(np.clip(len(groups) // _MEMBERS, 2, _GROUPS))
    tables = (jnp.asarray(order), jnp.asarray(starts), jnp.asarray(counts))
    draw = functools.partial(_draw, number, clips, *tables)
    optimizer = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, steps))
    params = {"projection": jnp.asarray(start, jnp.float32), "offset": jnp.zeros(start.shape[1])}

    def step(carry, key):
        params, state = carry
        gradient = jax.grad(_contrast)(params, draw(key))
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def run(params):
        keys = jax.random.split(jax.random.key(seed), steps)
        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)
        return params

    trained: Any = jax.device_get(run(params))
    return trained["projection"], trained["offset"]


def _draw(number: int, clips, order, starts, counts, key) -> Float[Array, "groups members E"]:
    """Draws groups with some of their members, each group moved to a place of its own."""
    keys, features = jax.random.split(key, 6), clips.shape[-1]
    chosen = jax.random.randint(keys[0], (number,), 0, len(counts))
    places = jax.random.randint(keys[1], (number, _MEMBERS), 0, counts[chosen, None])
    members = clips[order[starts[chosen, None] + places]]
    pairs = clips[jax.random.randint(keys[3], (2, number), 0, len(clips))]
    share = _MOVE * jax.random.uniform(keys[4], (number, 1))
    moved = members + (share * (pairs[0] - pairs[1]))[:, None]
    # Features are scaled to a mean square of one: a clip is as long as the root of their number.
    noise = _NOISE * jnp.sqrt(features) * jax.random.normal(keys[5], members.shape)
    return moved + noise


def _contrast(params, members: Float[Array, "groups members E"]) -> Float[Array, ""]:
    """Computes SupCon of real-valued queries against bits, and the correlation of the bits."""
    groups, count, _ = members.shape
    values = members.reshape(groups * count, -1) @ params["projection"] + params["offset"][None]
    relaxed = jnp.tanh(values / jnp.sqrt((values**2).mean()))
    # The sign, with the gradient of what it is the sign of.
    signs = relaxed + jax.lax.stop_gradient(jnp.where(values >= 0, 1.0, -1.0) - relaxed)
    queries = values / jnp.linalg.norm(values, axis=1, keepdims=True)
    bits = signs.shape[1]
    similar = queries @ signs.T / jnp.sqrt(bits) / _TEMPERATURE
    label = jnp.repeat(jnp.arange(groups), count)
    itself = jnp.eye(len(label), dtype=bool)
    log_shares = jax.nn.log_softmax(jnp.where(itself, -jnp.inf, similar), axis=1)
    positive = (label[:, None] == label[None]) & ~itself
    attraction = -jnp.where(positive, log_shares, 0).sum(axis=1) / (count - 1)
    correlation = relaxed.T @ relaxed / len(relaxed)
    across = correlation - jnp.diag(jnp.diag(correlation))
    return attraction.mean() + _INDEPENDENCE * bits * (across**2).mean()
