"""Collective Activity at the paper's size: 10 frames of 480x720, 13 actors, L = 4, D = 1024.

python -m data prepare collective_activity --raw DIR
python -m stvh_jax convert FILE weights/inception_v3.safetensors
python train.py --config=configs/cad.py
python evaluate.py --bits=128 --config=configs/cad.py

configs/cad.py:inception_v3 is the same as configs/cad.py; configs/cad.py:vgg16 and
configs/cad.py:small have other backbones, as configs/vd.py, which also tells how to need less
memory and time. Batch 2, 60 epochs, Adam at a constant 1e-5, as printed.

Four activities, crossing and walking joined as moving; split `din`. The five, prepared with
--classes five: --config.data.variant=frames-five; other choices likewise, see
data/collective_activity/README.md. No validation split is published: 9 of the 32 training sequences
choose the checkpoint. To train on all 1746 clips as the literature does:
--config.data.train_split=train+validation --config.data.validation_split=

The paper's figures at 128 bits, from an ImageNet-pretrained backbone, STVH and M-STVH: activity
accuracy 98.3 % and 97.8 % (Table 2). This config has not been measured: the frames could not be
had.
"""

from ml_collections import ConfigDict

from stvh_jax import config as base


def get_config(backbone: str = "inception_v3") -> ConfigDict:
    """Returns the config with this backbone."""
    config = base.get_config_at_paper_size("cad", backbone)
    base.make_collective(config, "collective_activity")
    return config
