"""A small data set in memory, with the interface of a prepared one."""

import numpy as np

from configs import vd_boxes
from stvh_jax.clips import UNKNOWN, Clips
from stvh_jax.errors import UserError

ACTIVITIES = ("r_set", "r_spike", "l_set", "l_spike")
ACTIONS = ("moving", "setting", "standing")


def random_clips(seed, *, clips, frames=1, actors=5, features=None, padded=True):
    """Draws clips whose activity shows in the boxes: sides from x, kind from the height."""
    random = np.random.default_rng(seed)
    activity = random.integers(0, 4, clips)
    centre = random.uniform(0.3, 0.7, (clips, frames, actors, 2))
    centre[..., 1] += np.where(activity < 2, 0.2, -0.2)[:, None, None]
    half = np.stack([0.05 + 0.05 * (activity % 2), np.full(clips, 0.03)], -1)[:, None, None]
    boxes = np.concatenate([centre - half, centre + half], axis=-1).astype(np.float32)
    count = random.integers(1, actors + 1, clips) if padded else np.full(clips, actors)
    mask = np.arange(actors) < count[:, None]
    action = np.where(mask, random.integers(0, 3, (clips, actors)), UNKNOWN)
    given = None
    if features:
        given = random.normal(size=(clips, frames, actors, features)).astype(np.float32)
    return Clips(
        boxes=np.where(mask[:, None, :, None], boxes, 0).astype(np.float32),
        actor_mask=mask,
        clip_mask=np.ones(clips, bool),
        actor_features=given,
        action=action.astype(np.int32),
        activity=activity.astype(np.int32),
        match=(np.arange(clips) % 3).astype(np.int32),
        clip=(100 * np.arange(clips)).astype(np.int32),
    )


def take(clips, index):
    """Picks clips of a batch; -1 gives an empty one."""
    index = np.asarray(index)
    empty = index < 0

    def pick(name, values):
        picked = np.asarray(values)[index].copy()
        picked[empty] = UNKNOWN if name in ("action", "activity") else 0
        return picked

    picked = {name: pick(name, value) for name, value in vars(clips).items() if value is not None}
    picked["clip_mask"] = ~empty
    return Clips(**picked)


class FakeDataset:
    """Splits of random clips."""

    activity_names = ACTIVITIES
    action_names = ACTIONS
    splits = ("train", "validation", "test")

    def __init__(self, sizes=(48, 19, 23), **options):
        self.clips = {
            split: random_clips(seed, clips=size, **options)
            for seed, (split, size) in enumerate(zip(self.splits, sizes))
        }

    def num_clips(self, split):
        for part in split.split("+"):
            if part not in self.clips:
                raise UserError(f"split {part!r} has no clip; there are: {', '.join(self.splits)}")
        return sum(len(self.clips[part].activity) for part in split.split("+"))

    def untracked_share(self, split):
        return 1.0

    def training_batches(
        self, split, *, batch_size, seed, start_step=0, flip=False, process_index=0, process_count=1
    ):
        share = batch_size // process_count
        step = start_step
        while True:
            index = np.random.default_rng([seed, step]).integers(
                0, self.num_clips(split), batch_size
            )
            yield take(
                self.clips[split], index[process_index * share : (process_index + 1) * share]
            )
            step += 1

    def evaluation_batches(self, split, *, batch_size, process_index=0, process_count=1):
        share = batch_size // process_count
        count = self.num_clips(split)
        for first in range(0, count, batch_size):
            index = first + process_index * share + np.arange(share)
            yield take(self.clips[split], np.where(index < count, index, -1))


def small_config(**model):
    """Makes a config of the boxes-only study, small enough to compile in a second or two."""
    config = vd_boxes.get_config()
    config.data.num_actors = config.model.num_actors = 5
    config.model.update({"features": 16, "bits": 16, "layers": 2, "ffn_multiplier": 1, **model})
    config.train.update({"epochs": 2, "batch_size": 8, "evaluation_batch_size": 8})
    config.train.update({"evaluate_every_epochs": 1, "log_every_steps": 3})
    config.optimizer.warmup_epochs = 1.0
    return config


def tiny_config(**train):
    """Makes the config of the run that tests share: 12 steps with everything random switched on."""
    config = small_config(layers=1, bits=16, features=8, dropout=0.1)
    config.train.update({"box_jitter": 0.05, "checkpoint_every_steps": 4, **train})
    config.devices = 1
    return config
