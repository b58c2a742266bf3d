"""The table of costs against counts by hand."""

import re

import jax
import pytest
from jax.interpreters import partial_eval as pe

from configs import vd
from experiments.paper import table_cost
from experiments.settings import SETTINGS
from experiments.study import Study
from stvh_jax.models.build import build_model
from stvh_jax.models.shapes import example_clips, variable_shapes
from tests.experiments.fake_commands import run


def test_training_time_is_that_of_the_steps():
    history = [
        {"step": 10, "train/loss": 2.0, "clips_per_second": 4.0},
        {"step": 12, "validation/loss": 1.0},
        {"step": 20, "train/loss": 1.5, "clips_per_second": 8.0},
    ]
    # 10 steps at 4 clips per second; the clock started again at step 12, then 8 steps at 8.
    assert table_cost.training_seconds(history, 2) == pytest.approx(10 * 2 / 4 + 8 * 2 / 8)
    assert table_cost.training_seconds([], 2) is None


def test_parameters_are_those_of_an_initialised_model():
    config = SETTINGS["vd_boxes"].build_config()
    model = build_model(config.model, **table_cost._CLASSES)
    clips = example_clips(config)
    initialise = jax.jit(lambda key: model.init({"params": key}, clips, train=False))
    parameters = initialise(jax.random.key(0))
    expected = sum(leaf.size for leaf in jax.tree.leaves(parameters["params"]))
    assert table_cost.count_parameters(model, config) == expected


def test_flops_are_mostly_those_of_the_dense_layers():
    config = SETTINGS["vd_boxes"].build_config()
    model = build_model(config.model, **table_cost._CLASSES)
    closed = jax.make_jaxpr(lambda v, c: model.apply(v, c, train=False))(
        variable_shapes(model, config), example_clips(config)
    )
    # Without what nothing reads, as the products of an attention over a place alone.
    jaxpr, _ = pe.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    products = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (over, _), _ = equation.params["dimension_numbers"]
            depth = 1
            for axis in over:
                depth *= equation.invars[0].aval.shape[axis]
            products += 2 * depth * equation.outvars[0].aval.size
    assert products > 0
    assert products <= table_cost.count_flops(model, config) < 2 * products


def test_no_model_at_the_papers_size_hides_computation_in_a_loop():
    form = table_cost.forms(SETTINGS["vd"])[0]
    assert form.label == "STVH, inception_v3"
    assert vd.get_config().model.frames_per_chunk == 1
    assert form.config.model.frames_per_chunk == 0
    vgg = next(one for one in table_cost.forms(SETTINGS["vd"]) if one.label == "STVH, vgg16")
    assert vgg.config.model.backbone.name == "vgg16"
    assert vgg.config.model.roi_channels == vd.get_config("vgg16").model.roi_channels


def test_a_setting_has_a_row_per_model(monkeypatch):
    monkeypatch.setattr(table_cost, "clips_per_second", lambda configs: dict.fromkeys(configs, 8.0))
    monkeypatch.setattr(table_cost, "count_flops", lambda model, config: 1.5e9)
    study = Study(SETTINGS["vd_boxes"], table_cost.variants(SETTINGS["vd_boxes"]), range(1))
    (table,) = table_cost.report(study).tables
    assert [row[0] for row in table.rows] == list(table_cost._FORMS)
    for row in table.rows:
        assert re.fullmatch(r"0\.\d\d", row[1])
        assert row[2:5] == ["1.5", "8", "1.00"]


def test_no_run_is_trained(folder, capsys):
    assert run("table_cost", "--data", "vd_boxes", "--dry-run") == 0
    assert "0 of 0 runs would be made" in capsys.readouterr().out
