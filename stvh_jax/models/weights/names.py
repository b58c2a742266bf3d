"""The names of weights: those of Keras and torchvision, matched with the paths of our modules.

A file's tensors are first put under names, and these are matched with the module's paths; then
every tensor is checked against the shapes of the module.
"""

import collections
import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from stvh_jax.errors import UserError
from stvh_jax.models.backbones import inception_v3, vgg16
from stvh_jax.models.weights.containers import KerasLayers, NamedTensors, first_few

TITLES = {"inception_v3": "Inception-v3", "vgg16": "VGG-16"}
# The tensors of a layer: path in the module around the layer's, names in torchvision and Keras.
TENSORS = {
    "inception_v3": {
        "params/{}/conv/kernel": ("conv.weight", "kernel"),
        "params/{}/bn/scale": ("bn.weight", "gamma"),
        "params/{}/bn/bias": ("bn.bias", "beta"),
        "batch_stats/{}/bn/mean": ("bn.running_mean", "moving_mean"),
        "batch_stats/{}/bn/var": ("bn.running_var", "moving_variance"),
    },
    "vgg16": {
        "params/{}/kernel": ("weight", "kernel"),
        "params/{}/bias": ("bias", "bias"),
    },
}
# Convolutions and batch normalisations, by which Keras's networks are told apart.
KERAS_COUNTS = {(94, 94): "inception_v3", (13, 0): "vgg16"}
# How Keras orders the tensors of a convolution or dense layer, and of a normalisation.
KERAS_WEIGHTS = ("kernel", "bias")
KERAS_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
# torchvision's dense layers and auxiliary head, and its counters of training steps.
TORCH_TOP = {
    "inception_v3": re.compile(r"(fc|AuxLogits)\.|.*\.num_batches_tracked$"),
    "vgg16": re.compile(r"classifier\."),
}
# Tensors that give other networks away.
OTHER_NETWORKS = {
    "features.1.running_mean": "a VGG with batch normalisation",
    "features.34.weight": "VGG-19",
    "layer1.0.conv1.weight": "a ResNet",
    "inception3a.branch1.conv.weight": "Inception-v1 (GoogLeNet)",
}


class ForeignFile(NamedTuple):
    """Tensors under their names in a file, and these names by the paths of the module."""

    framework: str
    backbone: str
    tensors: Mapping[str, np.ndarray]
    names: Mapping[str, str]
    is_top: Callable[[str], bool]


def name_tensors(contents: NamedTensors | KerasLayers) -> ForeignFile:
    """Finds the network of a file, and the paths that its tensors have in our module.

    Raises:
      UserError: it is another network.
    """
    if isinstance(contents, KerasLayers):
        return _name_keras(contents.layers)
    return _name_torch(contents.tensors)


def _name_keras(layers: Mapping[str, Sequence[np.ndarray]]) -> ForeignFile:
    """Names the tensors of Keras, whose layers are known by their order alone."""
    layers = {name: tensors for name, tensors in layers.items() if tensors}
    by_rank = collections.defaultdict(list)
    for name, tensors in layers.items():
        by_rank[tensors[0].ndim].append(name)
    convolutions, norms = by_rank[4], by_rank[1]
    backbone = KERAS_COUNTS.get((len(convolutions), len(norms)))
    if backbone is None:
        known = ", ".join(f"{TITLES[name]} {a} and {b}" for (a, b), name in KERAS_COUNTS.items())
        raise UserError(
            f"is another network: it has {len(convolutions)} convolutions and {len(norms)} batch "
            f"normalisations, but {known}"
        )
    names = {}
    for index, layer in enumerate(torch_layers(backbone)):
        for template, (_, role) in TENSORS[backbone].items():
            owner = (convolutions if role in KERAS_WEIGHTS else norms)[index]
            names[template.format(layer)] = f"{owner}/{role}"
    tensors = {}
    for name, values in layers.items():
        tensors |= _keras_roles(name, values)
    return ForeignFile(
        "keras", backbone, tensors, names, lambda name: name.rpartition("/")[0] in by_rank[2]
    )


def _keras_roles(layer: str, tensors: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Names the tensors of a layer by their order; a normalisation without scale gets ones."""
    roles = KERAS_WEIGHTS
    if tensors[0].ndim == 1:
        roles = KERAS_NORM
        if len(tensors) == len(KERAS_NORM) - 1:
            tensors = [np.ones_like(tensors[0]), *tensors]
    roles = (*roles, *map(str, range(len(roles), len(tensors))))
    return {f"{layer}/{role}": tensor for role, tensor in zip(roles, tensors)}


def _name_torch(tensors: Mapping[str, np.ndarray]) -> ForeignFile:
    """Names the tensors of torchvision, and turns kernels from OIHW to HWIO."""
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    for telltale, network in OTHER_NETWORKS.items():
        if telltale in tensors:
            raise UserError(f"is {network}; known are {' and '.join(TITLES.values())}")
    names = {
        backbone: {
            template.format(layer): f"{name}.{role}"
            for layer, name in torch_layers(backbone).items()
            for template, (role, _) in TENSORS[backbone].items()
        }
        for backbone in TITLES
    }
    shared = {name: len(tensors.keys() & names[name].values()) for name in TITLES}
    backbone = max(shared, key=shared.__getitem__)
    if not shared[backbone]:
        raise UserError(
            f"is another network: it has {first_few(tensors) or 'no tensors'}; known are "
            f"{' and '.join(TITLES.values())} with torchvision's names"
        )
    tensors = {
        name: value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
        for name, value in tensors.items()
    }
    top = TORCH_TOP[backbone]
    return ForeignFile(
        "torchvision", backbone, tensors, names[backbone], lambda name: bool(top.match(name))
    )


@functools.cache
def torch_layers(backbone: str) -> dict[str, str]:
    """Maps the path of every convolution in the module to its name in torchvision.

    The order is that of Keras, which lists layers by their distance to the output, the farthest
    first, and those of equal distance as they were made.
    """
    if backbone == "vgg16":
        blocks = [block for block, (_, count) in enumerate(vgg16.BLOCKS) for _ in range(count)]
        firsts = {block: blocks.index(block) for block in blocks}
        # torchvision counts ReLUs and poolings as well.
        return {
            f"block{block + 1}/conv{block + 1}_{index - firsts[block] + 1}": (
                f"features.{2 * index + block}"
            )
            for index, block in enumerate(blocks)
        }
    layers = {}
    for block, branches in {"stem": (inception_v3.STEM,), **inception_v3.MIXED}.items():
        inside = [pair for branch in branches for pair in inception_v3.convolutions(branch)]
        for convolution, _ in sorted(inside, key=lambda pair: -pair[1]):
            path = f"{block}/{convolution.name}"
            layers[path] = path.removeprefix("stem/").replace("/", ".")
    return layers


@functools.cache
def variable_shapes(backbone: str) -> dict[str, tuple[int, ...]]:
    """Gives the shapes of all variables of a network by their paths."""
    if backbone == "vgg16":
        module, taps, side = vgg16.VGG16(), vgg16.TAPS, 32
    else:
        module, taps, side = inception_v3.InceptionV3(), inception_v3.TAPS, 75
    frames = jnp.zeros((1, side, side, 3), jnp.uint8)
    variables = jax.eval_shape(
        lambda: module.init(jax.random.key(0), frames, train=False, taps=taps)
    )
    flat: dict[str, Any] = traverse_util.flatten_dict(variables, sep="/")
    return {path: leaf.shape for path, leaf in flat.items()}


def match_variables(file: ForeignFile) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Gives the checked variables by their paths, and the names of the tensors left out."""
    known = set(file.names.values())
    missing = [name for name in file.names.values() if name not in file.tensors]
    others = [name for name in file.tensors if name not in known]
    unused = tuple(name for name in others if file.is_top(name))
    unexpected = [name for name in others if not file.is_top(name)]
    faults = [f"lacks {first_few(missing)}"] if missing else []
    if unexpected:
        faults.append(f"has the unexpected {first_few(unexpected)}")
    title = TITLES[file.backbone]
    if faults:
        raise UserError(f"is not the {title} known here: it {' and '.join(faults)}")
    values = {path: file.tensors[name] for path, name in file.names.items()}
    shapes = variable_shapes(file.backbone)
    _refuse(
        f"{file.names[path]} is {list(value.shape)}, not {list(shapes[path])} as {title} has it"
        for path, value in values.items()
        if value.shape != shapes[path]
    )
    _refuse(
        f"{file.names[path]} is of {value.dtype}, not of floating point"
        for path, value in values.items()
        if not jnp.issubdtype(value.dtype, jnp.floating)
    )
    values = {path: np.ascontiguousarray(value, np.float32) for path, value in values.items()}
    _refuse(
        f"{file.names[path]} holds NaN or infinity"
        for path, value in values.items()
        if not np.isfinite(value).all()
    )
    return values, unused


def _refuse(faults: Iterable[str]) -> None:
    """Raises an error if there are faults."""
    faults = list(faults)
    if faults:
        raise UserError(first_few(faults))
