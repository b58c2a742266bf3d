"""The first of two stages on the Extended set: the backbone alone, on key frames.

python -m stvh_jax convert FILE weights/inception_v3.safetensors
python train.py --config=configs/caed_stage1.py
python train.py --config=configs/caed.py \\
  --config.train.backbone_weights=runs/caed_stage1-frame_classifier-128-0

The paper names no such stage; see configs/vd_stage1.py. Not measured.
"""

from ml_collections import ConfigDict

from stvh_jax import recipes


def get_config(backbone: str = "inception_v3") -> ConfigDict:
    """Returns the config with this backbone."""
    config = recipes.get_config_at_paper_size("caed_stage1", backbone)
    recipes.make_collective(config, "collective_activity_extended")
    recipes.make_first_stage(config)
    return config
