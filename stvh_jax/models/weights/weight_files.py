"""Files of ImageNet weights for Inception-v3 and VGG-16: Keras's, torchvision's and our own.

A file is known by what it holds, never by its name. A file of others goes three steps: its tensors
are read under their names there, the names are matched with the module's paths, and every tensor
is checked against the shapes of the module.
"""

import collections
import dataclasses
import functools
import hashlib
import io
import json
import os
import pathlib
import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from stvh_jax import files
from stvh_jax.errors import UserError
from stvh_jax.models.backbones import inception_v3, vgg16
from stvh_jax.models.backbones.preprocessing import NORMALISATIONS

FORMAT, VERSION = "stvh_jax backbone", "1"


TITLES = {"inception_v3": "Inception-v3", "vgg16": "VGG-16"}


# The options that the weights of a framework need.
OPTIONS = {
    ("keras", "inception_v3"): {"count_padding": False, "normalisation": "symmetric"},
    # torchvision's network takes ImageNet's range and maps it to -1..1 itself (transform_input).
    ("torchvision", "inception_v3"): {"count_padding": True, "normalisation": "symmetric"},
    ("keras", "vgg16"): {"normalisation": "caffe"},
    ("torchvision", "vgg16"): {"normalisation": "imagenet"},
}


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


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of a whole network without its dense layers.

    Attributes:
      backbone: `inception_v3` or `vgg16`; of a run, any.
      options: fields of the backbone's module that these weights need.
      variables: `params`, and `batch_stats` where there are any, as nested dicts of float32 arrays.
      unused: names of the file's tensors that were left out: dense layers and auxiliary head.
      sha256: of the file that the weights first came from.
      source: name of that file.
      framework: of that file, `keras` or `torchvision`; `stvh_jax` for the backbone of a run.
    """

    backbone: str
    options: dict
    variables: dict
    unused: tuple[str, ...]
    sha256: str
    source: str
    framework: str


class _File(NamedTuple):
    """Tensors under their names in a file, and these names by the paths of the module."""

    framework: str
    backbone: str
    tensors: Mapping[str, np.ndarray]
    names: Mapping[str, str]
    is_top: Callable[[str], bool]


def read(path: os.PathLike | str, normalisation: str | None = None) -> Weights:
    """Reads the weights of a file, of whichever format.

    Args:
      path: the file.
      normalisation: of the pixels that the weights were trained on, where it is not the
        framework's usual one. Weights of others under `caffe` take blue before red, as Caffe does,
        and their first kernel is turned to take red first.

    Raises:
      UserError: no such file, a damaged one or one of something else; a tensor that is missing,
        unexpected, misshapen or not finite; an unknown normalisation, or one for a file of our
        own format, which has its own.
    """
    path = pathlib.Path(path)
    if normalisation not in (None, *NORMALISATIONS):
        raise UserError(
            f"normalisation {normalisation!r} is unknown; choose one of {', '.join(NORMALISATIONS)}"
        )
    try:
        kind = _kind(path)
        if kind == "safetensors":
            tensors, metadata = _read_safetensors(path)
            if metadata.get("format") == FORMAT:
                return _own_weights(tensors, metadata, normalisation)
            file = _torch_file(tensors)
        elif kind == "hdf5":
            file = _keras_file(_read_hdf5(path))
        elif kind == "zip":
            file = _zip_file(path)
        else:
            file = _torch_file(_read_torch(path))
        return _foreign_weights(file, path, normalisation)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def write(weights: Weights, path: os.PathLike | str) -> None:
    """Writes a file of our own format, whole or not at all; equal weights give equal bytes.

    Raises:
      UserError: `path` is a folder.
      OSError: the file, or the folder it goes to, cannot be made.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "backbone": weights.backbone,
        "options": json.dumps(weights.options, sort_keys=True),
        "framework": weights.framework,
        "source": weights.source,
        "source_sha256": weights.sha256,
        "tensors_sha256": digest(weights.variables),
    }
    data = _safetensors().numpy.save(
        traverse_util.flatten_dict(weights.variables, sep="/"), metadata
    )
    files.write(path, _with_sorted_header(data))


def select(weights: Weights, shapes: Mapping) -> dict:
    """Takes the variables that a module needs, which may be a part of the network.

    Args:
      weights: of the module's network.
      shapes: the module's variables, or their shapes as `jax.eval_shape` of its `init` gives them.

    Returns:
      Variables of the structure of `shapes`.

    Raises:
      UserError: the module has a variable that the weights lack or have in another shape.
    """
    held = traverse_util.flatten_dict(weights.variables, sep="/")
    wanted = traverse_util.flatten_dict(shapes, sep="/")
    wrong = [
        path for path, leaf in wanted.items() if path not in held or held[path].shape != leaf.shape
    ]
    if wrong:
        raise UserError(
            f"the weights of {weights.source} do not fit config.model.backbone: they lack "
            f"{some(wrong)}, or have another shape there"
        )
    return traverse_util.unflatten_dict({path: held[path] for path in wanted}, sep="/")


def _kind(path: pathlib.Path) -> str:
    """Tells the container of a file by its first bytes."""
    if path.is_dir():
        raise UserError("is a folder; give the file of weights itself")
    if not path.exists():
        raise UserError("does not exist")
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise UserError("is empty; download it again")
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if start.startswith(b"PK\x03\x04"):
        return "zip"
    if start.startswith(b"\x80"):
        return "pickle"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise UserError("is a web page and no weights: the download failed; download it again")
    if start[8:9] == b"{":
        return "safetensors"
    raise UserError(
        f"is no file of weights: it begins with {start[:20]!r}; known are Keras's .h5 and .keras, "
        "torchvision's .pth, and .safetensors"
    )


def _safetensors():
    try:
        import safetensors.numpy
    except ImportError as error:
        raise UserError("needs the package safetensors: pip install safetensors") from error
    return safetensors


def _read_safetensors(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    safetensors = _safetensors()
    try:
        with safetensors.safe_open(path, "np") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise UserError(f"is a damaged .safetensors file ({error}); download it again") from error
    except (AttributeError, TypeError) as error:
        raise UserError(f"has tensors of a type that NumPy lacks ({error})") from error


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the state dict of a .pth file, of the new format or the old."""
    try:
        import torch
    except ImportError as error:
        raise UserError(
            "is a PyTorch file, and torch is not installed: pip install torch, or save the state "
            "dict as .safetensors where torch is"
        ) from error
    try:
        with warnings.catch_warnings():
            # Of pickle protocols and TorchScript: what matters here is said below, in one line.
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            "holds other Python objects than tensors, which are not safe to load, or is damaged; "
            "save the model's state_dict() alone"
        ) from error
    except Exception as error:  # the unpickler of a damaged file may fail in any way
        raise UserError(
            "is damaged, or no state dict of PyTorch; download it again, or save the model's "
            "state_dict() alone"
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping):
        raise UserError(f"holds a {type(state).__name__}; save the model's state_dict() alone")
    strange = [str(name) for name, value in state.items() if not torch.is_tensor(value)]
    if strange:
        raise UserError(
            f"is no state dict: {some(strange)} are no tensors; save the model's state_dict() alone"
        )
    # NumPy knows no bfloat16.
    return {
        str(name): (value.float() if value.is_floating_point() else value).detach().numpy()
        for name, value in state.items()
    }


def _read_hdf5(source: os.PathLike | io.BytesIO) -> dict[str, list[np.ndarray]]:
    """Reads the tensors of every layer of a Keras file, the layers of each kind in their order."""
    try:
        import h5py
    except ImportError as error:
        raise UserError("is a Keras file, and h5py is not installed: pip install h5py") from error
    try:
        with h5py.File(source, "r") as file:
            root = file.get("model_weights", file)
            if "layer_names" in root.attrs:
                names = [_text(name) for name in root.attrs["layer_names"]]
                return {name: _legacy_tensors(root[name]) for name in names}
            if "layers" in root:
                groups = sorted(root["layers"].items(), key=lambda item: _counted(item[0]))
                return {name: _tensors(group.get("vars", {})) for name, group in groups}
    except (AttributeError, KeyError, OSError, RuntimeError, ValueError) as error:
        raise UserError("is a damaged HDF5 file; download it again") from error
    raise UserError("is an HDF5 file, but no Keras model or weights: it lists no layers")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _legacy_tensors(group) -> list[np.ndarray]:
    return [np.asarray(group[_text(name)]) for name in group.attrs["weight_names"]]


def _tensors(group: Mapping) -> list[np.ndarray]:
    return [np.asarray(group[name]) for name in sorted(group, key=int)]


def _counted(name: str) -> tuple[str, int]:
    """Splits the number off Keras's name of a layer: the first of a kind has none."""
    kind, number = re.fullmatch(r"(.*?)(?:_(\d+))?", name).groups()
    return kind, int(number or 0)


def _zip_file(path: pathlib.Path) -> _File:
    """Reads what Keras or PyTorch has put into a zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "model.weights.h5" in names:
                return _keras_file(_read_hdf5(io.BytesIO(archive.read("model.weights.h5"))))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise UserError("is a damaged zip archive; download it again") from error
    if any(name.endswith("/data.pkl") for name in names):
        return _torch_file(_read_torch(path))
    raise UserError("is a zip archive, but neither Keras's nor PyTorch's")


def _keras_file(layers: Mapping[str, Sequence[np.ndarray]]) -> _File:
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
    for index, layer in enumerate(_layers(backbone)):
        for template, (_, role) in TENSORS[backbone].items():
            owner = (convolutions if role in KERAS_WEIGHTS else norms)[index]
            names[template.format(layer)] = f"{owner}/{role}"
    tensors = {}
    for name, values in layers.items():
        tensors |= _keras_roles(name, values)
    return _File(
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


def _torch_file(tensors: Mapping[str, np.ndarray]) -> _File:
    """Names the tensors of torchvision, and turns kernels from OIHW to HWIO."""
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    for telltale, network in OTHER_NETWORKS.items():
        if telltale in tensors:
            raise UserError(f"is {network}; known are {' and '.join(TITLES.values())}")
    names = {
        backbone: {
            template.format(layer): f"{name}.{role}"
            for layer, name in _layers(backbone).items()
            for template, (role, _) in TENSORS[backbone].items()
        }
        for backbone in TITLES
    }
    shared = {name: len(tensors.keys() & names[name].values()) for name in TITLES}
    backbone = max(shared, key=shared.get)
    if not shared[backbone]:
        raise UserError(
            f"is another network: it has {some(tensors) or 'no tensors'}; known are "
            f"{' and '.join(TITLES.values())} with torchvision's names"
        )
    tensors = {
        name: value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
        for name, value in tensors.items()
    }
    return _File("torchvision", backbone, tensors, names[backbone], TORCH_TOP[backbone].match)


@functools.cache
def _layers(backbone: str) -> dict[str, str]:
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
def _shapes(backbone: str) -> dict[str, tuple[int, ...]]:
    """Gives the shapes of all variables of a network by their paths."""
    if backbone == "vgg16":
        module, taps, side = vgg16.VGG16(), vgg16.TAPS, 32
    else:
        module, taps, side = inception_v3.InceptionV3(), inception_v3.TAPS, 75
    frames = jnp.zeros((1, side, side, 3), jnp.uint8)
    variables = jax.eval_shape(
        lambda: module.init(jax.random.key(0), frames, train=False, taps=taps)
    )
    return {
        path: leaf.shape for path, leaf in traverse_util.flatten_dict(variables, sep="/").items()
    }


def _foreign_weights(file: _File, path: pathlib.Path, normalisation: str | None) -> Weights:
    variables, unused = _match(file)
    options = dict(OPTIONS[file.framework, file.backbone])
    options["normalisation"] = normalisation or options["normalisation"]
    if options["normalisation"] == "caffe":
        first = next(iter(file.names))
        variables[first] = np.ascontiguousarray(variables[first][:, :, ::-1])
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return Weights(
        file.backbone,
        options,
        traverse_util.unflatten_dict(variables, sep="/"),
        unused,
        sha256,
        path.name,
        file.framework,
    )


def _own_weights(
    tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], normalisation: str | None
) -> Weights:
    if normalisation:
        # Which of red and blue comes first was settled when the file was converted.
        raise UserError("is converted already; give the normalisation with the original file")
    if metadata.get("version") != VERSION:
        raise UserError(
            f"is of version {metadata.get('version')} of our format and this is version {VERSION}; "
            "convert the original file again"
        )
    try:
        backbone, framework = metadata["backbone"], metadata["framework"]
        source, sha256 = metadata["source"], metadata["source_sha256"]
        options = json.loads(metadata["options"])
        if options.keys() != OPTIONS[framework, backbone].keys():
            raise KeyError("options")
    except (AttributeError, KeyError, ValueError) as error:
        raise UserError("is damaged in its metadata; convert the original file again") from error
    names = {path: path for path in _shapes(backbone)}
    variables, _ = _match(_File(framework, backbone, tensors, names, lambda name: False))
    variables = traverse_util.unflatten_dict(variables, sep="/")
    if digest(variables) != metadata.get("tensors_sha256"):
        raise UserError("was changed after it was written; convert the original file again")
    return Weights(backbone, options, variables, (), sha256, source, framework)


def digest(variables: Mapping) -> str:
    """Computes the SHA-256 of named arrays: of their names, types, shapes and bytes."""
    found = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(variables):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        found.update(f"{name} {leaf.dtype} {leaf.shape}\n".encode())
        found.update(np.ascontiguousarray(leaf).data)
    return found.hexdigest()


def _match(file: _File) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Gives the checked variables by their paths, and the names of the tensors left out."""
    known = set(file.names.values())
    missing = [name for name in file.names.values() if name not in file.tensors]
    others = [name for name in file.tensors if name not in known]
    unused = tuple(name for name in others if file.is_top(name))
    unexpected = [name for name in others if not file.is_top(name)]
    faults = [f"lacks {some(missing)}"] if missing else []
    if unexpected:
        faults.append(f"has the unexpected {some(unexpected)}")
    title = TITLES[file.backbone]
    if faults:
        raise UserError(f"is not the {title} known here: it {' and '.join(faults)}")
    values = {path: file.tensors[name] for path, name in file.names.items()}
    shapes = _shapes(file.backbone)
    _refuse(
        f"{file.names[path]} is {list(value.shape)}, not {list(shapes[path])} as {title} has it"
        for path, value in values.items()
        if value.shape != shapes[path]
    )
    _refuse(
        f"{file.names[path]} is of {value.dtype}, no floating point"
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
        raise UserError(some(faults))


def some(names: Iterable[str]) -> str:
    """Lists the first few names and says how many more there are."""
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _with_sorted_header(data: bytes) -> bytes:
    """Sorts the header of a .safetensors file, whose metadata come in an order of chance."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[end:]
