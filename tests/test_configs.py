"""Every config file: it can be built, trained and told apart by its number of parameters."""

import importlib
import math
import pathlib

import jax
import pytest

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
    ("vd", "stvh"): 57_615_117,
    ("vd", "mstvh"): 58_395_677,
    ("vd_boxes", "stvh"): 749_508,
    ("vd_boxes", "mstvh"): 587_747,
}


def parameters(name, model_name):
    """Counts the trained parameters of a config's model, allocating none of them."""
    config = importlib.import_module(f"configs.{name}").get_config()
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


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("model_name", ["stvh", "mstvh"])
def test_number_of_parameters(name, model_name):
    assert parameters(name, model_name) == PARAMETERS[name, model_name]


@pytest.mark.parametrize("name", names())
def test_every_config_can_be_trained_on_as_many_devices_as_it_asks_for(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    assert config.name == name
    assert config.model.key_frame == config.model.num_frames // 2
    check_config(config, FakeDataset(sizes=(3493, 10, 1337)), devices=max(config.devices, 1))


if __name__ == "__main__":
    for config_name in names():
        for variant in ("stvh", "mstvh"):
            print(f'    ("{config_name}", "{variant}"): {parameters(config_name, variant):_},')
