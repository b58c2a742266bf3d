"""Your own videos without a label: a model learns from two views of each clip.

python -m data import --video 'matches/*.mp4' --tracks 'tracks/{match}.txt'
python train.py --config=configs/own_label_free.py
python search.py index --run runs/own_label_free-mstvh-128-32_visual-0 --video match.mp4 ...

As configs/own.py, it reads from the set how many frames, people and clips there are, has :frames,
and needs --config.data.name=NAME and --config.data.dir=DIR for a set with another --name or --out.
A set with labels serves as well: they are not read, and its clips of what has no label are learned
from, too. docs/own_without_labels.md says more.

A clip and its mirror image may have different codes. Where left and right do not matter,
--config.model.symmetric=True gives them the same.
"""

from ml_collections import ConfigDict

from configs import own
from data.own import stored
from stvh_jax import recipes

# The most clips in a batch, to be told from each other: of boxes, and of frames, which take memory.
LARGEST = {"boxes": 256, "frames": 32}
# The views of clips of several frames: other moments, in frames, and other speeds.
MOMENT, SPEED = 1.0, 0.2
# What is learned from, as far as the set has it.
SPLITS = ("train", "unlabelled")
# At each the visual bits may be fitted, which takes as long as many steps.
VALIDATIONS = 5


def get_config(options: str = "") -> ConfigDict:
    """Returns the config for boxes or frames."""
    (content,) = recipes.read_options("own_label_free", options, own.CONTENTS)
    config = own.get_config_of(content)
    # Without labels pixels would tell videos, not what is done: they are the visual bits'.
    config.model.embed = "boxes"
    recipes.make_label_free(config)
    config.name = "own_label_free" if content == "boxes" else "own_label_free_frames"
    config.data.flip = True
    config.train.batch_size = config.train.evaluation_batch_size = LARGEST[content]
    own.ask_for_shapes(config)
    own.ask_for_length(config, SPLITS, validations=VALIDATIONS)
    _ask_for_views(config)
    _ask_for_splits(config)
    return config


def _ask_for_views(config: ConfigDict) -> None:
    views = config.label_free
    own.ask(config, views, "moment", lambda one: MOMENT * (one.num_frames > 1))
    own.ask(config, views, "speed", lambda one: SPEED * (one.num_frames > 1))
    # Told of, motion is learned several times sooner.
    own.ask(config, config.model, "temporal_contrast", lambda one: one.num_frames > 1)
    # Names of videos are no labels of what is done: they may say what looks alike.
    config.model.visual_supervision = "instance"
    supervision = "visual_supervision"
    own.ask(
        config,
        config.model,
        supervision,
        lambda one: "match" if one.training_videos > 1 else "instance",
    )


def _ask_for_splits(config: ConfigDict) -> None:
    def there(one: stored.Stored, *splits: str) -> list[str]:
        return [split for split in splits if split in one.clips]

    data = config.data
    own.ask(config, data, "train_split", lambda one: "+".join(there(one, *SPLITS)))
    own.ask(config, data, "validation_split", lambda one: "".join(there(one, "validation")))
    # Without labels there is no test; how well codes find the clips of a video shows elsewhere too.
    judged = ("test", "validation", "train")
    own.ask(config, data, "test_split", lambda one: there(one, *judged)[0])
