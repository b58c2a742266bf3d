"""Inception-v3 and VGG-16 give what Keras and PyTorch give for the weights of their files.

The weights are random, for want of a download; every format is one that Keras or PyTorch wrote.
"""

import functools
import importlib.util
import pathlib
import shutil
import warnings

import h5py
import jax
import numpy as np
import pytest

from benchmarks.peers import networks
from stvh_jax.models.backbones import inception_v3, vgg16
from stvh_jax.models.backbones.build import build_backbone
from stvh_jax.models.weights.convert import read

pytestmark = pytest.mark.slow

SIZES = ((101, 133), (83, 97))
TAPS = {"inception_v3": inception_v3.TAPS, "vgg16": vgg16.TAPS}
KERAS_FORMATS = ("legacy.h5", "legacy.weights.h5", "three.weights.h5", "three.keras")
TORCH_FORMATS = ("new.pth", "legacy.pth", "torch.safetensors")
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed: pip install torch"
)


def frames(size):
    return np.random.default_rng(sum(size)).integers(0, 256, (2, *size, 3), np.uint8)


@functools.cache
def runner(backbone, count_padding):
    """Gives the jitted network, compiled once for each size."""
    options = {"count_padding": count_padding} if backbone == "inception_v3" else {}

    @functools.partial(jax.jit, static_argnames="normalisation")
    def run(variables, frames, normalisation):
        module = build_backbone(backbone, normalisation=normalisation, **options)
        return module.apply(variables, frames, train=False, taps=TAPS[backbone])

    return run


def relative_errors(weights, size, expected):
    """Maps every tap to max |ours - theirs| / max |theirs|."""
    options = weights.options
    run = runner(weights.backbone, options.get("count_padding"))
    maps = run(weights.variables, frames(size), normalisation=options["normalisation"])
    errors = {}
    for tap, ours in zip(TAPS[weights.backbone], maps, strict=True):
        assert ours.shape == expected[tap].shape
        assert expected[tap].std() > 1e-3
        errors[tap] = float(np.abs(ours - expected[tap]).max() / np.abs(expected[tap]).max())
    return errors


@pytest.fixture(scope="module")
def keras():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
    return keras


@pytest.fixture(scope="module")
def keras_networks(keras, tmp_path_factory):
    """Gives `networks(backbone)`: a folder of files of each format, and the maps by size."""

    @functools.cache
    def build(backbone):
        if backbone == "inception_v3":
            network = keras.applications.InceptionV3(weights=None, include_top=False)
            package = keras.applications.inception_v3
            layers = {tap: f"mixed{index}" for index, tap in enumerate(inception_v3.MIXED)}
        else:
            network = keras.applications.VGG16(weights=None, include_top=False)
            package = keras.applications.vgg16
            layers = {f"pool{block}": f"block{block}_pool" for block in range(1, 6)}
        pooled = keras.layers.GlobalAveragePooling2D()(network.output)
        dense = keras.layers.Dense(10, name="predictions")(pooled)
        draw_keras(network, np.random.default_rng(1))
        outputs = {tap: network.get_layer(layer).output for tap, layer in layers.items()}
        if backbone == "inception_v3":
            outputs["pooled"] = pooled
        maps = keras.Model(network.input, outputs)
        expected = {
            size: {
                tap: np.asarray(value)
                for tap, value in maps(package.preprocess_input(np.float32(frames(size)))).items()
            }
            for size in SIZES
        }
        folder = tmp_path_factory.mktemp(backbone)
        write_keras(keras.Model(network.input, dense), network, folder)
        return folder, expected

    return build


def draw_keras(network, rng):
    """Draws weights that keep activations of order one, far from those of a new network."""
    for layer in network.layers:
        shapes = [weight.shape for weight in layer.weights]
        if len(shapes) == 3:
            channels = shapes[0][0]
            beta, mean = rng.standard_normal((2, channels)) / 2
            layer.set_weights([beta, mean, rng.uniform(0.3, 3, channels)])
        elif shapes:
            deviation = (2 / np.prod(shapes[0][:3])) ** 0.5
            layer.set_weights(
                [deviation * rng.standard_normal(shapes[0]), *map(rng.standard_normal, shapes[1:])]
            )


def write_keras(whole, bare, folder: pathlib.Path):
    """Writes each of Keras's formats; two of them with a dense layer on top."""
    whole.save(folder / "legacy.h5")
    bare.save(folder / "bare.h5")
    # Keras no longer writes weights alone in this format; of a model's they are one group.
    with (
        h5py.File(folder / "bare.h5") as model,
        h5py.File(folder / "legacy.weights.h5", "w") as file,
    ):
        group = model["model_weights"]
        for name in group:
            group.copy(name, file)
        file.attrs.update(group.attrs)
    bare.save_weights(folder / "three.weights.h5")
    whole.save(folder / "three.keras")


# Of Keras's own.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("format", KERAS_FORMATS)
@pytest.mark.parametrize("backbone", TAPS)
def test_keras(keras_networks, backbone, format):
    folder, expected = keras_networks(backbone)
    weights = read(folder / format)
    assert (weights.framework, weights.backbone) == ("keras", backbone)
    assert len(weights.unused) == (2 if format in ("legacy.h5", "three.keras") else 0)
    for size in SIZES:
        errors = relative_errors(weights, size, expected[size])
        assert max(errors.values()) < 1e-4, errors


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_scale_of_the_normalisation_is_kept_where_keras_has_one(keras_networks, tmp_path):
    folder, _ = keras_networks("inception_v3")
    path = shutil.copy(folder / "three.weights.h5", tmp_path)
    plain = read(path).variables["params"]["Mixed_7c"]["branch3x3_2b"]["bn"]
    np.testing.assert_array_equal(plain["scale"], np.ones(384))
    with h5py.File(path, "a") as file:
        for name, layer in file["layers"].items():
            if name.startswith("batch_normalization"):
                values = [layer["vars"][str(index)][:] for index in range(3)]
                del layer["vars"]
                for index, value in enumerate([values[0] + 5, *values]):
                    layer[f"vars/{index}"] = value
    scaled = read(path).variables["params"]["Mixed_7c"]["branch3x3_2b"]["bn"]
    np.testing.assert_array_equal(scaled["bias"], plain["bias"])
    np.testing.assert_array_equal(scaled["scale"], plain["bias"] + 5)


@pytest.fixture(scope="module")
def torch_networks(tmp_path_factory):
    """Gives `networks(backbone)`: a folder of files of each format, and the maps by size."""
    import safetensors.torch
    import torch

    @functools.cache
    def build(backbone):
        definition, draw = {
            "inception_v3": (torch_inception, networks.inception_state),
            "vgg16": (torch_vgg, networks.vgg_state),
        }[backbone]
        arrays = draw(np.random.default_rng(2))
        state = {name: torch.from_numpy(array) for name, array in arrays.items()}
        folder = tmp_path_factory.mktemp(backbone)
        torch.save(state, folder / "new.pth")
        torch.save(
            {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}},
            folder / "legacy.pth",
            _use_new_zipfile_serialization=False,
        )
        safetensors.torch.save_file(state, folder / "torch.safetensors")
        return folder, {size: definition(state, frames(size)) for size in SIZES}

    return build


def torch_inception(state, frames):
    x = networks.symmetric_range(networks.imagenet_range(frames))
    maps = networks.inception_maps(state, x)
    pooled = maps["Mixed_7c"].mean(dim=(2, 3)).numpy()
    return channels_last(maps) | {"pooled": pooled}


def torch_vgg(state, frames):
    return channels_last(networks.vgg_maps(state, networks.imagenet_range(frames)))


def channels_last(maps):
    return {name: x.permute(0, 2, 3, 1).numpy() for name, x in maps.items()}


@needs_torch
@pytest.mark.parametrize("format", TORCH_FORMATS)
@pytest.mark.parametrize("backbone", TAPS)
def test_torch(torch_networks, backbone, format):
    folder, expected = torch_networks(backbone)
    weights = read(folder / format)
    assert (weights.framework, weights.backbone) == ("torchvision", backbone)
    assert "fc.weight" in weights.unused or "classifier.0.weight" in weights.unused
    for size in SIZES:
        errors = relative_errors(weights, size, expected[size])
        assert max(errors.values()) < 1e-4, errors
