"""The researcher's tab: equal to loops over all pairs, all clips and all ranks."""

import collections
import itertools
import threading

import numpy as np
import pytest
import scipy.stats

from stvh_jax.app import samples
from stvh_jax.app.beside import Side, beside, compared
from stvh_jax.app.research import Research
from stvh_jax.errors import NotFound, UserError
from stvh_jax.retrieval.index import Index
from tests.app.test_maps import KINDS, clustered_codes, distances_of_codes
from tests.helpers.indexed_clips import BITS, FOCI, LAYERS, random_record

CLIPS = 150
SCALES = (0, 0.4, 1)


def record_of(clips):
    """Draws a record of clips that overlap others of their match, one match without times."""
    record, random = random_record(clips), np.random.default_rng(4)
    record["start"] = [
        None if match == "9" else float(start)
        for match, start in zip(record["match"], random.integers(0, 40, clips))
    ]
    record["stop"] = [None if start is None else start + 3 for start in record["start"]]
    names = ("spike", "set", "pass", "")
    record["predicted"] = [names[place] or None for place in random.integers(0, 4, clips)]
    return record


@pytest.fixture(scope="module", params=[kind for kind in KINDS if kind != "some foci"])
def filled(request, tmp_path_factory):
    """Gives an index, and each of its clips as a dict with its codes."""
    folder = tmp_path_factory.mktemp("research") / "index"
    index = Index.create(folder, bits=BITS, **KINDS[request.param])
    index.add(clustered_codes(CLIPS), **record_of(CLIPS))
    table = index.clips()
    clips = table.to_pylist()
    stored, _ = index.get([(clip["match"], clip["clip"]) for clip in clips])
    for place, clip in enumerate(clips):
        clip["place"] = place
        clip["name"] = clip["match"], clip["clip"]
        clip["label"] = clip["activity"] or clip["predicted"]
        clip["codes"] = {focus: codes[place : place + 1] for focus, codes in stored.items()}
    return index, table, clips


def distance_at(index, scale):
    """Gives a function of two clips: their distance in bits."""
    table, weights = index.clips(), index.info.bit_weights
    stored, _ = index.get(list(zip(table["match"].to_pylist(), table["clip"].to_pylist())))
    lower, share = divmod(scale * LAYERS, 1)
    total = (1 - share) * distances_of_codes(index, stored, int(lower))
    if share:
        total += share * distances_of_codes(index, stored, int(lower) + 1)
    bits = total / (1 if weights is None else weights.unit)
    return lambda one, other: float(bits[one["place"], other["place"]])


def research(index, table):
    return Research(index, table, threading.RLock())


@pytest.mark.parametrize("scale", SCALES)
def test_class_distances_are_means_of_all_pairs(filled, scale):
    index, table, clips = filled
    found = research(index, table).distances(scale)
    counts = collections.Counter(clip["label"] for clip in clips if clip["label"])
    assert dict(zip(found.names, found.counts)) == counts
    assert found.counts == sorted(found.counts, reverse=True) and found.left_out == 0
    predicted = collections.Counter(c["label"] for c in clips if c["label"] and not c["activity"])
    assert dict(zip(found.names, found.predicted)) == {name: predicted[name] for name in counts}
    distance = distance_at(index, scale)
    sums = collections.defaultdict(list)
    for one, other in itertools.combinations(clips, 2):
        sums[frozenset((one["label"], other["label"]))].append(distance(one, other))
    for (i, one), (j, other) in itertools.product(enumerate(found.names), repeat=2):
        expected = np.mean(sums[frozenset((one, other))])
        assert found.matrix[i, j] == pytest.approx(expected, rel=1e-9)


def test_the_nearest_have_the_strongest_shade(filled):
    index, table, _ = filled
    found = research(index, table).distances(1)
    shades = np.array(found.shades)
    assert shades.min() == 0 and shades.max() == 9
    order = np.argsort(found.matrix, axis=None)
    assert (np.diff(shades.ravel()[order]) <= 0).all()


def overlap(one, other):
    return (
        one["match"] == other["match"]
        and one["match"] != "9"  # of which no times are known
        and one["start"] < other["stop"]
        and other["start"] < one["stop"]
    )


@pytest.mark.parametrize("scale", SCALES)
def test_failures_are_those_of_a_full_sort(filled, scale):
    index, table, clips = filled
    found, distance = research(index, table).failures(scale), distance_at(index, scale)
    by_name = {clip["name"]: clip for clip in clips}
    assert collections.Counter(query.label for query in found.queries).most_common() == [
        ("set", 30), ("spike", 30), ("pass", sum(clip["label"] == "pass" for clip in clips)),
    ]  # fmt: skip
    for query in found.queries:
        own = by_name[query.name]
        assert query.label == own["label"]
        others = [each for each in clips if each is not own and not overlap(own, each)]
        # Of equal distances, in the order of their names, in which they are.
        others.sort(key=lambda each: round(distance(own, each), 9))
        assert query.found == [(each["name"], each["label"]) for each in others[:10]]
        right = sum(each["label"] == query.label for each in others[:10])
        assert query.precision == pytest.approx(right / 10)


def test_failures_are_counted_by_activity(filled):
    index, table, _ = filled
    found = research(index, table).failures(1)
    precisions = [each.precision for each in found.classes]
    assert precisions == sorted(precisions)
    for each in found.classes:
        own = [query for query in found.queries if query.label == each.name]
        assert each.queries == len(own)
        assert each.precision == pytest.approx(sum(query.precision for query in own) / len(own))
        hits = [label for query in own for _, label in query.found]
        instead = sorted([hits.count(x) for x in set(hits) - {each.name}], reverse=True)
        assert [round(share * len(hits)) for _, share in each.instead] == instead[:3]
        assert all(hits.count(x) == round(share * len(hits)) for x, share in each.instead)
        lowest = sorted(query.precision for query in own if query.precision < 1)
        assert [query.precision for query in each.worst] == lowest[:5]
        for other in found.classes:
            pairs = found.found_as(each.name, other.name)
            assert sum(len(names) for _, names in pairs) == hits.count(other.name)
            sizes = [len(names) for _, names in pairs]
            assert sizes == sorted(sizes, reverse=True) and 0 not in sizes


def test_results_are_kept_to_hundredths_of_a_focus(filled):
    index, table, _ = filled
    kept = research(index, table)
    assert kept.distances(0.5) is kept.distances(0.5001) is not kept.distances(0.51)
    assert kept.failures(1) is kept.failures(1.0) is not kept.distances(1)
    with pytest.raises(UserError, match="from 0, visual, to 1"):
        kept.distances(1.5)


def test_others_have_their_turn_between_searches(filled):
    index, table, clips = filled

    class Turn:
        depth = held = 0

        def __enter__(self):
            self.depth += 1
            self.held += 1
            assert self.depth == 1

        def __exit__(self, *_):
            self.depth -= 1

    turn = Turn()
    queries = Research(index, table, turn).failures(0).queries
    assert turn.depth == 0 and turn.held >= len(queries) + CLIPS // 128


def test_large_archives_are_sampled(filled, monkeypatch):
    index, table, clips = filled
    monkeypatch.setattr(samples, "MOST_CLIPS", 40)
    monkeypatch.setattr(samples, "MOST_CLASSES", 2)
    found = research(index, table).clips
    assert len(found.names) == 40 == len(set(found.names))
    labels = {clip["name"]: clip["label"] for clip in clips}
    drawn = [labels[name] for name in found.names]
    assert None not in drawn and len(found.classes) == 2 and found.left_out == 1
    classes = [found.classes[place] if place >= 0 else None for place in found.labels]
    assert classes == [label if label in found.classes else None for label in drawn]
    codes, _ = index.get(found.names)
    for focus, own in codes.items():
        np.testing.assert_array_equal(found.codes[focus], own)


def test_nothing_is_known_of_clips_without_activity(tmp_path):
    index = Index.create(tmp_path / "index", bits=BITS, stored_foci=tuple(FOCI))
    for _ in range(2):
        empty = research(index, index.clips())
        distances, failures = empty.distances(1), empty.failures(1)
        assert distances.names == () and distances.shades == [] and failures.classes == []
        index.upsert(clustered_codes(3), match="m", clip=[1, 2, 3])


def test_a_single_clip_has_no_distance_to_its_own_activity(tmp_path):
    index = Index.create(tmp_path / "index", bits=BITS, stored_foci=tuple(FOCI))
    index.add(clustered_codes(1), match="m", clip=[1], activity="set")
    found = research(index, index.clips())
    assert found.distances(1).shades == [[None]] and np.isnan(found.distances(1).matrix).all()
    (only,) = found.failures(1).classes
    assert (only.queries, only.precision, only.instead) == (1, 0, [])


@pytest.mark.parametrize("k", [1, 10, 400])
def test_two_foci_are_compared(filled, k):
    index, _, clips = filled
    for query in (clips[3], next(clip for clip in clips if clip["match"] == "9")):
        sides = Side("visual", index, 0), Side("activity", index, 1)
        found = beside(*sides, [query["name"]], threading.Lock(), k=k)
        lists = [[(hit.match, hit.clip) for hit in ranking.hits] for ranking in found.rankings]
        for names, scale in zip(lists, (0, 1)):
            distance = distance_at(index, scale)
            kept = [each for each in clips if each is not query and not overlap(query, each)]
            nearest = sorted(round(distance(query, each), 9) for each in kept)[:k]
            by_name = {each["name"]: each for each in kept}
            assert [round(distance(query, by_name[name]), 9) for name in names] == nearest
        check_comparison(found, *lists)


def check_comparison(found, one, other):
    common = [name for name in one if name in other]
    assert found.common == len(common)
    assert found.overlap == pytest.approx(len(common) / max(len(one), len(other)))
    for ranking, names, others in zip(found.rankings, (one, other), (other, one)):
        ranks = [others.index(name) + 1 if name in others else None for name in names]
        assert ranking.elsewhere == ranks
    if len(common) < 2:
        assert found.tau is None
    else:
        ranks = [[names.index(name) for name in common] for names in (one, other)]
        assert found.tau == pytest.approx(scipy.stats.kendalltau(*ranks).statistic)


def test_two_models_are_compared_by_the_names_of_clips(filled, tmp_path):
    index, _, clips = filled
    other = Index.create(tmp_path / "other", bits=BITS, stored_foci=(LAYERS,))
    names = [clip["name"] for clip in clips][:100]
    codes = {LAYERS: clustered_codes(100, seed=8)[LAYERS]}
    match, clip = zip(*names)
    other.add(codes, match=match, clip=clip)
    sides = Side("one", index, 1), Side("other", other, 1)
    found = beside(*sides, names[:2], threading.Lock(), k=60)
    check_comparison(found, *([(h.match, h.clip) for h in r.hits] for r in found.rankings))
    assert found.common > 1 and not {(h.match, h.clip) for h in found.rankings[1].hits} & set(
        names[:2]
    )
    with pytest.raises(NotFound, match="is not in the index"):
        beside(*sides, [clips[120]["name"]], threading.Lock())
    with pytest.raises(UserError, match="no clip to compare"):
        beside(*sides, [], threading.Lock())


def test_the_same_and_the_reverse_order(filled):
    index, _, clips = filled
    (hits,) = index.search(clips[0]["codes"], k=7)
    assert compared(("a", hits[:]), ("b", hits[:])).tau == 1
    assert compared(("a", hits[:]), ("b", hits[::-1])).tau == -1
    assert (
        compared(("a", hits[:]), ("b", [])).overlap == 0 == compared(("a", []), ("b", [])).overlap
    )
