"""Collective Activity at the paper's size: 10 frames of 480x720, 13 actors, L = 4, D = 1024.

python -m data prepare collective_activity --raw DIR
python -m stvh_jax convert FILE weights/inception_v3.safetensors
python train.py --config=configs/cad.py
python evaluate.py --bits=128 --config=configs/cad.py

Options after a colon, as in configs/cad.py:vgg16,validated: the backbone is inception_v3 (the
default), vgg16 or small, the clips are published (the default) or validated. configs/vd.py says
what they are, and how to need less memory and time. Batch 2, 60 epochs, Adam at a constant 1e-5, as
printed.

All 1746 training clips are trained on and searched, and the last checkpoint is judged, as in the
paper. No validation split is published: with validated, 9 of the 32 training sequences are held out
to choose the checkpoint.

Four activities, crossing and walking joined as moving; split `din`. The five, prepared with
--classes five: --config.data.variant=frames-five; other choices likewise, see
data/collective_activity/README.md.

The paper's figures at 128 bits, from an ImageNet-pretrained backbone, STVH and M-STVH: activity
accuracy 98.3 % and 97.8 % (Table 2). This config has not been measured: the frames could not be
had.
"""

from ml_collections import ConfigDict

from stvh_jax import recipes


def get_config(options: str = "") -> ConfigDict:
    """Returns the config with a backbone and a protocol."""
    config = recipes.get_published_config("cad", options)
    recipes.make_collective(config, "collective_activity")
    return config
