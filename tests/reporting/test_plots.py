import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from stvh_jax.reporting import plots

NAMES = ("spike", "pass", "set")


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_confusion_matrix_is_percent_of_the_actual_class():
    matrix = np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]])
    (axes,) = plots.confusion_matrix(matrix, NAMES, title="clips").axes
    # The class that never occurs has no percentages.
    assert texts(axes) == ["75.0", "25.0", "0.0", "0.0", "100.0", "0.0"]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(NAMES)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "actual")
    assert axes.get_title() == "clips"


def test_class_distances_leave_unknown_pairs_blank():
    distances = np.array([[1.5, 40.0, 7.0], [40.0, np.nan, 9.0], [7.0, 9.0, 0.0]])
    (axes,) = plots.class_distances(distances, NAMES, title="bits").axes
    assert texts(axes) == ["1.5", "40.0", "7.0", "40.0", "9.0", "7.0", "9.0", "0.0"]
    assert axes.images[0].get_clim() == (0, 40)


def test_losses_of_both_splits_share_a_panel():
    history = {
        "train/loss": [(1, 3.0), (2, 2.0), (3, 1.0)],
        "train/learning_rate": [(1, 1e-4), (2, 1e-5)],
        "validation/loss": [(3, 1.5)],
        "clips_per_second": [(1, 7.0)],
    }
    figure = plots.loss_curves(history)
    assert [axes.get_title() for axes in figure.axes] == [
        "loss", "learning rate", "clips per second",
    ]  # fmt: skip
    train, validation = figure.axes[0].lines
    np.testing.assert_array_equal(train.get_xydata(), history["train/loss"])
    np.testing.assert_array_equal(validation.get_xydata(), history["validation/loss"])
    assert train.get_color() != validation.get_color()
    assert train.get_linestyle() != validation.get_linestyle()
    legend = [text.get_text() for text in figure.legends[0].texts]
    assert legend == ["train", "validation"]
    assert plots.render(figure)


CURVES = {
    "0": {"n": [1, 2, 4], "precision": [1.0, 0.5, 0.5], "recall": [0.5, 0.5, 1.0]},
    "1": {"n": [1, 2, 4], "precision": [0.0, 0.5, 0.5], "recall": [0.0, 0.5, 1.0]},
}


def test_curves_of_a_ranking_have_three_panels():
    figure = plots.ranking_curves(CURVES, title="clips")
    precision, recall, both = figure.axes
    np.testing.assert_allclose(precision.lines[0].get_xydata(), [(1, 100), (2, 50), (4, 50)])
    np.testing.assert_allclose(recall.lines[1].get_xydata(), [(1, 0), (2, 50), (4, 100)])
    np.testing.assert_allclose(both.lines[0].get_xydata(), [(50, 100), (50, 50), (100, 50)])
    styles = {(line.get_color(), line.get_linestyle()) for line in both.lines}
    assert len(styles) == len({dashes for _, dashes in styles}) == 2
    assert [text.get_text() for text in figure.legends[0].texts] == ["0", "1"]


def test_focus_curves_leave_missing_foci_out():
    figure = plots.focus_curves([0.25, None, 0.96], [0.98, 0.5, None])
    activity, match = figure.axes[0].lines
    np.testing.assert_allclose(activity.get_xydata(), [(0, 25), (2, 96)])
    np.testing.assert_allclose(match.get_xydata(), [(0, 98), (1, 50)])
    assert texts(figure.axes[0]) == ["25.0", "96.0", "98.0", "50.0"]
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["0\nvisual", "1", "2\nactivity"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["same activity", "same match"]


def test_derived_codes_are_told_apart_by_more_than_colour():
    figure = plots.focus_curves([0.2, 0.9], [0.8, 0.1], derived=([0.7, 0.9], [None, 0.1]))
    *own, activity, match = figure.axes[0].lines
    np.testing.assert_allclose(activity.get_xydata(), [(0, 70), (1, 90)])
    np.testing.assert_allclose(match.get_xydata(), [(1, 10)])
    assert [line.get_linestyle() for line in own] == ["-", "-"]
    assert activity.get_linestyle() == match.get_linestyle() == "--"
    assert len({line.get_marker() for line in (*own, activity, match)}) == 4
    assert [text.get_text() for text in figure.legends[0].texts] == [
        "same activity", "same match", "same activity, derived", "same match, derived",
    ]  # fmt: skip


def picture(activity, match, distance=None):
    image = np.full((9, 16, 3), 10 * match, np.uint8)
    return plots.Picture(image, activity, match, distance)


def test_hits_show_what_they_share_with_the_query():
    row = [
        picture("pass", 3),
        picture("pass", 3, 0),
        picture("set", 3, 2),
        picture("pass", 5, 11),
    ]
    figure = plots.hits_grid([row, row[:2]], title="visual", columns=["a", "b", "c"])
    assert len(figure.axes) == 6
    query, both, match_only, activity_only, *_ = figure.axes
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == ["pass", "✓ pass", "✗ set", "✓ pass"]
    assert activity_only.get_xlabel() == "match 5 · 11 bits away"
    assert query.get_xlabel() == "match 3"
    np.testing.assert_array_equal(activity_only.images[0].get_array(), row[3].image)

    def frame(axes):
        spine = axes.spines["left"]
        return spine.get_edgecolor(), spine.get_linestyle()

    assert frame(both) == frame(match_only)
    assert frame(both)[0] != frame(activity_only)[0]
    assert frame(both)[1] != frame(activity_only)[1]
    assert both.title.get_color() == activity_only.title.get_color() != match_only.title.get_color()
    assert [texts(axes) for axes in figure.axes[:4]] == [["query"], ["a"], ["b"], ["c"]]


def drawings():
    yield plots.confusion_matrix(np.eye(3, dtype=int), NAMES, title="t")
    yield plots.class_distances(np.full((2, 2), np.nan), NAMES[:2], title="t")
    yield plots.loss_curves({"loss": [(0, 1.0)]})
    yield plots.focus_curves([0.5], [None])
    yield plots.focus_curves([0.5, 0.1], [0.2, None], derived=([0.4, 0.1], [0.3, None]))
    yield plots.ranking_curves(CURVES, title="t")
    yield plots.ranking_curves({}, title="t")
    yield plots.hits_grid([[picture("set", 1), picture("set", 2, 8)]], title="t")


def test_every_figure_is_drawn_without_a_warning():
    for figure in drawings():
        assert isinstance(figure, Figure)
        with Image.open(io.BytesIO(plots.render(figure))) as image:
            assert image.width == pytest.approx(144 * figure.get_figwidth(), abs=1)
            assert len(image.convert("RGB").getcolors(1 << 20)) > 2
        assert plots.render(figure, kind="svg").startswith(b"<?xml")


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_figure_is_the_same_file(kind):
    first, second = (
        plots.render(plots.focus_curves([0.5, 0.6], [0.5, 0.3]), kind=kind) for _ in range(2)
    )
    assert first == second
