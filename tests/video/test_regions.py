"""A region's file, and who is inside."""

import json

import numpy as np
import pytest
from matplotlib.path import Path

from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.video.regions import in_region, read_region

SQUARE = [[0.1, 0.2], [0.9, 0.2], [0.9, 0.8], [0.1, 0.8]]


@pytest.mark.parametrize(
    "values",
    [
        SQUARE,
        {"points": SQUARE},
        {"width": 1000, "height": 500, "points": [[1000 * x, 500 * y] for x, y in SQUARE]},
    ],
)
def test_regions_are_read(values, tmp_path):
    path = tmp_path / "region.json"
    path.write_text(json.dumps(values))
    np.testing.assert_allclose(read_region(path), SQUARE)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "3", "null", "[[0, 0], [1, 1]]", "[[0, 0], [1, 1], [0.5, 0.5]]",
     "[[0, 0], [1, 0], [1, NaN]]", "[[0, 0], [1, 0], [1, 1e999]]", "[[0, 0], [1, 0], [1, true]]",
     '[[0, 0], [1, 0], [1, "1"]]', "[[0, 0], [500, 0], [500, 400]]", "[[0, 0, 0], [1, 0], [1, 1]]",
     '{"width": 3, "points": [[0, 0], [1, 0], [1, 1]]}', "[" * 10**5, "[[0, 0]" + ", [0, 1]" * 2000,
     '{"width": 0, "height": 0, "points": [[0, 0], [1, 0], [1, 1]]}', "[[0, 0], [1, 0], [1, 1]",
     "[[0, 0], [1, 0], [1, " + "9" * 5000 + "]]", "[[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]", "\xff"],
)  # fmt: skip
def test_what_is_no_region_is_said_in_a_line(text, tmp_path):
    path = tmp_path / "region.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(Damaged, match="give a list of") as error:
        read_region(path)
    assert "\n" not in str(error.value)


def test_no_region(tmp_path):
    with pytest.raises(NotFound):
        read_region(tmp_path / "missing.json")
    with pytest.raises(UserError):
        read_region(tmp_path)


@pytest.mark.parametrize("seed", range(10))
def test_inside_is_what_another_library_says(seed):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 12)))
    lengths = rng.uniform(0.1, 0.5, len(angles))
    region = 0.5 + np.stack([lengths * np.cos(angles), lengths * np.sin(angles)], axis=1)
    points = rng.uniform(-0.2, 1.2, (500, 2))
    np.testing.assert_array_equal(in_region(points, region), Path(region).contains_points(points))
    assert in_region(region, region).all()
    assert in_region((region + np.roll(region, 1, axis=0)) / 2, region).all()
