"""A small data set in memory, with the interface of a prepared one."""

import dataclasses

import numpy as np
from ml_collections import ConfigDict

from configs import vd_boxes
from stvh_jax import recipes
from stvh_jax.clips import Clips
from stvh_jax.errors import NotFound
from stvh_jax.unknown import UNKNOWN

ACTIVITIES = ("r_set", "r_spike", "l_set", "l_spike")
ACTIONS = ("moving", "setting", "standing")


def random_clips(
    seed, *, clips, frames=1, actors=5, features=None, padded=True, pixels=None, appearance=None
):
    """Draws nameless clips whose activity shows in the boxes: side from x, kind from the height."""
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
    seen = None
    if appearance:
        seen = random.normal(size=(clips, *appearance)).astype(np.float16)
    return Clips(
        boxes=np.where(mask[:, None, :, None], boxes, 0).astype(np.float32),
        actor_mask=mask,
        clip_mask=np.ones(clips, bool),
        actor_features=given,
        appearance=seen,
        frames=pixels and random.integers(0, 256, (clips, frames, *pixels, 3)).astype(np.uint8),
        action=action.astype(np.int32),
        activity=activity.astype(np.int32),
        frame=(100 * np.arange(clips)).astype(np.int32),
    )


def named(clips):
    """Names clips that have none: three matches, and clips by their key frames."""
    numbers = np.arange(len(clips.frame))
    return dataclasses.replace(clips, match=(numbers % 3).astype(str), clip=clips.frame.astype(str))


def take(clips, index):
    """Picks clips of a batch; -1 gives an empty one."""
    index = np.asarray(index)
    empty = index < 0

    fillings = {"action": UNKNOWN, "activity": UNKNOWN, "frame": UNKNOWN, "match": "", "clip": ""}

    def pick(name, values):
        picked = np.asarray(values)[index].copy()
        picked[empty] = fillings.get(name, 0)
        return picked

    picked = {name: pick(name, value) for name, value in vars(clips).items() if value is not None}
    picked["clip_mask"] = ~empty
    return Clips(**picked)


def mirror(clips, mirrored):
    """Mirrors the chosen clips, left to right: their frames, boxes and sides.

    Their appearance stays.
    """
    boxes = clips.boxes[..., [0, 3, 2, 1]] * [1, -1, 1, -1] + [0, 1, 0, 1]
    boxes = np.where(clips.actor_mask[:, None, :, None], boxes, 0).astype(np.float32)
    frames = clips.frames
    if frames is not None:
        frames = np.where(mirrored[:, None, None, None, None], frames[..., ::-1, :], frames)
    boxes = np.where(mirrored[:, None, None, None], boxes, clips.boxes)
    swapped = np.where(clips.activity == UNKNOWN, UNKNOWN, (clips.activity + 2) % 4)
    activity = np.where(mirrored, swapped, clips.activity)
    return dataclasses.replace(clips, boxes=boxes, frames=frames, activity=activity)


class FakeDataset:
    """Splits of random clips."""

    activity_names = ACTIVITIES
    action_names = ACTIONS
    splits = ("train", "validation", "test")

    def __init__(self, sizes=(48, 19, 23), key_frame=None, **options):
        self.has_frames = "pixels" in options
        self.key_frame = options.get("frames", 1) // 2 if key_frame is None else key_frame
        self.clips = {
            split: named(random_clips(seed, clips=size, **options))
            for seed, (split, size) in enumerate(zip(self.splits, sizes))
        }

    def num_clips(self, split):
        for part in split.split("+"):
            if part not in self.clips:
                raise NotFound(f"split {part!r} has no clips; choose from {', '.join(self.splits)}")
        return sum(len(self.clips[part].activity) for part in split.split("+"))

    def untracked_share(self, split):
        return 1.0

    def _clips(self, split, frames):
        clips = self.clips[split]
        return clips if frames else dataclasses.replace(clips, frames=None)

    def training_batches(
        self,
        split,
        *,
        batch_size,
        seed,
        start_step=0,
        flip=False,
        frames=True,
        process_index=0,
        process_count=1,
    ):
        share = batch_size // process_count
        step = start_step
        while True:
            random = np.random.default_rng([seed, step])
            index = random.integers(0, self.num_clips(split), batch_size)
            mirrored = flip & (random.random(batch_size) < 0.5)
            mine = slice(process_index * share, (process_index + 1) * share)
            yield mirror(take(self._clips(split, frames), index[mine]), mirrored[mine])
            step += 1

    def evaluation_batches(
        self,
        split,
        *,
        batch_size,
        start=0,
        mirrored=False,
        frames=True,
        process_index=0,
        process_count=1,
    ):
        share = batch_size // process_count
        count = self.num_clips(split)
        for first in range(start, count, batch_size):
            index = first + process_index * share + np.arange(share)
            clips = take(self._clips(split, frames), np.where(index < count, index, -1))
            yield mirror(clips, np.full(share, mirrored))

    def key_frame_images(self, split, clips):
        if not self.has_frames:
            raise NotFound("random clips without pixels have no images")
        stored = self.clips[split]
        places = {name: place for place, name in enumerate(zip(stored.match, stored.clip))}
        return {name: stored.frames[places[name], self.key_frame] for name in clips}


def small_config(**model):
    """Makes a config of boxes alone, in a plain form that compiles in a second or two."""
    config = vd_boxes.get_config("validated")
    config.data.num_actors = config.model.num_actors = 5
    plain = {"symmetric": False, "hash_head": "linear", "detailed_boxes": False}
    plain["objective"] = "printed"
    small = {"features": 16, "bits": 16, "layers": 2, "ffn_multiplier": 1}
    config.model.update({**plain, **small, **model})
    config.loss.update({"label_smoothing": 0.0, "supervised_contrastive": 0.0})
    config.train.update({"epochs": 2, "batch_size": 8, "evaluation_batch_size": 8})
    config.train.update({"average": 0.0, "box_noise": 0.0, "leave_out": 0.0})
    config.train.update({"evaluate_every_epochs": 1, "log_every_steps": 3})
    config.optimizer.warmup_epochs = 1.0
    return config


def tiny_config(**train):
    """Makes the config of the run that tests share: 12 steps with everything random switched on."""
    config = small_config(layers=1, bits=16, features=8, dropout=0.1)
    config.train.update({"box_jitter": 0.05, "box_noise": 0.02, "leave_out": 0.1})
    config.train.update({"average": 0.5, "checkpoint_every_steps": 4, **train})
    config.devices = 1
    return config


def graded_config(**model):
    """Makes the config of a run with one graded code: 16 bits of the activity and 8 visual ones."""
    config = tiny_config(epochs=2, evaluate_every_epochs=1)
    graded = {"objective": "graded", "bits": 24, "visual_bits": 8, "name": "mstvh"}
    config.model.update({**graded, **model})
    return config


def label_free_config(**label_free):
    """Makes the config of `graded_config`'s run, but one that learns from views, not labels."""
    config = graded_config()
    recipes.make_label_free(config)
    config.data.flip = False  # which changes labels, too
    config.label_free.update({"tilt": 0.2, "person_shift": 0.1})
    config.label_free.update({"attributes_weight": 0.5, "masked_people_weight": 0.5, **label_free})
    return config


class Unlabelled(FakeDataset):
    """The clips of a `FakeDataset`, of which none has a label."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.clips = {split: without_labels(clips) for split, clips in self.clips.items()}


def without_labels(clips):
    """Forgets the activities and actions of clips."""
    nothing = {name: np.full_like(getattr(clips, name), UNKNOWN) for name in ("activity", "action")}
    return dataclasses.replace(clips, **nothing)


def frames_config(**model):
    """Makes a config that trains from frames of 24 x 32 pixels: 4 steps of 4 clips."""
    config = small_config(
        **{"layers": 1, "bits": 8, "features": 8, "source": "frames", "roi_size": 3, **model}
    )
    config.model.backbone = ConfigDict({"name": "small", "features": (4, 6)})
    config.data.update({"variant": "frames", "image_size": (24, 32), "num_frames": 2})
    config.model.update({"num_frames": 2, "key_frame": 1})
    config.train.update({"batch_size": 4, "evaluation_batch_size": 4, "box_jitter": 0.0})
    config.train.log_every_steps = 1
    config.devices = 1
    return config


def frames_dataset(**options):
    """Makes a data set for `frames_config`."""
    return FakeDataset(sizes=(8, 5, 4), frames=2, pixels=(24, 32), **options)
