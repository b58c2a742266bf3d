"""The hashers of `benchmarks.peers.hasher` with the variables of the library's models."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from flax.traverse_util import flatten_dict
from torch import nn

from benchmarks.peers.hasher import Batch, Hasher, SymmetricHasher
from benchmarks.random_models import RandomModel
from stvh_jax.clips import Clips
from stvh_jax.models.build import encode
from stvh_jax.models.compiling import jit

# What the outputs may differ by, of the largest of each.
TOLERANCE = 1e-4


def equal_to(ours: RandomModel, clips: Clips) -> nn.Module:
    """Builds the peer of a model, with the same variables and, of these clips, the same outputs.

    Raises:
      ValueError: its variables or its outputs are others.
    """
    config = ours.model.config
    if config.heads.symmetric:
        module: nn.Module = SymmetricHasher(ours.model._half(parent=None).config)
    else:
        module = Hasher(config)
    load(module, ours.variables)
    error = largest_error(module.eval(), ours, clips)
    if not error < TOLERANCE:
        raise ValueError(f"not the same model: outputs differ by {error:.1e}")
    return module


def largest_error(module: nn.Module, ours: RandomModel, clips: Clips) -> float:
    """Compares all outputs: the largest difference, each to the largest number of its kind."""
    expected = jit(lambda variables, clips: encode(ours.model, variables, clips))(
        ours.variables, clips
    )
    with torch.inference_mode():
        found = module(Batch.of(clips))
    errors = []
    for name, values in found._asdict().items():
        wanted = np.asarray(getattr(expected, name))
        largest = max(np.abs(wanted).max(), np.finfo(np.float32).tiny)
        errors.append(np.abs(values.numpy() - wanted).max() / largest)
    return max(errors)


def load(module: nn.Module, variables: Mapping[str, Any]) -> None:
    """Gives a module the variables of the library's model; those of the visual end have no part."""
    state, joined = {}, {}
    for path, value in flatten_dict(dict(variables)).items():
        if path[0] == "visual":
            continue
        name = _renamed(".".join(path[1:]))
        tensor = torch.from_numpy(np.array(value))
        if path[0] == "params" and path[-1] == "kernel":
            tensor = tensor.T
        where = re.fullmatch(r"(.*)\.(query|key|value)\.weight", name)
        if where:
            joined.setdefault(where[1], {})[where[2]] = tensor
        else:
            state[name] = tensor
    for where, parts in joined.items():
        state[f"{where}.qkv.weight"] = torch.cat([parts[n] for n in ("query", "key", "value")])
    missing, unexpected = module.load_state_dict(state, strict=False)
    left = [name for name in missing if not name.endswith("num_batches_tracked")]
    if left or unexpected:
        raise ValueError(f"not the same model: {left} missing, {unexpected} unknown")


def _renamed(name: str) -> str:
    """Turns the library's name of a variable into that of a parameter here."""
    changes = (
        (r"^half\.", "hasher."),
        (r"\blayer_(\d+)", lambda found: f"layers.{int(found[1]) - 1}"),
        (r"\bhead_0\.kernel$", "visual_head.kernel"),
        (r"\bhead_0\b", "visual_head"),
        (r"\bhead_(\d+)", r"heads.\1"),
        (r"\bfeed_forward\.Dense_0\b", "feed_forward.0"),
        (r"\bfeed_forward\.Dense_1\b", "feed_forward.3"),
        (r"standardise\.mean$", "standardise.running_mean"),
        (r"standardise\.var$", "standardise.running_var"),
    )
    for old, new in changes:
        name = re.sub(old, new, name)
    if name.endswith(".kernel") and "visual_head" not in name:
        return name.removesuffix("kernel") + "weight"
    return re.sub(r"\.scale$", ".weight", name)
