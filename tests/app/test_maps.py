"""The map of an index's clips: principal components by their definition, at every focus."""

import json
import math

import numpy as np
import pytest

from stvh_jax.app.maps import CodeMap
from stvh_jax.app.samples import drawn
from stvh_jax.codes.bit_weights import laid_out
from stvh_jax.codes.packing import pack
from stvh_jax.errors import UserError
from stvh_jax.retrieval.index import Index
from tests.helpers.indexed_clips import (
    BITS,
    FOCI,
    LAYERS,
    random_codes,
    random_matrix,
    random_record,
)

CLIPS = 120
WEIGHTS = laid_out(bits=BITS, visual_bits=11, layers=LAYERS)
KINDS = {
    "a code for each focus": {"stored_foci": tuple(FOCI)},
    "some foci": {"stored_foci": (1, LAYERS)},
    "derived foci": {"stored_foci": (0, LAYERS), "filter_matrix": random_matrix()},
    "bit weights": {"stored_foci": (LAYERS,), "bit_weights": WEIGHTS},
}


def clustered_codes(clips, seed=0):
    """Draws codes around a few centres, so that the first two components stand out."""
    random = np.random.default_rng(seed)
    centres = random.random((len(FOCI), 4, BITS)) < 0.5
    group = random.integers(0, 4, clips)
    noise = random.random((len(FOCI), clips, BITS)) < 0.1
    return {focus: pack(centres[focus][group] ^ noise[focus]) for focus in FOCI}


@pytest.fixture(scope="module", params=list(KINDS))
def filled(request, tmp_path_factory):
    """Gives an index and its clips' stored codes, in the order of its table."""
    folder = tmp_path_factory.mktemp("maps") / "index"
    index = Index.create(folder, bits=BITS, **KINDS[request.param])
    index.add(clustered_codes(CLIPS), **random_record(CLIPS))
    table = index.clips()
    names = list(zip(table["match"].to_pylist(), table["clip"].to_pylist()))
    return index, table, names, index.get(names)[0]


def squared(points):
    """Gives the squared distances of all pairs, pair by pair."""
    return np.array([((points - each) ** 2).sum(axis=1) for each in points])


def distances_of_codes(index, stored, focus):
    """Gives the distances at a focus of all pairs of clips, bit by bit."""
    info = index.info
    weights = np.ones(BITS) if info.bit_weights is None else info.bit_weights.weights[focus]
    codes = np.unpackbits(info.codes_of(focus, stored), axis=1)
    return np.array([[(weights * (a != b)).sum() for b in codes] for a in codes], float)


def best_in_two_dimensions(distances):
    """Classical scaling: the squared distances in the plane that keeps the most of them."""
    size = len(distances)
    centring = np.eye(size) - 1 / size
    values, vectors = np.linalg.eigh(-centring @ distances @ centring / 2)
    return squared(vectors[:, -2:] * np.sqrt(values[-2:]))


def test_layouts_are_the_best_of_the_distances_at_their_focus(filled):
    index, table, names, stored = filled
    made = CodeMap.of(index, table)
    assert made.names == names and made.foci == index.foci
    assert made.layouts.shape == (len(index.foci), CLIPS, 2) and made.layouts.dtype == np.float32
    for focus, layout in zip(index.foci, made.layouts):
        inner = (np.abs(layout) < 1).all(axis=1)  # what is beyond the border stands on it
        assert inner.sum() >= 0.97 * CLIPS
        expected = best_in_two_dimensions(distances_of_codes(index, stored, focus))
        found = squared(layout.astype(float))[inner][:, inner]
        factor = found.max() / expected[inner][:, inner].max()  # both axes have one scale
        np.testing.assert_allclose(found, factor * expected[inner][:, inner], atol=1e-4)


def test_no_turn_or_reflection_is_nearer_to_the_layout_before(filled):
    index, table, _, _ = filled
    layouts = CodeMap.of(index, table).layouts.astype(float)
    for before, after in zip(layouts, layouts[1:]):
        # Aligned as they were before points were put on the border: turns of clipped points differ.
        inner = (np.abs(before) < 1).all(axis=1) & (np.abs(after) < 1).all(axis=1)
        before, after = before[inner], after[inner]
        kept = (before * after).sum()
        for angle in np.linspace(0, 2 * math.pi, 73):
            turn = np.array(
                [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
            )
            for mirror in (1, -1):
                moved = (after * [mirror, 1]) @ turn
                assert (before * moved).sum() <= kept + 0.02 * np.abs(before * after).sum()


def test_clips_of_the_map_are_placed_where_they_stand(filled):
    index, table, names, _ = filled
    made = CodeMap.of(index, table)
    chosen = [5, 3, 77]
    codes, _ = index.get([names[place] for place in chosen])
    np.testing.assert_array_equal(made.place(codes), made.layouts[:, chosen])


def test_most_clips_stand_well_within_the_map_and_none_beyond(filled):
    index, table, _, _ = filled
    for layout in CodeMap.of(index, table).layouts:
        assert np.abs(layout).max() <= 1
        assert np.quantile(np.linalg.norm(layout, axis=1), 0.98) <= 0.9 + 1e-6
        assert np.linalg.norm(layout, axis=1).max() >= 0.9 - 1e-6


def test_the_order_of_clips_does_not_matter(filled):
    index, table, _, _ = filled
    order = np.random.default_rng(3).permutation(CLIPS)
    one, other = CodeMap.of(index, table), CodeMap.of(index, table.take(order))
    np.testing.assert_allclose(other.layouts, one.layouts[:, order], atol=1e-5)
    assert other.groups == [one.groups[place] for place in order]


def test_json_holds_the_map(filled):
    index, table, _, _ = filled
    made = CodeMap.of(index, table)
    values = json.loads(json.dumps(made.to_json()))
    flat = np.array(values["layouts"]) / values["unit"]
    assert np.abs(flat.reshape(made.layouts.shape) - made.layouts).max() <= 0.5001 / values["unit"]
    matches = [values["matches"][place] for place in values["match"]]
    assert list(zip(matches, values["clip"])) == made.names
    labels = [None if place < 0 else values["labels"][place] for place in values["label"]]
    given, predicted = table["activity"].to_pylist(), table["predicted"].to_pylist()
    assert labels == made.groups == [a or b for a, b in zip(given, predicted)]
    assert values["predicted"] == [int(a is None) for a in given]
    counts = [labels.count(label) for label in values["labels"]]
    assert counts == sorted(counts, reverse=True)


def test_marks_name_the_query_and_rank_the_hits(filled):
    index, table, names, _ = filled
    made = CodeMap.of(index, table)
    codes, _ = index.get(names[:3])
    query, *hits = made.marks({focus: own[:1] for focus, own in codes.items()}, codes, names[:3])
    assert query["kind"] == "query" and query["places"] == hits[0]["places"]
    assert [(hit["kind"], hit["rank"]) for hit in hits] == [("hit", 1), ("hit", 2), ("hit", 3)]
    assert [(hit["match"], hit["clip"]) for hit in hits] == names[:3]
    for place, hit in enumerate(hits):
        np.testing.assert_allclose(hit["places"], made.layouts[:, place], atol=5.1e-4)
    assert made.marks(None, codes, names[:3]) == hits


def test_codes_of_another_length_are_refused(filled):
    index, table, _, _ = filled
    with pytest.raises(UserError, match="this index has 24"):
        CodeMap.of(index, table).place({focus: np.zeros((1, 2), np.uint8) for focus in FOCI})


@pytest.mark.parametrize("clips", [0, 1, 2, 3])
def test_few_clips(tmp_path, clips):
    index = Index.create(tmp_path / "index", bits=BITS, stored_foci=tuple(FOCI))
    if clips:
        index.add(random_codes(clips), match=["m"] * clips, clip=range(clips))
    made = CodeMap.of(index, index.clips())
    assert made.layouts.shape == (len(FOCI), clips, 2) and np.isfinite(made.layouts).all()
    assert made.groups == [None] * clips and made.to_json()["label"] == [-1] * clips
    if clips == 2:  # on a line, as far to the one side as to the other
        np.testing.assert_allclose(np.linalg.norm(made.layouts, axis=2), 0.9, atol=1e-6)


def test_equal_codes_stand_in_the_middle(tmp_path):
    index = Index.create(tmp_path / "index", bits=BITS, stored_foci=(LAYERS,), bit_weights=WEIGHTS)
    index.add(np.tile(np.array([[1, 2, 3]], np.uint8), (50, 1)), match="m", clip=range(50))
    np.testing.assert_allclose(CodeMap.of(index, index.clips()).layouts, 0, atol=1e-6)


@pytest.mark.parametrize(("count", "most"), [(0, 5), (4, 5), (5, 5), (6, 5), (1000, 7), (999, 998)])
def test_places_are_drawn_evenly(count, most):
    for seed in range(20):
        places = drawn(count, most, seed=seed)
        assert len(places) == min(count, most) == len(set(places.tolist()))
        assert (np.diff(places) > 0).all() and (places < count).all()
        if count > most:  # one of each range, as equal as they can be
            for number, place in enumerate(places.tolist()):
                assert number * count // most <= place < (number + 1) * count // most
        assert (places == drawn(count, most, seed=seed)).all()
