"""The Volleyball Dataset at the paper's size: 10 frames of 720x1280, 12 actors, D = 1024.

python -m data prepare volleyball --raw DIR
python -m stvh_jax convert FILE weights/inception_v3.safetensors
python train.py --config=configs/vd.py
python evaluate.py --bits=128

After a colon stand options, joined by commas, as in configs/vd.py:vgg16,validated.

The backbone: inception_v3 (the default) is that of the paper's section 6.1.2 and of M-STVH in its
Table 2; vgg16 that of STVH there, with the 512 channels at 1/32 that section 4.1 prints; small
needs no weights and is trained from scratch.

The clips: published (the default) trains on the paper's 3493 clips, train and validation, and
searches the same for the 1337 test clips; no clips are left to choose a checkpoint by, so the last
one is judged. validated trains on the 2152 clips of train and judges the checkpoint that is best on
the 1341 of validation: use it to choose anything.

Batch 2, 60 epochs, Adam at 1e-5, 5e-6 from epoch 11 and 1e-6 from epoch 21, as printed.

Memory: one frame at a time goes through the backbone, --config.model.frames_per_chunk=1 here; more
may be faster on an accelerator that holds them, with --config.model.backbone.remat=True and
--config.model.dtype=bfloat16. A larger batch in parts: --config.train.batch_size=8
--config.train.accumulate=2. Far less time:
--config.model.freeze_backbone=True --config.train.feature_cache=features, after a first training of
the backbone by configs/vd_stage1.py: --config.train.backbone_weights=runs/vd_stage1-....

Hours: not measured whole. A step of two clips is 8.4 TFLOP by its convolutions (VGG-16: 45), an
epoch 1746 steps: 60 epochs take 12 hours at 20 TFLOP/s sustained (VGG-16: 65). On two CPU cores a
clip's step takes about a minute (VGG-16: five to seven).

The paper's figures at 128 bits, from an ImageNet-pretrained backbone, STVH and M-STVH: activity
accuracy 95.6 % and 95.7 %, action accuracy 87.6 % and 87.7 % (Table 2), mAP@10 96.02 % and 96.00 %
(Table 3). This config has not been measured on the whole set.
"""

from ml_collections import ConfigDict

from stvh_jax import recipes


def get_config(options: str = "") -> ConfigDict:
    """Returns the config with a backbone and a protocol."""
    config = recipes.get_published_config("vd", options)
    config.optimizer.boundaries_epochs = (10, 20)
    config.optimizer.rates = (5e-6, 1e-6)
    return config
