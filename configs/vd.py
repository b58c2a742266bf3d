"""The Volleyball Dataset at the paper's size: 10 frames of 720x1280, 12 actors, D = 1024.

python -m data prepare volleyball --raw DIR
python train.py --config=configs/vd.py
python evaluate.py --bits=128

Batch 2, 60 epochs, Adam at 1e-5, 5e-6 from epoch 11 and 1e-6 from epoch 21, as printed.

Hours: not measured whole. A step of two clips is 0.69 TFLOP by XLA's count and an epoch 1076 steps,
so that 60 epochs take 1.2 hours at 10 TFLOP/s sustained; reading, 20 JPEG files a step, may take
as long. On CPU a run peaks at 9.5 GiB of memory.

The paper's figures at 128 bits, from an ImageNet-pretrained backbone, STVH and M-STVH: activity
accuracy 95.6 % and 95.7 %, action accuracy 87.6 % and 87.7 % (Table 2), mAP@10 96.02 % and 96.00 %
(Table 3). This config trains its backbone from scratch and has not been measured on the whole set.
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
