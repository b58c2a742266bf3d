"""Graphs, and the canonical order against loops and by their properties."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax.models import graphs

# Compiled, and thereby also open to NumPy arrays.
box_iou = jax.jit(graphs.box_iou)
temporal_graph = jax.jit(graphs.temporal_graph)
spatial_graph = jax.jit(graphs.spatial_graph, static_argnames="form")
canonical_order = jax.jit(graphs.canonical_order, static_argnames="key_frame")
reorder = jax.jit(graphs.reorder, static_argnames="axis")
restore_order = jax.jit(graphs.restore_order, static_argnames="axis")

B, T, N = 3, 5, 7
MASK = np.arange(N) < np.array([[7], [4], [1]])
FORMS = ("normalised", "literal")


@pytest.fixture
def boxes():
    rng = np.random.default_rng(0)
    low, extent = rng.uniform(0, 0.7, (B, T, N, 2)), rng.uniform(0.02, 0.3, (B, T, N, 2))
    return np.concatenate([low, low + extent], -1).astype(np.float32)


def loop_iou(first, second):
    height = max(min(first[2], second[2]) - max(first[0], second[0]), 0)
    width = max(min(first[3], second[3]) - max(first[1], second[1]), 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    union = sum(areas) - height * width
    return height * width / union if union else 0.0


def loop_spatial_graph(boxes, mask, form):
    graph = np.zeros((B, T, N, N))
    for b, t in np.ndindex(B, T):
        valid = np.flatnonzero(mask[b])
        std = boxes[b, t, valid].std(0)
        for i in valid:
            for j in valid:
                total = 0.0
                for c in range(4):
                    difference = boxes[b, t, i, c] - boxes[b, t, j, c]
                    if std[c] > 0 and form == "normalised":
                        total += (difference / std[c]) ** 2
                    elif std[c] > 0:
                        total += difference**2 / std[c]
                graph[b, t, i, j] = 1 - math.sqrt(total)
    return graph


def test_iou_by_hand():
    unit = [0.0, 0.0, 1.0, 1.0]
    cases = [
        (unit, unit, 1.0),
        (unit, [0.0, 0.5, 1.0, 1.0], 1 / 2),
        (unit, [0.5, 0.5, 1.5, 1.5], 1 / 7),
        ([0.0, 0.0, 2.0, 1.0], [1.0, 0.0, 3.0, 1.0], 1 / 3),
        (unit, [1.0, 0.0, 2.0, 1.0], 0.0),  # they touch
        (unit, [3.0, 3.0, 4.0, 4.0], 0.0),
        (unit, [0.5, 0.5, 0.5, 0.5], 0.0),  # one is empty
        ([0.5] * 4, [0.5] * 4, 0.0),  # 0 / 0
        (unit, [0.8, 0.8, 0.2, 0.2], 0.0),  # runs backwards
    ]
    first, second, expected = (jnp.array(column) for column in zip(*cases))
    np.testing.assert_allclose(box_iou(first, second), expected, rtol=1e-6)
    np.testing.assert_allclose(box_iou(second, first), expected, rtol=1e-6)


def test_temporal_graph_equals_the_loop(boxes):
    graph = np.asarray(temporal_graph(boxes))
    expected = np.zeros((B, N, T, T))
    for b, j, now, before in np.ndindex(expected.shape):
        if before <= now:
            expected[b, j, now, before] = loop_iou(boxes[b, now, j], boxes[b, before, j])
    assert (expected > 0).mean() > 0.2
    np.testing.assert_allclose(graph, expected, atol=1e-6)


def test_temporal_graph_of_an_actor_at_rest_and_of_none(boxes):
    still = np.broadcast_to(boxes[:, :1], boxes.shape)
    lower = np.broadcast_to(np.tril(np.ones((T, T))), (B, N, T, T))
    np.testing.assert_array_equal(temporal_graph(still), lower)
    assert not np.asarray(temporal_graph(np.zeros_like(boxes))).any()


@pytest.mark.parametrize("form", FORMS)
def test_spatial_graph_equals_the_loop(boxes, form):
    boxes[0, :, :, 1] = 0.25  # a coordinate without spread
    graph = np.asarray(spatial_graph(boxes, MASK, form=form))
    expected = loop_spatial_graph(boxes.astype(np.float64), MASK, form)
    np.testing.assert_allclose(graph, expected, rtol=2e-5, atol=2e-6)
    np.testing.assert_array_equal(graph, np.swapaxes(graph, 2, 3))


def test_spatial_graph_by_hand():
    # Two actors: the standard deviation is half the difference, each coordinate adds 2^2.
    boxes = jnp.array([[[[0.0, 0.0, 0.5, 0.25], [0.25, 0.5, 1.0, 1.0]]]])
    mask = jnp.ones((1, 2), bool)
    np.testing.assert_allclose(spatial_graph(boxes, mask)[0, 0], [[1, -3], [-3, 1]], rtol=1e-6)
    # As printed, each adds d^2 / (d / 2) = 2 d, and the differences add up to 2.
    literal = spatial_graph(boxes, mask, form="literal")[0, 0]
    np.testing.assert_allclose(literal, [[1, -1], [-1, 1]], rtol=1e-6)


def test_normalised_distances_have_no_unit_and_no_origin(boxes):
    mask = np.ones((B, N), bool)
    graph = spatial_graph(boxes, mask)
    np.testing.assert_allclose(spatial_graph(boxes * 4 + 1, mask), graph, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="form is 'euclidean'; choose one of normalised, literal"):
        spatial_graph(boxes, mask, form="euclidean")


@pytest.mark.parametrize("form", FORMS)
def test_whatever_stands_in_a_padded_slot_changes_nothing(boxes, form):
    graph = np.asarray(spatial_graph(boxes, MASK, form=form))
    filled = np.where(MASK[:, None, :, None], boxes, np.float32(np.nan))
    np.testing.assert_array_equal(spatial_graph(filled, MASK, form=form), graph)
    count = MASK[1].sum()
    alone = spatial_graph(boxes[1:2, :, :count], MASK[1:2, :count], form=form)
    np.testing.assert_allclose(graph[1:2, :, :count, :count], alone, rtol=1e-5, atol=1e-6)
    padded = ~(MASK[:, None, :, None] & MASK[:, None, None, :])
    assert not graph[np.broadcast_to(padded, graph.shape)].any()
    gradient = jax.grad(lambda boxes: spatial_graph(boxes, MASK, form=form).sum())(filled)
    assert np.isfinite(gradient).all()


def test_graphs_follow_a_permutation_of_the_actors(boxes):
    places = np.random.default_rng(1).permutation(N)
    spatial = np.asarray(spatial_graph(boxes, MASK))
    permuted = spatial_graph(boxes[:, :, places], MASK[:, places])
    np.testing.assert_allclose(permuted, spatial[:, :, places][..., places], rtol=1e-5, atol=1e-6)
    temporal = np.asarray(temporal_graph(boxes))
    np.testing.assert_array_equal(temporal_graph(boxes[:, :, places]), temporal[:, places])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [0, 1, 2, N])
@pytest.mark.parametrize("case", ["equal", "empty", "zero"])
def test_gradients_are_finite_in_degenerate_frames(boxes, form, count, case):
    if case == "equal":
        boxes[:] = boxes[:, :1, :1]
    elif case == "empty":
        boxes[..., 2:] = boxes[..., :2]
    else:
        boxes[:] = 0
    mask = np.broadcast_to(np.arange(N) < count, (B, N))

    def total(boxes):
        spatial, temporal = spatial_graph(boxes, mask, form=form), temporal_graph(boxes)
        return jnp.square(spatial).sum() + jnp.square(temporal).sum()

    value, gradient = jax.value_and_grad(total)(boxes)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_canonical_order_equals_sorting(boxes):
    order = np.asarray(canonical_order(boxes, MASK, key_frame=3))
    for b in range(B):
        centre = (boxes[b, 3, :, 1] + boxes[b, 3, :, 3]) / 2
        valid = sorted(np.flatnonzero(MASK[b]), key=lambda place: centre[place])
        assert order[b].tolist() == valid + np.flatnonzero(~MASK[b]).tolist()


def test_canonical_order_breaks_ties_by_the_other_coordinates():
    key_boxes = jnp.array(
        [
            [0.5, 0.25, 0.75, 0.5],
            [0.25, 0.25, 0.5, 0.5],  # as the first, but higher up
            [0.25, 0.125, 0.5, 0.625],  # the same centre, wider: smaller x_min
            [0.125, 0.125, 0.625, 0.625],  # as wide, taller: smaller y_min
            [0.0, 0.0, 1.0, 0.25],  # left of all
        ]
    )
    boxes = jnp.broadcast_to(key_boxes, (1, 2, 5, 4))
    order = canonical_order(boxes, jnp.ones((1, 5), bool), key_frame=1)
    assert order.tolist() == [[4, 3, 2, 1, 0]]


def test_the_order_of_the_list_does_not_matter(boxes):
    places = np.random.default_rng(2).permutation(N)
    shuffled, shuffled_mask = boxes[:, :, places], MASK[:, places]
    results = []
    for listed, mask in ((boxes, MASK), (shuffled, shuffled_mask)):
        filled = np.where(mask[:, None, :, None], listed, np.float32(np.nan))
        order = canonical_order(filled, mask, key_frame=2)
        sorted_mask = reorder(mask, order, axis=1)
        sorted_boxes = reorder(filled, order, axis=2)
        results.append(np.where(sorted_mask[:, None, :, None], sorted_boxes, 0))
        np.testing.assert_array_equal(sorted_mask, np.sort(mask)[:, ::-1])
        np.testing.assert_array_equal(restore_order(sorted_boxes, order, axis=2), filled)
        np.testing.assert_array_equal(restore_order(sorted_mask, order, axis=1), mask)
    np.testing.assert_array_equal(*results)


def test_reorder_equals_indexing():
    rng = np.random.default_rng(3)
    order = np.stack([rng.permutation(N) for _ in range(B)])
    values = rng.normal(size=(B, T, N, 2)).astype(np.float32)
    expected = np.stack([values[b][:, order[b]] for b in range(B)])
    np.testing.assert_array_equal(reorder(values, order, axis=2), expected)
    actions = rng.integers(9, size=(B, N))
    expected = np.stack([actions[b][order[b]] for b in range(B)])
    np.testing.assert_array_equal(reorder(actions, order, axis=1), expected)
