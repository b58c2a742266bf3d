"""Standard transformer blocks against NumPy, and where position joins them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.models.box_features import describe_boxes
from stvh_jax.models.build import build_model
from stvh_jax.models.config import ATTENTION_HEADS
from stvh_jax.models.plain_fusion import PlainFusion, TransformerBlock
from stvh_jax.models.scene import Scene
from tests.helpers.fakes import ACTIONS, ACTIVITIES, random_clips, small_config
from tests.helpers.oracles import apply, drawn, feed_forward, layer_norm, model_config, softmax

D = 16


def block_by_loops(f, mask, params):
    """One clip: f [S, D], mask [S]."""
    normal = layer_norm(f, params["norm"])
    attention = params["attention"]
    mixed = np.zeros_like(f)
    for head in range(ATTENTION_HEADS):
        query, key, value = (
            normal @ attention[name]["kernel"][:, head] + attention[name]["bias"][head]
            for name in ("query", "key", "value")
        )
        for i in range(len(f)):
            scores = [query[i] @ key[j] / np.sqrt(D / ATTENTION_HEADS) for j in range(len(f))]
            mixed[i] += softmax(scores, mask) @ value @ attention["out"]["kernel"][head]
    f = f + mixed + attention["out"]["bias"]
    return f + feed_forward(layer_norm(f, params["feed_forward_norm"]), params["feed_forward"])


def test_a_block_is_the_standard_one():
    random = np.random.default_rng(0)
    features = random.normal(size=(2, 7, D)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1, 0]], bool)
    block = TransformerBlock(2, 0.0, np.dtype("float32"))
    variables = drawn(block, features, mask, train=False)
    actual = apply(block, variables, features, mask, train=False)
    for clip in range(2):
        expected = block_by_loops(features[clip], mask[clip], variables["params"])
        np.testing.assert_allclose(actual[clip], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("position", ["before", "after", "add", "concat"])
def test_where_position_joins(position):
    clips = random_clips(3, clips=2, frames=3)
    features = np.random.default_rng(4).normal(size=(2, 3, 5, D)).astype(np.float32)
    fusion = PlainFusion(model_config(position=position, layers=2))
    where = clips.boxes, clips.actor_mask
    in_space = np.zeros((2, 3, 5, 5), np.float32)
    scene = Scene(np.zeros((2, 5), np.int32), clips.actor_mask, clips.boxes, in_space)
    inputs = features, jax.tree.map(jnp.asarray, scene)
    variables = drawn(fusion, *inputs, train=False)
    actual = apply(fusion, variables, *inputs, train=False)

    params = variables["params"]
    described = describe_boxes(*map(jnp.asarray, where))
    described = np.asarray(described)
    place = described @ params["position"]["kernel"] + params["position"]["bias"]
    expected = features
    if position == "add":
        expected = expected + place
    if position == "concat":
        joined = np.concatenate([expected, place], axis=-1)
        expected = joined @ params["join"]["kernel"] + params["join"]["bias"]
    for layer in (1, 2):
        expected = expected + place if position == "before" else expected
        expected = np.stack(
            [
                block_by_loops(
                    expected[b].reshape(15, D),
                    np.tile(clips.actor_mask[b], 3),
                    params[f"layer_{layer}"],
                ).reshape(3, 5, D)
                for b in range(2)
            ]
        )
        expected = expected + place if position == "after" else expected
        valid = np.broadcast_to(clips.actor_mask[:, None], (2, 3, 5))
        np.testing.assert_allclose(
            np.asarray(actual[layer - 1])[valid], expected[valid], rtol=1e-3, atol=1e-3
        )


def test_features_that_do_not_divide_into_heads_are_said():
    fields = dict(small_config(position="before").model) | {"features": 20}
    with pytest.raises(
        UserError, match="^config.model.features is 20; position=before needs a mul"
    ):
        build_model(fields, activity_names=ACTIVITIES, action_names=ACTIONS)
