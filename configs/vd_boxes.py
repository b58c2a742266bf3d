"""The Volleyball Dataset from boxes alone: what the key frame's positions tell of the activity.

Needs no frames, only `annotations.txt` of each video:

python -m data prepare volleyball --raw DIR --boxes-only
python train.py --config=configs/vd_boxes.py
python evaluate.py --bits=128 --config=configs/vd_boxes.py
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    """Returns the config."""
    config = base.get_config()
    config.name = "vd_boxes"
    config.devices = 1
    config.data.variant = "boxes_only"
    config.data.num_frames = 1
    config.data.flip = True
    config.model.source = "boxes"
    config.model.num_frames = 1
    config.model.key_frame = 0
    config.model.features = 128
    config.model.dropout = 0.1
    # Departures from the printed form, chosen on the validation videos: docs/results.md.
    config.model.product = "hadamard"
    config.loss.action = 4.0
    config.loss.same_class_mask = True
    config.optimizer.learning_rate = 5e-4
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_epochs = 3.0
    config.optimizer.weight_decay = 0.3
    config.optimizer.clip_norm = 1.0
    config.train.epochs = 60
    config.train.batch_size = 32
    config.train.box_jitter = 0.05
    config.train.evaluation_batch_size = 256
    config.train.evaluate_every_epochs = 5
    config.train.checkpoint_every_steps = 0
    return config
