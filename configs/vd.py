"""The Volleyball Dataset at the paper's size: 10 frames of 720x1280, 12 actors, D = 1024.

python -m data prepare volleyball --raw DIR
python -m stvh_jax convert FILE weights/inception_v3.safetensors
python train.py --config=configs/vd.py
python evaluate.py --bits=128

configs/vd.py:inception_v3, the same as configs/vd.py, has the backbone of the paper's section 6.1.2
and of M-STVH in its Table 2; configs/vd.py:vgg16 that of STVH there, with the 512 channels at 1/32
that section 4.1 prints; configs/vd.py:small needs no weights and is trained from scratch.
Batch 2, 60 epochs, Adam at 1e-5, 5e-6 from epoch 11 and 1e-6 from epoch 21, as printed.

Memory: one frame at a time goes through the backbone, --config.model.frames_per_chunk=1 here; more
may be faster on an accelerator that holds them, with --config.model.backbone.remat=True and
--config.model.dtype=bfloat16. A larger batch in parts: --config.train.batch_size=8
--config.train.accumulate=2. Far less time:
--config.model.freeze_backbone=True --config.train.feature_cache=features, after a first training of
the backbone by configs/vd_stage1.py: --config.train.backbone_weights=runs/vd_stage1-....

Hours: not measured whole. A step of two clips is 8.4 TFLOP by its convolutions (VGG-16: 45), an
epoch 1076 steps: 60 epochs take 7.5 hours at 20 TFLOP/s sustained (VGG-16: 40). On two CPU cores a
clip's step takes about a minute (VGG-16: five to seven).

The paper's figures at 128 bits, from an ImageNet-pretrained backbone, STVH and M-STVH: activity
accuracy 95.6 % and 95.7 %, action accuracy 87.6 % and 87.7 % (Table 2), mAP@10 96.02 % and 96.00 %
(Table 3). This config has not been measured on the whole set.
"""

from ml_collections import ConfigDict

from stvh_jax import config as base


def get_config(backbone: str = "inception_v3") -> ConfigDict:
    """Returns the config with this backbone."""
    config = base.get_config_at_paper_size("vd", backbone)
    config.optimizer.boundaries_epochs = (10, 20)
    config.optimizer.rates = (5e-6, 1e-6)
    return config
