"""The Collective Activity Extended set at the paper's size: 480x720, 13 actors, L = 4, D = 1024.

python -m data prepare collective_activity_extended --raw DIR
python -m stvh_jax convert FILE weights/inception_v3.safetensors
python train.py --config=configs/caed.py
python evaluate.py --bits=128 --config=configs/caed.py

Options after a colon, as in configs/caed.py:vgg16,validated: the backbone is inception_v3 (the
default), vgg16 or small, the clips are published (the default) or validated. configs/vd.py says
what they are, and how to need less memory and time. Batch 2, 60 epochs, Adam at a constant 1e-5, as
printed.

Six activities of 74 sequences, split `public`; clips whose majority walks are left out, other
walkers are NA. Other choices: data/collective_activity_extended/README.md.

The paper's figures at 128 bits, from an ImageNet-pretrained backbone, STVH and M-STVH: activity
accuracy 99.0 % and 98.5 % (Table 2). This config has not been measured: neither the frames nor the
annotations of the further sequences could be had.
"""

from ml_collections import ConfigDict

from stvh_jax import recipes


def get_config(options: str = "") -> ConfigDict:
    """Returns the config with a backbone and a protocol."""
    config = recipes.get_published_config("caed", options)
    recipes.make_collective(config, "collective_activity_extended")
    return config
