"""Your own labelled videos, from boxes by default: forty labels are enough to begin with.

python -m data import --video 'matches/*.mp4' --tracks 'tracks/{match}.txt' --labels labels.csv
python train.py --config=configs/own.py
python evaluate.py --bits=128

configs/own.py:frames reads the frames of a set that was imported with --image-size. A set with
another --name or --out needs --config.data.name=NAME and --config.data.dir=DIR here, too. How many
frames and people a clip has, which splits there are, and whether activities have sides, l_x and
r_x, is read from the set. docs/own_labels.md says more.

With --config.train.start_from=RUN the model is that of a trained run, and learns from there.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ml_collections import ConfigDict, FieldReference

from data.own import stored
from stvh_jax import config as base
from stvh_jax import recipes

CONTENTS = ("boxes", "frames")
# The least epochs and steps of a training, whichever takes longer, and how often it is validated.
EPOCHS, STEPS, VALIDATIONS = 30, 300, 15


class _OfTheSet(FieldReference):
    """A field that has what the set says of itself, unless it is given.

    The set's name and folder are known only when the command line has been read.
    """

    def __init__(self, config: ConfigDict, usual: Any, tell: Callable[[stored.Stored], Any]):
        self._tell = None
        super().__init__(usual)
        self._config, self._tell = config, tell

    def set(self, value, type_safe=True):
        """Takes a value that is given."""
        self._tell = None
        super().set(value, type_safe)

    def get(self):
        """Returns what was given, or what the set says, or the usual value without a set."""
        data = self._config.data
        found = self._tell and stored.read(data.dir, data.name, data.variant)
        return self._tell(found) if self._tell and found else super().get()


def get_config(options: str = "") -> ConfigDict:
    """Returns the config for boxes or frames."""
    (content,) = recipes.read_options("own", options, CONTENTS)
    config = get_config_of(content)
    ask_the_set(config)
    return config


def get_config_of(content: str) -> ConfigDict:
    """Returns the config for boxes or frames, before the set is asked for anything."""
    config = base.get_config()
    config.data.name = "own"
    if content == "boxes":
        recipes.make_boxes_only(config)
        recipes.make_symmetric_boxes(config)
        config.model.symmetric = False
        # As for Collective Activity, of which there is little, too: a small model, trained for less
        # long, to which every clip is shown by a camera that stands elsewhere.
        config.model.features = 64
        config.train.box_jitter = 0.1
        config.train.batch_size = 32
        config.data.variant = "boxes_only"
    else:
        # Few labels teach no large network to see: a small one, unless it starts from a run.
        recipes.make_small(config)
        config.model.backbone = ConfigDict({"name": "small", "features": (16, 32, 64)})
        config.model.features = 64
        config.optimizer.learning_rate = 1e-3
        config.optimizer.warmup_epochs = 1.0
        config.train.batch_size = config.train.evaluation_batch_size = 8
        config.data.variant = "frames"
    config.name = "own" if content == "boxes" else "own_frames"
    config.train.epochs, config.train.evaluate_every_epochs = EPOCHS, EPOCHS // VALIDATIONS
    return config


def ask_the_set(config: ConfigDict) -> None:
    """Lets the set say what depends on it."""
    ask_for_shapes(config)
    ask(config, config.data, "flip", lambda one: one.has_pairs)
    sides = "symmetric", lambda one: one.has_pairs and config.model.source == "boxes"
    ask(config, config.model, *sides)
    for split in ("validation", "test", "unlabelled"):
        name = f"{split}_split"
        ask(config, config.data, name, lambda one, split=split: split * (split in one.clips))
    ask_for_length(config, ("train",))


def ask(
    config: ConfigDict, part: ConfigDict, field: str, tell: Callable[[stored.Stored], Any]
) -> None:
    """Lets the set say what a field of a part of a config has."""
    part[field] = _OfTheSet(config, part[field], tell)


def ask_for_shapes(config: ConfigDict) -> None:
    """Lets the set say how large clips are."""
    size = config.data.image_size
    for part in (config.data, config.model):
        ask(config, part, "num_frames", lambda one: one.num_frames)
        ask(config, part, "num_actors", lambda one: one.num_actors)
    ask(config, config.model, "key_frame", lambda one: one.key_frame)
    ask(config, config.data, "image_size", lambda one: one.image_size or size)


def ask_for_length(
    config: ConfigDict, splits: Sequence[str], *, validations: int = VALIDATIONS
) -> None:
    """Lets the set say in which batches and for how long is trained on some splits.

    The batch size that the config has is the largest. There are so many validations.
    """
    largest = config.train.batch_size

    def clips(one: stored.Stored) -> int:
        return max(1, sum(one.clips.get(split, 0) for split in splits))

    def batch_size(one: stored.Stored) -> int:
        return min(largest, _power(clips(one)))

    def epochs(one: stored.Stored) -> int:
        return max(EPOCHS, STEPS // max(1, clips(one) // batch_size(one)))

    ask(config, config.train, "batch_size", batch_size)
    ask(config, config.train, "epochs", epochs)
    ask(config, config.train, "evaluate_every_epochs", lambda one: epochs(one) // validations)


def _power(number: int) -> int:
    """Returns the largest power of two that a number reaches."""
    return 1 << max(0, number.bit_length() - 1)
