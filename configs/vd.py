"""The Volleyball Dataset at the paper's size: 10 frames of 720x1280, 12 actors, D = 1024.

python -m data prepare volleyball --raw DIR
python train.py --config=configs/vd.py
python evaluate.py --bits=128

Batch 2, 60 epochs, Adam at 1e-5, 5e-6 from epoch 11 and 1e-6 from epoch 21, as printed.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """Returns the config."""
    config = base.get_config()
    config.name = "vd"
    # 512 channels at 1/32 of the frame, the shape the paper prints.
    config.model.backbone = ConfigDict({"name": "small", "features": (32, 64, 128, 256, 512)})
    config.optimizer.boundaries_epochs = (10, 20)
    config.optimizer.rates = (5e-6, 1e-6)
    return config
