"""What the paper prints of its losses and of the readings of its equations, beside a config."""

import json
from collections.abc import Mapping
from typing import Any

from configs import vd
from stvh_jax.fields import flatten

# Fields whose printed value is not the default of configs/vd.py: Eq 3 and 10, Eq 2.
_PRINTED = {"model.residual": False, "model.distance": "literal"}
# Fields of the model that are readings of an equation, not sizes, at their printed values there.
_READINGS = (
    "model.product",
    "model.causal",
    "model.graph_weight",
    "model.fusion",
    "model.temporal_contrast",
    "model.hash_head",
    "model.symmetric",
)


def printed() -> dict[str, Any]:
    """Gives every loss and reading of an equation as the paper prints it, by field."""
    config = flatten(vd.get_config().to_dict())
    losses = [name for name in config if name.startswith("loss.")]
    return {name: config[name] for name in (*losses, *_READINGS)} | _PRINTED


def not_as_printed(config: Mapping[str, Any]) -> list[str]:
    """Lists the losses and readings of a config that differ from the print.

    Args:
      config: a whole config as plain values; fields that it lacks are not compared.

    Returns:
      One text for each, as "loss.action=4.0 (printed: 0.5)".
    """
    flat = flatten(config)
    wanted = json.loads(json.dumps(printed()))  # plain values, too
    return [
        f"{name}={flat[name]} (printed: {value})"
        for name, value in wanted.items()
        if name in flat and flat[name] != value
    ]
