"""The model's pieces in NumPy, and modules with every variable drawn at random."""

import jax
import numpy as np

from stvh_jax.models.config import ModelConfig
from tests.helpers.fakes import ACTIONS, ACTIVITIES


def model_config(**fields):
    """Makes the `ModelConfig` of the default fields but for these, for `ACTIVITIES`, `ACTIONS`."""
    classes = {"num_activities": len(ACTIVITIES), "num_actions": len(ACTIONS)}
    return ModelConfig.of({**ModelConfig.defaults(), **fields}, **classes)


def arrays(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def softmax(row, allowed):
    exponents = [np.exp(value) if ok else 0.0 for value, ok in zip(row, allowed)]
    return np.array(exponents) / sum(exponents)


def attend_by_loops(f, graph, allowed, params, *, product="matrix", weight=True):
    """Eq 4 for one clip and frame (or actor): f [S, D], graph [S, S], allowed [S, S]."""
    size, dim = f.shape
    query, key, value = (f @ params[name]["kernel"] for name in ("query", "key", "value"))
    moved = graph @ params["graph_weight"] if weight else graph
    visual, positional = np.zeros((size, size)), np.zeros((size, size))
    for i in range(size):
        scores = [query[i] @ key[j] / np.sqrt(dim) for j in range(size)]
        visual[i] = softmax(scores, allowed[i])
        positional[i] = softmax(moved[i], allowed[i])
    if product == "matrix":
        attention = visual @ positional
    else:
        attention = visual * positional
        attention /= attention.sum(axis=1, keepdims=True)
    return attention @ value


def layer_norm(f, params):
    mean, variance = f.mean(-1, keepdims=True), f.var(-1, keepdims=True)
    return (f - mean) / np.sqrt(variance + 1e-6) * params["scale"] + params["bias"]


def feed_forward(f, params):
    hidden = f @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    gelu = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
    return gelu @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]


def close_layer(f, attended, params, residual):
    if not residual:
        return feed_forward(attended, params["feed_forward"])
    f = f + attended
    return f + feed_forward(layer_norm(f, params["feed_forward_norm"]), params["feed_forward"])


def apply(module, variables, *inputs, **options):
    """Applies a module to NumPy inputs, compiled as a whole."""
    jitted = jax.jit(lambda variables, inputs: module.apply(variables, *inputs, **options))
    return jax.device_get(jitted(variables, inputs))


def drawn(module, *inputs, **options):
    """Draws every variable of a module at random: no starting point hides a mistake."""

    def initialise(inputs):
        return module.init(jax.random.key(0), *inputs, **options)

    leaves, tree = jax.tree.flatten(jax.eval_shape(initialise, inputs))
    # Running variances are variables as well, and positive.
    values = [
        np.abs(0.2 + 0.3 * arrays(i, *leaf.shape))
        if leaf.ndim == 1
        else 0.4 * arrays(i, *leaf.shape)
        for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(tree, values)
