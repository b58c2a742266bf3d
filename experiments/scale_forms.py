"""Forms of one code for all foci, fitted to what a trained model makes of its training clips.

    c = sign(x), x = h A + e B + o

h is the model's relaxed code of the activity, e its whitened features of what a clip shows. Each
form is trained by the same graded loss: focus i finds the activity with weight i / L and the match
with weight 1 - i / L, by SupCon of real-valued queries against bits, whose gradient goes through
the sign. The forms differ in what a focus is: weights of the bits, some of the bits, or another
code that a matrix derives, sign(c F_i).
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax

from stvh_jax.codes.bit_weights import laid_out

_STEPS, _LEARNING_RATE = 1500, 1e-3
# Of SupCon; those by which the parts are trained by themselves.
_OF_MATCH, _OF_ACTIVITY = 0.03, 0.1
# Of a batch: matches, clips of each, the share of a difference by which a match is moved at most,
# and the noise on a clip, as in `training.visual_fitting`.
_MATCHES, _MEMBERS, _MOVE, _NOISE = 64, 8, 0.5, 2.0 / 32
# How often a bit of mean weight is repeated in the codes that are judged: weights are rounded.
_REPEATS = 8

Params = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a graded model makes of M clips.

    Attributes:
      activity: `[M, A]`, h.
      embedded: `[M, E]`, e, with a mean square of one over the training clips.
      visual: `[M, V]`, the visual bits before the sign.
    """

    activity: np.ndarray
    embedded: np.ndarray
    visual: np.ndarray

    @property
    def bits(self) -> int:
        """K, the bits of the code."""
        return self.activity.shape[1] + self.visual.shape[1]


@dataclasses.dataclass(frozen=True)
class Scale:
    """One code for all foci 0..L: the signs that are compared at each focus, and their weights.

    Attributes:
      signs: by focus, from parts to `[M, B]`, true for 1.
      weights: `[B]` of each focus.
    """

    signs: Callable[[Parts], list[np.ndarray]]
    weights: list[np.ndarray]

    def codes(self, parts: Parts, place: float) -> np.ndarray:
        """Gives packed codes whose Hamming distances are those at a place from 0 to 1.

        Between two foci their distances are blended.
        """
        last = len(self.weights) - 1
        lower = min(int(place * last + 1e-9), last - 1)
        above = place * last - lower
        signs, joined = self.signs(parts), []
        for focus, share in ((lower, 1 - above), (lower + 1, above)):
            weights = self.weights[focus] / self.weights[focus].mean()
            times = np.rint(_REPEATS * share * weights).astype(int)
            joined.append(np.repeat(signs[focus], times, axis=1))
        return np.packbits(np.concatenate(joined, axis=1), axis=1)


def fit_all(
    parts: Parts, activities: np.ndarray, matches: np.ndarray, *, layers: int, seed: int = 0
) -> dict[str, Scale]:
    """Fits every form to training clips.

    Args:
      parts: what the model makes of them.
      activities: the number of each clip's activity.
      matches: the number of each clip's match.
      layers: L.
      seed: of what is drawn at random.
    """

    def fit(kind: Callable[..., _LaidOut]) -> Scale:
        return _fit(kind(parts, layers, np.random.RandomState(seed)), parts, draw, seed)

    draw = _drawing(parts, activities, matches)
    as_trained = _as_trained(parts, layers)
    return {
        "weights of bits, laid out (the model's own code)": as_trained,
        "the same, both parts trained together": fit(_LaidOut),
        "weights of bits, learned": fit(_LearnedWeights),
        "some of the bits (F of 0 and 1), laid out": _selected(parts, layers, seed),
        "some of the bits (F of 0 and 1), learned": fit(_LearnedSelection),
        "derived by F, learned jointly": fit(_Derived),
    }


def _as_trained(parts: Parts, layers: int) -> Scale:
    """The model's own code: bits of the activity, then visual bits, and their laid-out weights."""
    weights = _laid_out(parts, layers)

    def signs(parts: Parts) -> list[np.ndarray]:
        return [_own_signs(parts)] * (layers + 1)

    return Scale(signs, list(weights))


def _own_signs(parts: Parts) -> np.ndarray:
    return np.concatenate([parts.activity, parts.visual], axis=1) >= 0


def _laid_out(parts: Parts, layers: int) -> np.ndarray:
    """The weights `[L + 1, K]` of a laid-out code, with a mean of one."""
    visual = parts.visual.shape[1]
    weights = laid_out(bits=parts.bits, visual_bits=visual, layers=layers).weights
    return weights / weights.mean(axis=1, keepdims=True)


def _selected(parts: Parts, layers: int, seed: int) -> Scale:
    """Some bits of the model's own code: i / L of those of the activity, 1 - i / L visual ones."""
    rng = np.random.RandomState(seed)
    activity, visual = parts.activity.shape[1], parts.visual.shape[1]
    orders = rng.permutation(activity), activity + rng.permutation(visual)
    weights = []
    for focus in range(layers + 1):
        taken = np.zeros(parts.bits)
        for order, share in zip(orders, (focus / layers, 1 - focus / layers)):
            taken[order[: round(share * len(order))]] = 1
        weights.append(taken)
    return Scale(lambda parts: [_own_signs(parts)] * (layers + 1), weights)


class _LaidOut:
    """The last bits read e, those before them h; their weights are laid out."""

    def __init__(self, parts: Parts, layers: int, rng: np.random.RandomState):
        self.weights = _laid_out(parts, layers)
        is_activity = np.arange(parts.bits) < parts.activity.shape[1]
        self.of_activity = jnp.asarray(is_activity, jnp.float32)
        self.params = _start(parts, rng)

    def values(self, params: Params, activity, embedded):
        of_activity = (activity @ params["activity"]) * self.of_activity[None]
        of_visual = (embedded @ params["embedded"]) * (1 - self.of_activity)[None]
        return of_activity + of_visual + params["offset"][None]

    def foci(self, params: Params, values):
        """Gives of each focus the values before the sign, and the weights of the bits."""
        return [(values, jnp.asarray(weights, jnp.float32)) for weights in self.weights]


class _Free(_LaidOut):
    """Every bit reads h and e."""

    def values(self, params: Params, activity, embedded):
        shown = embedded @ params["embedded"]
        return activity @ params["activity"] + shown + params["offset"][None]


class _LearnedWeights(_Free):
    """A focus weighs the bits; the weights are learned."""

    def __init__(self, parts: Parts, layers: int, rng: np.random.RandomState):
        super().__init__(parts, layers, rng)
        drawn = 0.1 * rng.randn(layers + 1, parts.bits)
        self.params["weights"] = jnp.asarray(drawn, jnp.float32)

    def foci(self, params: Params, values):
        weights = jax.nn.softplus(3 * params["weights"])
        weights = weights / weights.mean(axis=1, keepdims=True)
        return [(values, each) for each in weights]


class _LearnedSelection(_LearnedWeights):
    """A focus is some of the bits; which is learned."""

    def foci(self, params: Params, values):
        soft = jax.nn.sigmoid(4 * params["weights"])
        hard = soft + jax.lax.stop_gradient((params["weights"] >= 0) - soft)
        return [(values, each) for each in hard]


class _Derived(_Free):
    """Each focus but the last has a code of its own, sign(c F_i), which is not stored."""

    def __init__(self, parts: Parts, layers: int, rng: np.random.RandomState):
        super().__init__(parts, layers, rng)
        drawn = np.eye(parts.bits) + 0.05 * rng.randn(layers, parts.bits, parts.bits)
        self.params["factors"] = jnp.asarray(drawn, jnp.float32)

    def foci(self, params: Params, values):
        same = jnp.ones(values.shape[1])
        signs, _ = _signs(values)
        return [*((signs @ factor, same) for factor in params["factors"]), (values, same)]


def _start(parts: Parts, rng: np.random.RandomState) -> Params:
    sizes = {"activity": parts.activity.shape[1], "embedded": parts.embedded.shape[1]}
    return {
        **{
            name: jnp.asarray(rng.randn(size, parts.bits) / np.sqrt(size), jnp.float32)
            for name, size in sizes.items()
        },
        "offset": jnp.zeros(parts.bits),
    }


def _fit(form: _LaidOut, parts: Parts, draw: Callable, seed: int) -> Scale:
    """Trains a form on what is drawn of parts."""
    optimizer = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, _STEPS))

    def step(carry, key):
        params, state = carry
        gradient = jax.grad(functools.partial(_loss, form))(params, draw(key))
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def run(params):
        keys = jax.random.split(jax.random.key(seed), _STEPS)
        (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), keys)
        return params

    params = run(form.params)

    def foci(parts: Parts):
        values = form.values(params, jnp.asarray(parts.activity), jnp.asarray(parts.embedded))
        return form.foci(params, values)

    weights = [np.asarray(each, np.float64) for _, each in foci(parts)]
    return Scale(lambda parts: [np.asarray(values >= 0) for values, _ in foci(parts)], weights)


def _drawing(parts: Parts, activities: np.ndarray, matches: np.ndarray) -> Callable:
    """Gives what draws a batch: matches with some of their clips, each match moved elsewhere."""
    activity, embedded = (jnp.asarray(each) for each in (parts.activity, parts.embedded))
    labels, order = jnp.asarray(activities), np.argsort(matches, kind="stable")
    counts = np.bincount(matches)
    starts = jnp.asarray(np.cumsum(counts) - counts)
    clips_of, counts = jnp.asarray(order), jnp.asarray(counts)

    def draw(key):
        keys = jax.random.split(key, 5)
        chosen = jax.random.randint(keys[0], (_MATCHES,), 0, len(counts))
        places = jax.random.randint(keys[1], (_MATCHES, _MEMBERS), 0, counts[chosen, None])
        clips = clips_of[starts[chosen, None] + places].ravel()
        pairs = embedded[jax.random.randint(keys[2], (2, _MATCHES), 0, len(embedded))]
        share = _MOVE * jax.random.uniform(keys[3], (_MATCHES, 1))
        moved = jnp.repeat(share * (pairs[0] - pairs[1]), _MEMBERS, axis=0)
        noise = jax.random.normal(keys[4], moved.shape) * jnp.sqrt(moved.shape[1])
        shown = embedded[clips] + moved + _NOISE * noise
        match = jnp.repeat(jnp.arange(_MATCHES), _MEMBERS)
        return activity[clips], shown, labels[clips], match

    return draw


def _loss(form: _LaidOut, params: Params, batch) -> jax.Array:
    """The graded loss, and the correlation of the bits."""
    activity, embedded, activities, matches = batch
    of_foci = form.foci(params, form.values(params, activity, embedded))
    last = len(of_foci) - 1
    total = jnp.zeros(())
    for focus, (values, weights) in enumerate(of_foci):
        if focus == 0 or values is not of_foci[0][0]:  # once for each code
            total += _correlation(values)
        if focus < last:
            total += (1 - focus / last) * _supcon(values, weights, matches, _OF_MATCH)
        if focus > 0:
            total += (focus / last) * _supcon(values, weights, activities, _OF_ACTIVITY)
    return total


def _signs(values):
    """Gives the sign, with the gradient of the tanh, and the tanh."""
    relaxed = jnp.tanh(values / jnp.sqrt((values**2).mean() + 1e-9))
    return relaxed + jax.lax.stop_gradient(jnp.where(values >= 0, 1.0, -1.0) - relaxed), relaxed


def _correlation(values) -> jax.Array:
    _, relaxed = _signs(values)
    correlation = relaxed.T @ relaxed / len(relaxed)
    across = correlation - jnp.diag(jnp.diag(correlation))
    return values.shape[1] * (across**2).mean()


def _supcon(values, weights, labels, temperature: float) -> jax.Array:
    """SupCon of real-valued queries against bits, both weighed."""
    signs, _ = _signs(values)
    queries = values * weights[None]
    queries = queries / (jnp.linalg.norm(queries, axis=1, keepdims=True) + 1e-6)
    similar = queries @ signs.T / jnp.sqrt(values.shape[1]) / temperature
    itself = jnp.eye(len(labels), dtype=bool)
    log_shares = jax.nn.log_softmax(jnp.where(itself, -jnp.inf, similar), axis=1)
    positive = (labels[:, None] == labels[None]) & ~itself
    attraction = -jnp.where(positive, log_shares, 0).sum(axis=1)
    return (attraction / jnp.maximum(positive.sum(axis=1), 1)).mean()


def scaled(parts: Mapping[str, Parts], training: str) -> dict[str, Parts]:
    """Gives parts whose embedded features have a mean square of one over the training clips."""
    scale = np.sqrt((parts[training].embedded ** 2).mean())
    return {
        name: dataclasses.replace(each, embedded=each.embedded / scale)
        for name, each in parts.items()
    }
