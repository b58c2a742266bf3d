"""Every config file: it can be built, trained and told apart by its number of parameters."""

import importlib
import math
import pathlib

import jax
import pytest

from configs import base
from data import annotations
from stvh_jax.models import build_model
from stvh_jax.state import example_clips
from stvh_jax.trainer import check_config
from tests.fakes import FakeDataset

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "configs"
# Trained parameters; python -m tests.test_configs prints this table.
PARAMETERS = {
    ("base", "stvh"): 44_972_733,
    ("base", "mstvh"): 34_273_293,
    ("demo", "stvh"): 268_237,
    ("demo", "mstvh"): 321_197,
    ("vd", "stvh"): 65_552_077,
    ("vd", "mstvh"): 66_332_637,
    ("vd:inception_v3", "stvh"): 65_552_077,
    ("vd:inception_v3", "mstvh"): 66_332_637,
    ("vd:vgg16", "stvh"): 70_760_237,
    ("vd:vgg16", "mstvh"): 71_540_797,
    ("vd:small", "stvh"): 57_615_117,
    ("vd:small", "mstvh"): 58_395_677,
    ("vd_boxes", "stvh"): 749_508,
    ("vd_boxes", "mstvh"): 587_747,
    ("vd_stage1", "frame_classifier"): 36_019_953,
    ("vd_stage1:inception_v3", "frame_classifier"): 36_019_953,
    ("vd_stage1:vgg16", "frame_classifier"): 27_842_385,
    ("vd_stage1:small", "frame_classifier"): 14_697_265,
}


def config_of(name):
    """Builds the config that `--config=configs/NAME.py:VARIANT` names, as `NAME:VARIANT`."""
    stem, _, variant = name.partition(":")
    module = importlib.import_module(f"configs.{stem}")
    return module.get_config(variant) if variant else module.get_config()


def parameters(name, model_name):
    """Counts the trained parameters of a config's model, allocating none of them."""
    config = config_of(name)
    config.model.name = model_name
    model = build_model(
        config.model,
        activity_names=annotations.ACTIVITIES,
        action_names=annotations.ACTIONS,
    )
    shapes = jax.eval_shape(
        lambda key: model.init(key, example_clips(config), train=False), jax.random.key(0)
    )
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))


def names():
    return sorted(path.stem for path in FOLDER.glob("[!_]*.py"))


def names_with_variants():
    """Lists every config, and every variant that a config's table of backbones names."""
    found = []
    for name in names():
        found.append(name)
        if name in ("vd", "vd_stage1"):
            found += [f"{name}:{variant}" for variant in base.BACKBONES]
    return found


def models_of(name):
    return ["frame_classifier"] if name.startswith("vd_stage1") else ["stvh", "mstvh"]


@pytest.mark.parametrize(
    ("name", "model_name"),
    [(name, model) for name in names_with_variants() for model in models_of(name)],
)
def test_number_of_parameters(name, model_name):
    assert parameters(name, model_name) == PARAMETERS[name, model_name]


@pytest.mark.parametrize("name", names_with_variants())
def test_every_config_can_be_trained_on_as_many_devices_as_it_asks_for(name):
    config = config_of(name)
    assert config.name == name.replace(":inception_v3", "").replace(":", "_")
    assert config.model.key_frame == config.model.num_frames // 2
    check_config(config, FakeDataset(sizes=(3493, 10, 1337)), devices=max(config.devices, 1))


def test_an_unknown_variant_is_named():
    with pytest.raises(ValueError, match="has no 'vgg19'; choose inception_v3, vgg16, small"):
        config_of("vd:vgg19")


if __name__ == "__main__":
    for config_name in names_with_variants():
        for variant in models_of(config_name):
            print(f'    ("{config_name}", "{variant}"): {parameters(config_name, variant):_},')
