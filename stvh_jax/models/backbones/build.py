"""Backbones: from frames to feature maps, each with its own pixel normalisation.

Every backbone is a Flax module, called as `backbone(frames, train=...)` with uint8 frames
`[..., height, width, 3]`, and returns a tuple of feature maps `[..., H, W, C]`, of one stride or
of several.
"""

import dataclasses

import flax.linen as nn

from stvh_jax.errors import UserError, shown
from stvh_jax.models.backbones.inception_v3 import InceptionV3
from stvh_jax.models.backbones.small import Small
from stvh_jax.models.backbones.vgg16 import VGG16

BACKBONES: dict[str, type[nn.Module]] = {
    "small": Small,
    "vgg16": VGG16,
    "inception_v3": InceptionV3,
}

# What an option may hold, by the type of its default.
WORDS = {bool: "True or False", str: "a word", int: "a whole number"}


def build_backbone(name: str, *, module_name: str | None = None, **options) -> nn.Module:
    """Builds the backbone of this name; `options` are the fields of its module.

    Inside another module its variables stand under `module_name`.

    Raises:
      UserError: no backbone has this name, or the backbone has no such option.
    """
    check_backbone(name, **{option: options[option] for option in options if option != "dtype"})
    return BACKBONES[name](**options, name=module_name)


def check_backbone(name: str, **options) -> None:
    """Checks that there is a backbone of this name with these options.

    An option has the type of its default; of any other, the backbone checks it itself.

    Raises:
      UserError: no backbone has this name, or the backbone has no such option, or it is of another
        type.
    """
    if name not in BACKBONES:
        raise UserError(f"backbone {shown(name)} is unknown; choose one of {', '.join(BACKBONES)}")
    fields = {field.name: field for field in dataclasses.fields(BACKBONES[name])}
    known = [field for field in fields if field not in ("parent", "name", "dtype")]
    for option, value in options.items():
        if option not in known:
            raise UserError(
                f"backbone {name} has no option {shown(option)}; it has {', '.join(known)}"
            )
        expected = WORDS.get(type(fields[option].default))
        if expected and type(value) is not type(fields[option].default):
            raise UserError(f"config.model.backbone.{option} is {shown(value)}; use {expected}")
