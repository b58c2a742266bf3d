"""The config of a model: one place for each field, and one line for each mistake."""

import dataclasses
import functools
import pathlib

import jax
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from stvh_jax.config import LossConfig, check_fields, get_config
from stvh_jax.errors import UserError
from stvh_jax.inference.encoder import load
from stvh_jax.models.actor_features import SOURCES
from stvh_jax.models.build import MODELS, build_model
from stvh_jax.models.config import FusionConfig, HeadsConfig, ModelConfig, VisualConfig
from stvh_jax.models.shapes import example_clips
from stvh_jax.runs import folders
from stvh_jax.training.state import create_state
from tests.helpers.fakes import ACTIONS, ACTIVITIES, small_config
from tests.helpers.oracles import model_config

PACKED = pathlib.Path(__file__).parents[2] / "notebooks" / "demo_run.zip"

# What the experiments of the paper start from, as their runs have it on disk.
BASE = {
    "name": "mstvh", "bits": 128, "layers": 3, "features": 1024, "source": "frames",
    "num_frames": 10, "num_actors": 12, "key_frame": 5, "backbone": {"name": "small"},
    "freeze_backbone": False, "frames_per_chunk": 0, "roi_size": 5, "sampling_ratio": 2,
    "roi_border": "clamp", "roi_channels": 0, "embed": "conv", "temporal_contrast": False,
    "visual_code": "f_roi", "distance": "normalised", "position": "graphs", "residual": True,
    "product": "matrix", "causal": "zero", "graph_weight": True, "fusion": "nested",
    "ffn_multiplier": 2, "dropout": 0.0, "dtype": "float32",
}  # fmt: skip


def built(**fields):
    return build_model(
        {**get_config().model, **fields}, activity_names=ACTIVITIES, action_names=ACTIONS
    )


def test_the_base_config_has_the_defaults_of_the_model():
    flat = get_config().model.copy_and_resolve_references().to_dict()
    assert flat == ModelConfig.defaults() == {**BASE, **ModelConfig.added()}
    assert ModelConfig.of(get_config().model) == ModelConfig()


def test_a_run_from_before_a_field_was_added_is_built_as_it_was():
    assert ModelConfig.of(BASE) == ModelConfig()
    assert ModelConfig.of(ConfigDict({**BASE, "bits": [8, 16]})).heads.lengths == (8, 16)


def test_a_run_from_before_a_field_was_added_is_the_same_run():
    stored = {"model": BASE, "seed": 0}
    wanted = {"model": ModelConfig.defaults(), "seed": 0}
    assert folders.difference(stored, wanted) == ""
    wanted["model"]["hash_head"] = "maximum"
    assert folders.difference(stored, wanted) == "model.hash_head='linear', not 'maximum'"


def test_a_run_from_before_actions_could_be_summed_took_their_mean():
    stored = {"loss": {"action": 4.0}}
    wanted = {"loss": {"action": 4.0, "action_reduction": "mean"}}
    assert folders.difference(stored, wanted) == ""
    wanted["loss"]["action_reduction"] = "sum"
    assert folders.difference(stored, wanted) == "loss.action_reduction='mean', not 'sum'"


def test_a_run_from_before_other_hashing_objectives_trained_by_none_of_them():
    added = LossConfig.added()
    objectives = ("pairwise", "centre", "orthogonal", "supervised_contrastive", "bit_balance")
    assert {added[name] for name in objectives} == {0.0}
    stored, wanted = (get_config().copy_and_resolve_references().to_dict() for _ in range(2))
    for name in added:
        del stored["loss"][name]
    check_fields(stored)
    assert folders.difference(stored, wanted) == ""
    wanted["loss"]["centre"] = 1.0
    assert folders.difference(stored, wanted) == "loss.centre=0.0, not 1.0"


def test_a_packed_run_has_the_variables_of_its_model():
    encoder = load(PACKED)
    create = functools.partial(create_state, jax.random.key(0), encoder.model, optax.identity())
    state = jax.eval_shape(lambda: create(example_clips(encoder.config)))
    assert jax.tree.map(np.shape, encoder.variables) == jax.tree.map(np.shape, state.variables)


def test_the_fields_are_nested_as_the_model_is():
    config = model_config(source="boxes", causal="neg_inf", fusion="sum", bits=(8, 16), layers=2)
    assert config.visual == VisualConfig(source="boxes")
    assert config.fusion == FusionConfig(causal="neg_inf", fusion="sum", layers=2)
    assert config.heads == HeadsConfig(bits=(8, 16), num_activities=4, num_actions=3)
    assert (config.heads.length, config.heads.prefixes) == (16, (8,))
    assert built(**BASE).config == model_config(**BASE)


def test_what_can_be_chosen_is_what_can_be_built():
    for name in MODELS:
        assert built(name=name).config.name == name
    for source in SOURCES:
        assert built(source=source).config.visual.source == source


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("features", 0, "is 0; use 1 or more"),
        ("features", 10**9, "is 1000000000; use 16384 or less"),
        ("features", 8.0, "is 8.0; use a whole number"),
        ("layers", 0, "is 0; use 1 or more"),
        ("layers", 10**9, "is 1000000000; use 64 or less"),
        ("layers", "three", "is 'three'; use a whole number"),
        ("layers", True, "is True; use a whole number"),
        ("bits", 8 * 10**9, "is 8000000000; use 8192 or less"),
        ("roi_channels", -1, "is -1; use 0 or more"),
        ("frames_per_chunk", -1, "is -1; use 0 or more"),
        ("roi_size", 0, "is 0; use 1 or more"),
        ("sampling_ratio", 0, "is 0; use 1 or more"),
        ("ffn_multiplier", 0, "is 0; use 1 or more"),
        ("num_actors", 0, "is 0; use 1 or more"),
        ("key_frame", 10, "is 10 and a clip has 10 frames"),
        ("dropout", 2, "is 2; use a number from 0 to below 1"),
        ("dropout", float("nan"), "is nan; use a number from 0 to below 1"),
        ("residual", "no", "is 'no'; use True or False"),
        ("causal", "never", "is 'never'; choose one of zero, neg_inf"),
        ("dtype", "float64", "is 'float64'; choose one of float32, bfloat16"),
        ("position", "nowhere", "is 'nowhere'; choose one of graphs, before, after, add, concat"),
        ("hash_head", "none", "is 'none'; choose one of linear, mean_and_maximum"),
        ("hash_head", None, "is None; give a name, e.g. linear"),
        ("name", "vgg", "is 'vgg'; choose one of mstvh, stvh, global_hash, frame_classifier"),
        ("backbone", "small", r"is 'small'; give a backbone's name and options, e.g. {'name'"),
        ("backbone", {"features": (8,)}, r"is {'features': \(8,\)}; give a backbone's name"),
    ],
)
def test_a_value_that_no_model_has_is_one_clear_line(field, value, message):
    with pytest.raises(UserError, match=f"^config.model.{field} {message}"):
        built(**{field: value})


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({"name": "smal"}, "backbone 'smal' is unknown; choose one of small, vgg16, inception_v3"),
        ({"name": "small", "width": 8}, "backbone small has no option 'width'; it has features"),
    ],
)
def test_a_backbone_is_checked_when_the_model_is_built(backbone, message):
    with pytest.raises(UserError, match=f"^{message}"):
        built(backbone=backbone)
    # A model of boxes alone reads no backbone.
    assert built(backbone=backbone, source="boxes")


def test_a_config_is_checked_however_it_is_made():
    with pytest.raises(UserError, match="^config.model.layers is 0; use 1 or more"):
        dataclasses.replace(ModelConfig().fusion, layers=0)
    with pytest.raises(UserError, match="^config.model has an unknown field 'visual'"):
        ModelConfig.of({**small_config().model, "visual": {}})
