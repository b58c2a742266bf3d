"""What the benchmarks of growth and of devices read off: exponents, operations and collectives."""

import math

import pytest

from benchmarks import devices, operations, ranking
from benchmarks.growth_report import Curve
from stvh_jax.evaluation import metrics

SIZES = operations.Sizes(
    batch=2, frames=3, actors=4, features=8, layers=2, bits=16, activities=5, actions=6
)


def test_exponents_are_those_of_the_large_end():
    sizes = [1, 2, 4, 8, 16]
    assert operations.slope(sizes, [7 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    # Flat at first, as where starting takes longest; then a square.
    assert operations.slope(sizes, [3, 3, 4, 16, 64]) == pytest.approx(2)
    assert math.isnan(operations.slope(sizes, [1, 1, 1, 0, 1]))


def test_what_grows_too_fast_is_named():
    sizes = [10, 20, 40]
    squares, lines = [size**2 for size in sizes], [size * 1.0 for size in sizes]
    curve = Curve("T", "encoding", sizes, squares, lines, squares, lines, 2, 1)
    assert curve.too_fast() == ["operations"]
    assert Curve("T", "x", sizes, squares, squares, None, None, 1, 1).too_fast() == [
        "memory",
        "time",
    ]


def test_operations_are_those_of_the_products_written_out():
    # An actor and a frame with one place to look at: 3 D^2, then D and 1 twice, each twice.
    alone = operations.Sizes(1, 1, 1, 8, 1, 16, 5, 6)
    assert operations.attention(alone, 1) == 2 * (3 * 64 + 2 * 8 + 2)
    shapes = [(24, 8, 8)]  # the embedding
    for places, sequences in ((3, 8), (4, 6)):
        for _ in range(SIZES.layers):
            shapes += 3 * [(24, 8, 8)]
            shapes += sequences * [(places, 8, places), (places, places, 8)]
            shapes += 2 * sequences * [(places, places, places)]
    shapes += SIZES.layers * [(24, 8, 16), (24, 16, 8), (2, 8, 16), (2, 16, 5)]
    shapes += [(2 * 4, 8, 6), (2, 8, 16)]
    assert operations.forward(SIZES) == sum(2 * math.prod(shape) for shape in shapes)


PROGRAM = """
  %a = (f32[3,4]{1,0}, s32[5]{0}) all-reduce(%x, %y), channel_id=1, to_apply=%sum
  %b = pred[128]{0} all-gather(%p), dimensions={0}
  %c = f32[] all-reduce-start(%q), channel_id=2
  %d = f32[] all-reduce-done(%c)
  %e = f32[2]{0} add(%all-reduce, %all-gather)
"""


def test_collectives_are_counted_with_their_bytes():
    assert devices.collectives(PROGRAM) == {
        "all-reduce": {"count": 2, "arrays": 3, "bytes": 4 * 12 + 4 * 5 + 4},
        "all-gather": {"count": 1, "arrays": 1, "bytes": 128},
    }


def test_the_peer_ranks_as_evaluation_does_but_for_ties():
    pytest.importorskip("torch")
    drawn = ranking.draw(30, 400)
    judged = metrics.retrieval_metrics(metrics.rank_by_label(*drawn).groups, ks=[ranking.K])
    worst, best = (judged[f"map@{ranking.K}/{end}_tie_order"] for end in ("worst", "best"))
    assert worst - 1e-6 <= ranking.peer(*drawn) <= best + 1e-6
    assert ranking.ours(*drawn) == judged[f"map@{ranking.K}"]
