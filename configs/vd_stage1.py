"""The first of two stages on the Volleyball Dataset: the backbone alone, on key frames.

python -m stvh_jax convert FILE weights/inception_v3.safetensors
python train.py --config=configs/vd_stage1.py
python train.py --config=configs/vd.py \\
  --config.train.backbone_weights=runs/vd_stage1-frame_classifier-128-0

The paper names no such stage; the literature it compares with trains so. Actions and activities
are learned from the key frames, with the rate, batch and dropout of ARG's published code (1e-5, 8,
0.3) and fewer epochs than its 200, on the train split alone; the second stage starts with the
checkpoint that is best on validation. configs/vd_stage1.py:vgg16 trains the other backbone. Not
measured on the whole set.
"""

from ml_collections import ConfigDict

from stvh_jax import recipes


def get_config(backbone: str = "inception_v3") -> ConfigDict:
    """Returns the config with this backbone."""
    config = recipes.get_config_at_paper_size("vd_stage1", backbone)
    recipes.make_first_stage(config)
    return config
