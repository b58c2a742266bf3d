"""Files of ImageNet weights for Inception-v3 and VGG-16: Keras's, torchvision's and our own.

Our own format is a .safetensors file with the paths of the module, the options that the weights
need, where they came from, and the SHA-256 of both.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from stvh_jax import digests, files
from stvh_jax.errors import UserError
from stvh_jax.models.backbones.preprocessing import NORMALISATIONS
from stvh_jax.models.weights.containers import (
    NamedTensors,
    first_few,
    read_container,
    safetensors_bytes,
)
from stvh_jax.models.weights.names import (
    ForeignFile,
    match_variables,
    name_tensors,
    variable_shapes,
)

FORMAT, VERSION = "stvh_jax backbone", "1"
# The options that the weights of a framework need.
OPTIONS = {
    ("keras", "inception_v3"): {"count_padding": False, "normalisation": "symmetric"},
    # torchvision's network takes ImageNet's range and maps it to -1..1 itself (transform_input).
    ("torchvision", "inception_v3"): {"count_padding": True, "normalisation": "symmetric"},
    ("keras", "vgg16"): {"normalisation": "caffe"},
    ("torchvision", "vgg16"): {"normalisation": "imagenet"},
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
    with files.reading(path, "a readable file of weights", "download it again"):
        try:
            contents = read_container(path)
            if isinstance(contents, NamedTensors) and contents.metadata.get("format") == FORMAT:
                return _own_weights(contents.tensors, contents.metadata, normalisation)
            return _foreign_weights(name_tensors(contents), path, normalisation)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error


def write(weights: Weights, path: os.PathLike | str) -> None:
    """Writes a file of our own format, whole or not at all; equal weights give equal bytes.

    Raises:
      UserError: `path` is a folder, or the file or the folder it goes to cannot be made.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give the name of a file")
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
    metadata["metadata_sha256"] = _metadata_digest(metadata)
    tensors: dict[str, Any] = traverse_util.flatten_dict(weights.variables, sep="/")
    with files.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, safetensors_bytes(tensors, metadata))


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
    held: dict[str, Any] = traverse_util.flatten_dict(weights.variables, sep="/")
    wanted: dict[str, Any] = traverse_util.flatten_dict(shapes, sep="/")
    wrong = [
        path for path, leaf in wanted.items() if path not in held or held[path].shape != leaf.shape
    ]
    if wrong:
        raise UserError(
            f"the weights of {weights.source} do not fit config.model.backbone: they lack "
            f"{first_few(wrong)}, or have another shape there"
        )
    return traverse_util.unflatten_dict({path: held[path] for path in wanted}, sep="/")


def _foreign_weights(file: ForeignFile, path: pathlib.Path, normalisation: str | None) -> Weights:
    variables, unused = match_variables(file)
    options = dict(OPTIONS[file.framework, file.backbone])
    options["normalisation"] = normalisation or options["normalisation"]
    if options["normalisation"] == "caffe":
        first = next(iter(file.names))
        variables[first] = np.ascontiguousarray(variables[first][:, :, ::-1])
    return Weights(
        file.backbone,
        options,
        traverse_util.unflatten_dict(variables, sep="/"),
        unused,
        digests.of_file(path),
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
        # A file of an earlier version has no such digest.
        if metadata.get("metadata_sha256") not in (None, _metadata_digest(metadata)):
            raise ValueError("metadata_sha256")
    except (AttributeError, KeyError, RecursionError, ValueError) as error:
        raise UserError("is damaged in its metadata; convert the original file again") from error
    names = {path: path for path in variable_shapes(backbone)}
    variables, _ = match_variables(
        ForeignFile(framework, backbone, tensors, names, lambda name: False)
    )
    variables = traverse_util.unflatten_dict(variables, sep="/")
    if digest(variables) != metadata.get("tensors_sha256"):
        raise UserError("was changed after it was written; convert the original file again")
    return Weights(backbone, options, variables, (), sha256, source, framework)


def _metadata_digest(metadata: Mapping[str, str]) -> str:
    """Computes the SHA-256 of all metadata but its own."""
    rest = {name: value for name, value in metadata.items() if name != "metadata_sha256"}
    return digests.of_json(rest)


def digest(variables: Mapping) -> str:
    """Computes the SHA-256 of named arrays: of their names, types, shapes and bytes."""
    hashed = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(variables):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        hashed.update(f"{name} {leaf.dtype} {leaf.shape}\n".encode())
        hashed.update(np.ascontiguousarray(leaf).data)
    return hashed.hexdigest()
