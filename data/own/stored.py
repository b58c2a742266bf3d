"""What a set of one's own footage says of itself, read without TensorFlow."""

import dataclasses
import pathlib
import re
from typing import Any

from stvh_jax import files

_CURE = "delete it and run python -m data import again"
_WHAT = "the description of a prepared set"


@dataclasses.dataclass(frozen=True)
class Stored:
    """What a config needs to know of a set.

    Attributes:
      num_frames: T.
      num_actors: N.
      key_frame: its place among the T.
      has_pairs: whether classes have sides, `l_x` and `r_x`, and each its mirror image.
      image_size: height and width of frames; None for boxes alone.
      clips: how many there are in each split.
      training_videos: how many videos the training clips are of; 1 where that is not known.
    """

    num_frames: int
    num_actors: int
    key_frame: int
    has_pairs: bool
    image_size: tuple[int, int] | None
    clips: dict[str, int]
    training_videos: int = 1


def read(folder: str, name: str, variant: str) -> Stored | None:
    """Reads what the newest set in a folder says; None where there is none of one's own.

    Args:
      folder: of prepared sets.
      name: of the set.
      variant: "boxes_only" or "frames".

    Raises:
      UserError: it cannot be read.
      Damaged: it is malformed.
    """
    paths = pathlib.Path(folder, name, variant).glob("*/metadata.json")
    made = [path for path in paths if re.fullmatch(r"[0-9]+(\.[0-9]+){2}", path.parent.name)]
    if not made:
        return None
    path = max(made, key=lambda path: tuple(map(int, path.parent.name.split("."))))
    values = files.read_json(path, _WHAT, cure=_CURE)
    if "num_frames" not in values:  # of a published data set
        return None
    with files.reading(path, _WHAT, _CURE):
        return _stored(values)


def _stored(values: dict[str, Any]) -> Stored:
    sides = [int(side) for side in values["image_size"]]
    return Stored(
        num_frames=int(values["num_frames"]),
        num_actors=int(values["num_actors"]),
        key_frame=int(values["key_frame"]),
        has_pairs=bool(values["has_pairs"]),
        image_size=(sides[0], sides[1]) if sides else None,
        clips={str(name): int(split["clips"]) for name, split in values["splits"].items()},
        training_videos=int(values["splits"].get("train", {}).get("videos", 1)),
    )
