"""The Volleyball Dataset from boxes alone: what the key frame's positions tell of the activity.

Needs no frames, only `annotations.txt` of each video:

python -m data prepare volleyball --raw DIR --boxes-only
python train.py --config=configs/vd_boxes.py
python evaluate.py --bits=128 --config=configs/vd_boxes.py

One code of 128 bits stands for all foci: 96 bits tell the activity, and 32 where people stand. With
--config.model.objective=printed every focus has a code of its own, as in the paper.

As in configs/vd.py, train and validation are trained on and searched, and the last checkpoint is
judged. configs/vd_boxes.py:validated holds validation out, to choose the checkpoint by it.

configs/vd_boxes.py:label_free learns from the boxes alone, without any label: see
docs/label_free.md. Options are joined by commas: label_free,validated.
"""

from ml_collections import ConfigDict

from stvh_jax import config as base
from stvh_jax import recipes


def get_config(options: str = "") -> ConfigDict:
    """Returns the config with a protocol and an objective."""
    protocol, objective = recipes.read_options(
        "vd_boxes", options, recipes.PROTOCOLS, recipes.OBJECTIVES
    )
    config = base.get_config()
    recipes.make_boxes_only(config)
    recipes.make_symmetric_boxes(config)
    config.name = "vd_boxes"
    config.data.variant = "boxes_only"
    config.data.num_frames = 1
    config.model.num_frames = 1
    config.model.key_frame = 0
    if objective == "label_free":
        recipes.make_label_free_boxes(config, batch_size=256, epochs=40)
    recipes.use_protocol(config, protocol)
    return config
