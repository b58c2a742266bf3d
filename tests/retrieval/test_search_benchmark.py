"""The benchmark of the search at tiny sizes: what it compares is right, its tables are whole."""

import numpy as np
import pytest

from benchmarks import search, search_clips, search_tables
from stvh_jax.codes.packing import hamming_distances

CLIPS, BITS = 400, 64


@pytest.fixture
def small_batches(monkeypatch):
    """Draws and scans in parts, as it does at full size."""
    monkeypatch.setattr(search_clips, "BATCH", 150)
    monkeypatch.setattr(search_clips, "CHUNK", 64)


@pytest.mark.parametrize("bits", [64, 128, 256])
@pytest.mark.parametrize("distinct", [None, 5])
def test_numpy_scan_is_brute_force(small_batches, bits, distinct):
    codes = search_clips.Clips.draw(CLIPS, bits, distinct).codes
    scan = search_clips.NumpyScan(codes)
    for query in (codes[7], codes[7] ^ 255, np.random.default_rng(0).bytes(bits // 8)):
        query = np.frombuffer(query, np.uint8)
        distances = hamming_distances(query[None], codes)[0]
        for k in (1, 10, CLIPS + 1):
            found_distances, found_rows = scan.nearest(query, k)
            order = np.lexsort((np.arange(CLIPS), distances))[:k]
            np.testing.assert_array_equal(found_rows, order)
            np.testing.assert_array_equal(found_distances, distances[order])


def test_brute_force_takes_the_first_of_equals_that_pass():
    distances = np.array([3, 1, 2, 1, 1, 0])
    passing = np.array([1, 0, 1, 1, 1, 0], bool)
    for k, expected in ((1, [3]), (2, [3, 4]), (3, [3, 4, 2]), (9, [3, 4, 2, 0])):
        found, rows = search_clips.brute_force(distances, passing, k)
        assert rows.tolist() == expected and found.tolist() == distances[expected].tolist()


def test_clips_are_drawn_the_same_again(small_batches):
    first, again = (list(search_clips.drawn(CLIPS, BITS, None)) for _ in range(2))
    assert [len(codes) for codes, _ in first] == [150, 150, 100]
    for (codes, record), (same_codes, same_record) in zip(first, again):
        np.testing.assert_array_equal(codes, same_codes)
        assert all((record[name] == same_record[name]).all() for name in record)
    clips = search_clips.Clips.draw(CLIPS, BITS, distinct=5)
    assert len(np.unique(clips.codes, axis=0)) == 5
    assert {share: len(mask) for share, mask in clips.masks.items()} == dict.fromkeys(
        search_clips.CONDITIONS, CLIPS
    )
    assert np.flatnonzero(np.diff(clips.masks["1/55"])).size == 2  # its rows are side by side


@pytest.mark.parametrize("bits", [64, 128])
def test_the_product_derives_the_same_codes(small_batches, bits):
    matrix, codes = search_clips.filter_matrix(bits), search_clips.Clips.draw(CLIPS, bits).codes
    for focus in range(search_clips.STORED):
        derived = search_clips.derive_by_product(matrix, codes, focus)
        np.testing.assert_array_equal(derived, matrix.derive(codes, focus))


@pytest.mark.soak
def test_all_is_measured_and_every_way_finds_the_right_clips(small_batches, monkeypatch, tmp_path):
    def in_this_process(step, uri, clips, bits, distinct):
        made = step == "build"
        return search.build(uri, clips, bits, distinct) if made else search.first_searches(uri)

    monkeypatch.setattr(search, "in_a_process", in_this_process)
    monkeypatch.setattr(search, "DERIVED_CLIPS", CLIPS)
    monkeypatch.setattr(search, "TURN", 0)
    results = search.measure(tmp_path, CLIPS, BITS, rounds=1)
    results["derivations"] = search.measure_derivation(BITS, rounds=1)
    assert [row["different_bits"] for row in results["derivations"]] == [0] * search_clips.STORED
    for one in results["comparisons"]:
        assert set(one["ways"]) > {
            "stored",
            "derived",
            "between",
            "linear",
            "without",
            *search_clips.CONDITIONS,
        }
        for way, scores in one["ways"].items():
            # Lance promises no order of equals.
            assert way == "Lance" or scores == {"recall": 1, "equal": 1}, (one["codes"], way)
    sections = search_tables.tables(results).split("\n\n")
    rows = [section.count("\n") - 1 for section in sections[1::2]]
    searches = len(search.QUERIES) * len(search.NEIGHBOURS)
    cases = 2 * len(search.NEIGHBOURS)
    assert rows == [searches, searches * len(search_clips.CONDITIONS), 1, cases, search.STORED]
    widths = {line.count("|") for line in sections[1].splitlines()}
    assert len(widths) == 1
