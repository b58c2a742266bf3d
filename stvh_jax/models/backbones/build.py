"""Backbones: from frames to feature maps, each with its own pixel normalisation.

Every backbone is a Flax module, called as `backbone(frames, train=...)` with uint8 frames
`[..., height, width, 3]`, and returns a tuple of feature maps `[..., H, W, C]`, of one stride or
of several.
"""

import flax.linen as nn

from stvh_jax.errors import UserError
from stvh_jax.models.backbones.inception_v3 import InceptionV3
from stvh_jax.models.backbones.small import Small
from stvh_jax.models.backbones.vgg16 import VGG16

BACKBONES = {"small": Small, "vgg16": VGG16, "inception_v3": InceptionV3}


def build(name: str, *, module_name: str | None = None, **options) -> nn.Module:
    """Builds the backbone of this name; `options` are the fields of its module.

    Inside another module its variables stand under `module_name`.

    Raises:
      UserError: no backbone has this name, or the backbone has no such option.
    """
    if name not in BACKBONES:
        raise UserError(f"backbone {name!r} is unknown; choose one of {', '.join(BACKBONES)}")
    backbone = BACKBONES[name]
    known = [field for field in backbone.__dataclass_fields__ if field not in ("parent", "name")]
    for option in options:
        if option not in known:
            raise UserError(f"backbone {name} has no option {option!r}; it has {', '.join(known)}")
    return backbone(**options, name=module_name)
