"""Collective Activity from boxes and their tracks alone: what position and motion tell.

Needs no frames, only `annotations.txt` of each sequence and the authors' tracks:

python -m data prepare collective_activity --raw DIR --boxes-only [--classes five]
python train.py --config=configs/cad_boxes.py
python evaluate.py --bits=128 --config=configs/cad_boxes.py

After a colon stand options, joined by commas, as in configs/cad_boxes.py:five,validated. five has
the five activities in place of the four. validated holds 9 of the 32 training sequences out, to
choose the checkpoint by them; without it, as in configs/cad.py, all are trained on and searched,
and the last checkpoint is judged. label_free learns from boxes and tracks alone, without any label:
see docs/label_free.md.

One code of 128 bits stands for all foci: 96 bits tell the activity, and 32 where people stand. With
--config.model.objective=printed every focus has a code of its own, as in the paper.

With --config.data.still_boxes=True everybody keeps the key frame's box, as in the literature's
loaders.
"""

from ml_collections import ConfigDict

from stvh_jax import config as base
from stvh_jax import recipes


def get_config(options: str = "") -> ConfigDict:
    """Returns the config with four or five activities, a protocol and an objective."""
    classes, protocol, objective = recipes.read_options(
        "cad_boxes", options, ("four", "five"), recipes.PROTOCOLS, recipes.OBJECTIVES
    )
    config = base.get_config()
    recipes.make_collective(config, "collective_activity")
    recipes.make_boxes_only(config)
    # Half as many scenes as Volleyball has, and far more alike within: a smaller model, trained
    # for less long, to which every clip is shown by a camera that stands elsewhere. It is told of
    # what people do to each other: they queue, cross, or talk.
    config.model.features = 64
    config.model.temporal_contrast = True
    config.model.neighbours = 2
    config.train.box_jitter = 0.1
    config.train.epochs = 16
    config.train.evaluate_every_epochs = 2
    config.name = "cad_boxes" if classes == "four" else f"cad_boxes_{classes}"
    config.data.variant = "boxes_only" if classes == "four" else f"boxes_only-{classes}"
    if objective == "label_free":
        recipes.make_label_free_boxes(config, batch_size=128, epochs=30)
    recipes.use_protocol(config, protocol)
    return config
