"""M-STVH on synthetic matches, small enough for two cores: what `make demo` trains.

python -m data synthesize volleyball --out demo/raw
python -m data prepare volleyball --raw demo/raw --out demo/datasets
python train.py --config=configs/demo.py --workdir=demo/run
python evaluate.py --workdir=demo/run

One code of 128 bits stands for all foci: 104 bits tell the activity, and 24 what the frames show.
With --config.model.objective=printed every focus has a code of its own, as in the paper.

The same for streets with collective_activity, or collective_activity_extended, in place of
volleyball, a folder of its own in place of demo/raw and demo/run, and
--config=configs/demo.py:collective_activity. With configs/demo.py:label_free, or
demo.py:collective_activity,label_free, no label is learned from: see docs/label_free.md.
"""

from ml_collections import ConfigDict

from stvh_jax import config as base
from stvh_jax import recipes

DATASETS = ("volleyball", "collective_activity", "collective_activity_extended")


def get_config(options: str = "") -> ConfigDict:
    """Returns the config for the rendered matches of a data set, and an objective."""
    dataset, objective = recipes.read_options("demo", options, DATASETS, recipes.OBJECTIVES)
    config = base.get_config()
    config.name = "demo" if dataset == "volleyball" else f"demo_{dataset}"
    if dataset == "volleyball":
        config.data.image_size = (96, 160)
    else:
        recipes.make_collective(config, dataset)
        config.data.image_size = (96, 144)
    config.devices = 1
    config.data.dir = "demo/datasets"
    config.data.flip = True
    config.model.features = 64
    # A person is ten pixels wide: fine maps, finely sampled, or no limb is seen to move.
    config.model.backbone = ConfigDict({"name": "small", "features": (16,), "strides": (2,)})
    config.model.roi_size = 9
    config.model.sampling_ratio = 1
    config.model.temporal_contrast = True
    config.loss.action = 5.0
    config.loss.contrastive = 0.25
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_epochs = 0.5
    config.optimizer.clip_norm = 1.0
    config.train.epochs = 7
    config.train.batch_size = 8
    config.train.evaluation_batch_size = 32
    config.train.evaluate_every_epochs = 2
    config.train.checkpoint_every_steps = 0
    config.train.log_every_steps = 10
    recipes.use_one_code(config, visual_bits=24)
    if objective == "label_free":
        # Without labels pixels would tell matches, not what is done: they are the visual bits'.
        config.model.embed = "boxes"
        recipes.make_label_free(config)
        config.optimizer.learning_rate = 1e-3
        # Contrast needs several clips to tell apart.
        config.train.batch_size = 64
        config.train.epochs, config.train.evaluate_every_epochs = 60, 20
    return config
