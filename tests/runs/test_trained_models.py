"""The models that come with the library: they load by name, and say what their card says."""

import pathlib
import re

import numpy as np
import pytest

import stvh_jax
from stvh_jax.errors import NotFound
from stvh_jax.runs import packed, trained_models

CARD = (pathlib.Path(__file__).parents[2] / "docs" / "models.md").read_text()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Unpacks them where nothing was unpacked before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", trained_models.MODELS)
def test_a_model_is_what_its_card_says(name):
    model = stvh_jax.load(name)
    card = CARD[CARD.index(f"## `{name}`") :].partition("\n## ")[0]
    parameters = sum(np.size(leaf) for leaf in _leaves(model.variables["params"]))
    assert f"{parameters:,} parameters" in card
    size = trained_models.find(name).stat().st_size
    assert f"{size / 1e6:.1f} MB" in card and size < 4e6
    for activity in model.activity_names:
        assert re.search(rf"\| {activity} \| \d+ \|", card)
    assert f"up to {model.config.model.num_actors} people" in card
    boxes = np.random.default_rng(0).uniform(0, 0.4, (model.config.model.num_frames, 5, 4))
    boxes[..., 2:] += 0.5
    assert model.encode(None, boxes).codes[model.foci[-1]].shape == (1, 16)


def _leaves(tree):
    return [leaf for each in tree.values() for leaf in _leaves(each)] if _is_dict(tree) else [tree]


def _is_dict(tree):
    return hasattr(tree, "values") and not isinstance(tree, np.ndarray)


def test_a_folder_of_that_name_is_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert packed.address_of("street-boxes") == "street-boxes"
    (tmp_path / "street-boxes").mkdir()
    assert packed.open_run("street-boxes") == packed.folders.open_folder("street-boxes")
    assert packed.address_of("street-boxes") == str(tmp_path / "street-boxes")
    assert packed.is_there("street-boxes")


def test_another_name_says_which_there_are():
    with pytest.raises(NotFound, match=r"has no checkpoint.*volleyball-boxes, street-boxes"):
        stvh_jax.load("volleyball-box")
    assert not packed.is_there("volleyball-box")
