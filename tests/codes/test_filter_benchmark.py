"""The benchmark of filter matrices: what it counts and what bounds it."""

import numpy as np
import pytest

from benchmarks.filter_matrix import COLUMNS, Parts, judge, markdown, predict_bits, rows
from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.inference.encoded_clips import EncodedClips

pytestmark = pytest.mark.slow


def random_codes(seed, clips, width=1):
    return np.random.default_rng(seed).integers(0, 256, (clips, width)).astype(np.uint8)


def clips_of(codes):
    """Makes clips of these codes by focus: two activities in turn, three matches in runs."""
    size = len(codes[0])
    return EncodedClips(
        codes=codes,
        activity_scores=np.zeros((size, 2), np.float32),
        activity_scores_from_code=np.zeros((size, 2), np.float32),
        action_scores=np.zeros((size, 1, 1), np.float32),
        activity=np.arange(size) % 2,
        action=np.zeros((size, 1), int),
        match=(np.arange(size) * 3 // size).astype(str),
        clip=np.arange(size).astype(str),
        frame=np.arange(size),
    )


def known_parts():
    """Makes 31 clips whose codes of focus 1 are derived by a known F, those of focus 0 at will."""
    known = FilterMatrix(2 * np.random.default_rng(0).integers(0, 2, (1, 24, 24)) - 1, 2)
    stored = random_codes(1, 31, 3)
    codes = {0: random_codes(2, 31, 3), 1: known.derive(stored, 1), 2: stored}
    everything = clips_of(codes)
    first, rest = (
        clips_of({focus: values[where] for focus, values in codes.items()})
        for where in (slice(11), slice(11, None))
    )
    return known, Parts(first, rest, everything)


def test_logistic_regressions_find_what_is_linear_in_the_bits():
    stored, others = random_codes(3, 307, 2), random_codes(4, 101, 2)

    def derive(codes):
        """Turns the first byte round, and adds a byte that never changes."""
        return np.stack([~codes[:, 0], np.full(len(codes), 0b10100000, np.uint8)], axis=1)

    predicted = predict_bits(stored, derive(stored), others)
    np.testing.assert_array_equal(predicted, derive(others))


def test_rows_of_a_focus():
    known, parts = known_parts()
    other = FilterMatrix(np.eye(24, dtype=int)[None], 2, "real")
    table = {row[0]: row[1:] for row in rows(parts, {"known": known, "other": other}, 1)}
    assert list(table) == ["own", "known", "known, queries' own codes", "other"] + [
        "logistic regressions", "commoner value of each bit",
    ]  # fmt: skip
    own = parts.with_codes(1, lambda codes: codes[1])
    assert table["own"] == (1, 1, *judge(own, 1), 48, 0)
    # F derives the very codes, which changes nothing but what is stored.
    assert table["known"] == (*table["own"][:4], 24, 24 * 24)
    assert table["known, queries' own codes"][2] == table["own"][2]
    bits = np.unpackbits(parts.queries.codes[1] ^ other.derive(parts.queries.codes[2], 1))
    assert table["other"][1] == 1 - bits.mean()
    assert table["other"][4:] == (24, 16 * 24 * 24)
    assert table["logistic regressions"][5] is None
    ones = np.unpackbits(parts.base.codes[1], axis=1).mean(axis=0)
    constant = table["commoner value of each bit"]
    np.testing.assert_allclose(constant[0], np.maximum(ones, 1 - ones).mean())
    # Each of 31 clips is a query, and the 30 others are equally near to it: the share of its match
    # among the first i is that of one hit at i and of the rest evenly among the 29 others.
    precisions = []
    for match in parts.everything.match:
        others = int((parts.everything.match == match).sum()) - 1
        at_rank = [(1 + (i - 1) * (others - 1) / 29) / i for i in range(1, 11)]
        precisions.append(others / 30 * sum(at_rank) / min(10, others))
    np.testing.assert_allclose(constant[3], np.mean(precisions))


def test_the_code_of_focus_0_can_be_cut():
    known, parts = known_parts()
    *_, cut = rows(parts, {"known": known}, 0)
    codes = parts.with_codes(0, lambda codes: codes[0][:, :2])
    assert cut == ("own, first 16 bits", None, None, *judge(codes, 0), 24 + 16, 0)


def test_markdown_of_rows():
    lines = markdown([("own", 1.0, 0.12345, None, 0.5, 128, 0)]).splitlines()
    assert lines[0].count("|") == lines[1].count("|") == len(COLUMNS) + 1
    assert lines[2] == "| own | 100.0 | 12.3 | – | 50.0 | 128 | 0 |"
