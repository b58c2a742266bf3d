"""Every config file: it can be built, trained and told apart by its number of parameters."""

import importlib
import inspect
import math
import pathlib

import jax
import numpy as np
import pytest

from data.annotations import ClipFormat
from data.variants import DATASETS, OWN_NAME, Variant
from stvh_jax import recipes
from stvh_jax.fields import flatten
from stvh_jax.models.build import build_model
from stvh_jax.models.shapes import example_clips
from stvh_jax.training.checks import check_config
from stvh_jax.training.optimizer import learning_rate_schedule
from tests.helpers.fakes import FakeDataset

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "configs"
# Trained parameters; python -m tests.test_configs prints this table.
PARAMETERS = {
    ("cad", "stvh"): 80_241_693,
    ("cad", "mstvh"): 76_951_721,
    ("cad:inception_v3", "stvh"): 80_241_693,
    ("cad:inception_v3", "mstvh"): 76_951_721,
    ("cad:vgg16", "stvh"): 85_449_853,
    ("cad:vgg16", "mstvh"): 82_159_881,
    ("cad:small", "stvh"): 72_304_733,
    ("cad:small", "mstvh"): 69_014_761,
    ("cad_boxes", "stvh"): 259_453,
    ("cad_boxes", "mstvh"): 216_680,
    ("cad_boxes:four", "stvh"): 259_453,
    ("cad_boxes:four", "mstvh"): 216_680,
    ("cad_boxes:five", "stvh"): 259_711,
    ("cad_boxes:five", "mstvh"): 217_229,
    ("cad_stage1", "frame_classifier"): 36_011_753,
    ("cad_stage1:inception_v3", "frame_classifier"): 36_011_753,
    ("cad_stage1:vgg16", "frame_classifier"): 27_834_185,
    ("cad_stage1:small", "frame_classifier"): 14_689_065,
    ("caed", "stvh"): 80_244_257,
    ("caed", "mstvh"): 76_955_059,
    ("caed:inception_v3", "stvh"): 80_244_257,
    ("caed:inception_v3", "mstvh"): 76_955_059,
    ("caed:vgg16", "stvh"): 85_452_417,
    ("caed:vgg16", "mstvh"): 82_163_219,
    ("caed:small", "stvh"): 72_307_297,
    ("caed:small", "mstvh"): 69_018_099,
    ("caed_stage1", "frame_classifier"): 36_015_853,
    ("caed_stage1:inception_v3", "frame_classifier"): 36_015_853,
    ("caed_stage1:vgg16", "frame_classifier"): 27_838_285,
    ("caed_stage1:small", "frame_classifier"): 14_693_165,
    ("demo", "stvh"): 260_605,
    ("demo", "mstvh"): 309_965,
    ("demo:volleyball", "stvh"): 260_605,
    ("demo:volleyball", "mstvh"): 309_965,
    ("demo:collective_activity", "stvh"): 318_093,
    ("demo:collective_activity", "mstvh"): 357_169,
    ("demo:collective_activity_extended", "stvh"): 318_641,
    ("demo:collective_activity_extended", "mstvh"): 358_347,
    ("own", "stvh"): 204_063,
    ("own", "mstvh"): 181_309,
    ("own:boxes", "stvh"): 204_063,
    ("own:boxes", "mstvh"): 181_309,
    ("own:frames", "stvh"): 363_183,
    ("own:frames", "mstvh"): 429_939,
    ("own_label_free", "stvh"): 204_063,
    ("own_label_free", "mstvh"): 181_309,
    ("own_label_free:boxes", "stvh"): 204_063,
    ("own_label_free:boxes", "mstvh"): 181_309,
    ("own_label_free:frames", "stvh"): 220_655,
    ("own_label_free:frames", "mstvh"): 183_411,
    ("vd", "stvh"): 65_552_077,
    ("vd", "mstvh"): 66_332_637,
    ("vd:inception_v3", "stvh"): 65_552_077,
    ("vd:inception_v3", "mstvh"): 66_332_637,
    ("vd:vgg16", "stvh"): 70_760_237,
    ("vd:vgg16", "mstvh"): 71_540_797,
    ("vd:small", "stvh"): 57_615_117,
    ("vd:small", "mstvh"): 58_395_677,
    ("vd_boxes", "stvh"): 731_492,
    ("vd_boxes", "mstvh"): 562_222,
    ("vd_features", "stvh"): 725_764,
    ("vd_features", "mstvh"): 547_950,
    ("vd_stage1", "frame_classifier"): 36_019_953,
    ("vd_stage1:inception_v3", "frame_classifier"): 36_019_953,
    ("vd_stage1:vgg16", "frame_classifier"): 27_842_385,
    ("vd_stage1:small", "frame_classifier"): 14_697_265,
}


# What may follow the name of a config, by its file or by the parameter of its `get_config`.
BACKBONES, PROTOCOLS = tuple(recipes.BACKBONES), recipes.PROTOCOLS
OPTIONS = {
    **dict.fromkeys(("vd", "cad", "caed"), (*BACKBONES, *PROTOCOLS, "vgg16,validated")),
    **dict.fromkeys(("vd_boxes", "vd_features"), (*PROTOCOLS, "label_free")),
    "cad_boxes": ("four", "five", *PROTOCOLS, "five,validated", "five,label_free"),
    "demo": (*DATASETS, "label_free"),
    **dict.fromkeys(("own", "own_label_free"), ("boxes", "frames")),
    "backbone": BACKBONES,
}


def config_of(name):
    """Builds the config that `--config=configs/NAME.py:VARIANT` names, as `NAME:VARIANT`."""
    stem, _, variant = name.partition(":")
    module = importlib.import_module(f"configs.{stem}")
    return module.get_config(variant) if variant else module.get_config()


def clip_format_of(config):
    """Returns what the clips of a config's data set look like."""
    if config.data.name == OWN_NAME:  # what a set has that was imported with few labels
        return ClipFormat(("set", "spike"), ("person",), max_actors=12, key_frame=5)
    variant = Variant.parse(config.data.name, config.data.variant)
    raw = importlib.import_module(f"data.{variant.dataset}.raw")
    return raw.clip_format(**variant.choices)


def parameters(name, model_name):
    """Counts the trained parameters of a config's model, allocating none of them."""
    config = config_of(name)
    config.model.name = model_name
    form = clip_format_of(config)
    model = build_model(config.model, activity_names=form.activities, action_names=form.actions)
    shapes = jax.eval_shape(
        lambda key: model.init(key, example_clips(config), train=False), jax.random.key(0)
    )
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))


def names():
    return sorted(path.stem for path in FOLDER.glob("[!_]*.py"))


def names_with_variants():
    """Lists every config with each of its variants."""
    found = []
    for name in names():
        found.append(name)
        get_config = importlib.import_module(f"configs.{name}").get_config
        for parameter in inspect.signature(get_config).parameters:
            options = OPTIONS[name if parameter == "options" else parameter]
            found += [f"{name}:{one}" for one in options]
    return found


def models_of(name):
    return ["frame_classifier"] if "_stage1" in name else ["stvh", "mstvh"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "model_name"),
    [
        (name, model)
        for name in names_with_variants()
        for model in models_of(name)
        if not name.endswith((*PROTOCOLS, "label_free"))
    ],
)
def test_number_of_parameters(name, model_name):
    assert parameters(name, model_name) == PARAMETERS[name, model_name]


@pytest.mark.parametrize("name", names_with_variants())
def test_every_config_can_be_trained_on_as_many_devices_as_it_asks_for(name):
    config = config_of(name)
    default = (":inception_v3", ":four", ":volleyball", ":published", ":boxes")
    for ending in default:
        name = name.removesuffix(ending)
    assert config.name == name.replace(":", "_").replace(",", "_")
    assert config.data.num_actors >= clip_format_of(config).max_actors
    # The key frame is in the middle of a clip, Collective Activity's at its beginning.
    in_middle = config.data.name in ("volleyball", OWN_NAME)
    key_frame = config.data.num_frames // 2 if in_middle else 0
    dataset = FakeDataset(sizes=(3493, 10, 1337), key_frame=key_frame)
    check_config(config, dataset, devices=max(config.devices, 1))


@pytest.mark.parametrize("name", ["cad", "caed"])
def test_collective_activity_is_trained_as_the_paper_prints(name):
    config = config_of(name)
    assert (config.data.image_size, config.data.num_frames) == ((480, 720), 10)
    assert (config.model.num_actors, config.model.layers, config.model.bits) == (13, 4, 128)
    assert (config.train.batch_size, config.train.epochs) == (2, 60)
    rate = learning_rate_schedule(config.optimizer, steps_per_epoch=10, epochs=60)
    np.testing.assert_allclose([rate(step) for step in range(0, 600, 50)], 1e-5, rtol=1e-6)


@pytest.mark.parametrize("name", ["vd", "cad", "caed"])
def test_the_paper_is_read_as_printed(name):
    loss, model = config_of(name).loss, config_of(name).model
    assert (loss.action, loss.action_reduction, loss.contrastive) == (0.5, "sum", 0.5)
    assert (loss.quantisation, loss.reconstruction, model.action_features) == (0.1, 0.01, "f_T")


@pytest.mark.parametrize("name", ["vd_boxes", "cad_boxes", "demo", "vd_stage1"])
def test_what_is_not_the_papers_keeps_its_readings(name):
    config = config_of(name)
    assert (config.loss.action_reduction, config.model.action_features) == ("mean", "f_S")


@pytest.mark.parametrize("name", ["vd", "cad", "caed", "vd_boxes", "vd_features", "cad_boxes"])
def test_the_published_protocol_holds_no_clips_out(name):
    def splits(options):
        data = config_of(f"{name}:{options}").data
        return data.train_split, data.validation_split, data.test_split

    assert splits("") == splits("published") == ("train+validation", "", "test")
    assert splits("validated") == ("train", "validation", "test")


def test_features_change_only_what_focus_0_shows():
    for options in ("published", "validated"):
        boxes, features = (config_of(f"{name}:{options}") for name in ("vd_boxes", "vd_features"))
        one, other = (flatten(config.to_dict()) for config in (boxes, features))
        changed = {name for name in one if one[name] != other[name]}
        assert one.keys() == other.keys()
        assert changed == {
            "name",
            "data.variant",
            "model.source",
            "model.visual_bits",
        }


def test_options_come_in_any_order():
    one, other = config_of("vd:vgg16,validated"), config_of("vd:validated,vgg16")
    assert one.to_json_best_effort() == other.to_json_best_effort()
    assert one.name == "vd_vgg16_validated"
    assert one.model.backbone.name == "vgg16"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vd:vgg19", "vd.py has no 'vgg19'; choose inception_v3, vgg16, small, published, valid"),
        ("vd:vgg16,", "vd.py has no ''; choose inception_v3, vgg16, small, published, validated"),
        ("vd:vgg16,small", "vd.py:vgg16,small has vgg16 and small; choose one"),
        ("caed:small,small", "caed.py:small,small has small and small; choose one"),
        ("cad_boxes:six", "cad_boxes.py has no 'six'; choose four, five, published, validated"),
        ("vd_boxes:five", "vd_boxes.py has no 'five'; choose published, validated"),
        ("vd_features:five", "vd_features.py has no 'five'; choose published, validated"),
        ("vd_stage1:validated", "vd_stage1.py has no 'validated'; choose inception_v3, vgg16,"),
    ],
)
def test_options_that_do_not_fit_are_named(name, message):
    with pytest.raises(ValueError, match=f"^configs/{message}"):
        config_of(name)


if __name__ == "__main__":
    for config_name in names_with_variants():
        if config_name.endswith(PROTOCOLS):
            continue  # the model is the same
        for variant in models_of(config_name):
            print(f'    ("{config_name}", "{variant}"): {parameters(config_name, variant):_},')
