"""The Volleyball Dataset from boxes, with the appearance of whole frames at the visual end.

Needs no frames: `annotations.txt` of each video, and a file of features of whole frames, for
example the mean over time of ResNet-50's 2048 (docs/data.md says how it looks):

python -m data prepare volleyball --raw DIR --boxes-only --features FILE.npz
python train.py --config=configs/vd_features.py
python evaluate.py --bits=128 --config=configs/vd_features.py

The layers read the boxes, as in configs/vd_boxes.py. One code of 128 bits stands for all foci: 64
bits tell the activity, and 64 the appearance, by which a clip finds others of its match. With
--config.model.objective=printed every focus has a code of its own, as in the paper. For features
with other than 2048 channels, also give

--config.model.appearance_channels=CHANNELS

Options are those of configs/vd_boxes.py: published or validated, supervised or label_free.
"""

from ml_collections import ConfigDict

from configs import vd_boxes
from stvh_jax import recipes


def get_config(options: str = "") -> ConfigDict:
    """Returns the config with a protocol and an objective."""
    chosen = recipes.read_options("vd_features", options, recipes.PROTOCOLS, recipes.OBJECTIVES)
    config = vd_boxes.get_config(",".join(chosen))
    config.name = config.name.replace("vd_boxes", "vd_features")
    config.data.variant = "boxes_and_appearance"
    config.model.source = "boxes_and_appearance"
    recipes.use_one_code(config, visual_bits=64)
    return config
