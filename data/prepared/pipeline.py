"""The input pipeline: batches of clips from a prepared set, in NumPy.

Boxes, labels and appearance of a split are kept in memory; frames stay on disk and are decoded by
tf.data, a few clips ahead of the batch in use. The order of training is a function of the seed and
the position alone, so training can begin at any step. tf.data never calls back into Python: its
threads would outlive the interpreter that they wait for, and the program would hang at its end.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from jaxtyping import Bool, Int, UInt8

from data.prepared import seal
from data.prepared.places import is_set, place_of, refuse_foreign_features
from data.prepared.records import Records, draw_labelled, padded, read_records
from stvh_jax import files
from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.errors import NotFound, UserError
from stvh_jax.mirror import has_pairs, mirror_boxes, mirror_classes
from stvh_jax.names import natural_key
from stvh_jax.unknown import UNKNOWN

# The accelerators belong to JAX.
tf.config.set_visible_devices([], "GPU")

# The major versions of prepared sets that can be read; `builder.ClipBuilder` writes the last.
_FORMATS = (2, 3)

# The type stubs of TensorFlow leave out its experimental part.
_random: Any = tf.random


def open_dataset(config: Config) -> "ClipDataset":
    """Opens a prepared set.

    Args:
      config: the part `config.data` of a config: `name` (one of `variants.DATASETS`, or of a set of
        one's own), `variant` (see `variants`), `dir` (the folder of prepared sets), `image_size`
        (frames are resized to this (H, W)), `num_frames` (T: the frames around the key frame),
        `num_actors` (N: slots for actors), `still_boxes` (whether every frame has the key frame's
        annotated boxes) and `labels_per_activity` (only so many clips of each are trained on; 0 for
        all).

    Raises:
      NotFound: the set is not prepared, or in an older format.
      Damaged: a file of it is missing, cut, or not what it was.
      UserError: the config asks for more frames or fewer actors than are stored.
    """
    folder, prepare, labels = place_of(config)
    versions = [path for major in _FORMATS for path in folder.glob(f"{major}.*") if is_set(path)]
    if not versions:
        older = any(folder.glob("[0-9]*/dataset_info.json"))
        raise NotFound(
            f"{folder} is {'of an older format' if older else 'not prepared'}; run: {prepare}"
        )
    newest = max(versions, key=lambda path: tfds.core.Version(path.name))
    cure = f"delete it and run: {prepare}"
    content_digest = seal.check(newest, cure)
    options = {
        "image_size": tuple(config.image_size),
        "num_frames": int(config.num_frames),
        "num_actors": int(config.num_actors),
        # The configs of the oldest runs have no such field.
        "still_boxes": config.get("still_boxes", False),
        "labels_per_activity": config.get("labels_per_activity", 0),
        "labels": labels,
    }
    with files.reading(newest, "a whole prepared set", cure):
        refuse_foreign_features(newest, cure)
        builder = tfds.builder_from_directory(newest)
        return ClipDataset(builder, content_digest=content_digest, **options)


class ClipDataset:
    """An opened prepared set: the `stvh_jax.dataset.Dataset` of `python -m data prepare`."""

    def __init__(
        self,
        builder: tfds.core.DatasetBuilder,
        *,
        image_size: tuple[int, int],
        num_frames: int,
        num_actors: int,
        still_boxes: bool = False,
        labels_per_activity: int = 0,
        labels: str | None = None,
        content_digest: str | None = None,
    ):
        # Which labels the clips have, where there are several to choose from.
        self.labels = labels
        # Of the clips' names, boxes, labels, and pixels or appearance; None for sets that have no
        # digests.
        self.content_digest = content_digest
        self._folder = builder.data_path
        info: Any = builder.info  # TFDS's types leave out that every set has features
        features = info.features
        self.activity_names: tuple[str, ...] = _class_names(features["activity"])
        self.action_names: tuple[str, ...] = _class_names(features["action"].feature)
        names = (self.activity_names, self.action_names)
        self._can_mirror = all(has_pairs(one, few=0) for one in names)
        if not (self._can_mirror or "has_pairs" in info.metadata):  # of one's own set
            raise ValueError("a class on the left or right has no mirror image")
        self.splits: tuple[str, ...] = tuple(info.splits)
        if not self.splits:
            raise ValueError("it has no clips")
        self._info = info
        self._image_size = image_size
        self.has_frames: bool = "frames" in features
        self.appearance_channels: int | None = None
        if "appearance" in features:
            self.appearance_channels = int(features["appearance"].shape[-1])
        self._stored_frames, self._stored_actors, _ = features["boxes"].shape
        if num_actors < self._stored_actors:
            raise UserError(
                f"num_actors is {num_actors}, but clips have up to {self._stored_actors} actors; "
                f"give {self._stored_actors} or more"
            )
        if not 1 <= num_frames <= self._stored_frames:
            raise UserError(
                f"num_frames is {num_frames}, but clips have {self._stored_frames} frames; give 1 "
                f"to {self._stored_frames}"
            )
        # The key frame is as near to the middle as the stored frames allow.
        self._stored_key_frame = int(info.metadata["key_frame"])
        if not 0 <= self._stored_key_frame < self._stored_frames:
            raise ValueError(f"its key frame is {self._stored_key_frame}")
        last_start = self._stored_frames - num_frames
        first = min(max(self._stored_key_frame - num_frames // 2, 0), last_start)
        self.key_frame: int = self._stored_key_frame - first
        self._window = slice(first, first + num_frames)
        self._num_actors = num_actors
        self._still_boxes = still_boxes
        self._labels_per_activity = labels_per_activity

    def num_clips(self, split: str) -> int:
        """Counts the clips of a split, or of several as in "train+validation".

        Raises:
          NotFound: a split has no clip.
        """
        return sum(self._info.splits[part].num_examples for part in self._parts(split))

    def untracked_share(self, split: str) -> float:
        """Returns the share of a split's actors, 0..1, whose box stands still.

        These are the actors without a track; with `still_boxes`, all actors.

        Raises:
          NotFound: a split has no clip.
        """
        parts = self._parts(split)
        if self._still_boxes:
            return 1.0
        with self._reading():
            counts = [self._info.metadata["splits"][part] for part in parts]
            return sum(part["untracked"] for part in counts) / sum(
                part["actors"] for part in counts
            )

    def training_batches(
        self,
        split: str,
        *,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        flip: bool = False,
        frames: bool = True,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Iterator[Clips]:
        """Yields shuffled batches without end; see `stvh_jax.dataset.Dataset`.

        Every epoch has another order. Where a clip is mirrored, its `l_` and `r_` classes swap.
        With `labels_per_activity` some clips of each activity are drawn, and an epoch repeats them
        until it is as long as one of all clips.
        """
        self._check_mirror(flip)
        num_clips = self.num_clips(split)
        share = _process_share(batch_size, process_index, process_count)
        chosen = self._trained_on(split, seed)

        def epoch(number):
            seeds = _random.experimental.stateless_split([tf.constant(seed, tf.int64), number])
            index = tf.range(num_clips, dtype=tf.int64)
            index = _random.experimental.stateless_shuffle(index, seeds[0])
            if chosen is not None:
                index = tf.gather(chosen, index % len(chosen))
            mirrored = tf.random.stateless_uniform([num_clips], seeds[1]) < 0.5
            return tf.data.Dataset.from_tensor_slices((index, mirrored & flip))

        # Only clips of the first epoch are skipped, and these are not read.
        first_epoch, skipped = divmod(start_step * batch_size, num_clips)
        epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
        drawn = epochs.flat_map(epoch).skip(skipped)
        return self._batches(split, drawn, batch_size, share, frames)

    def _trained_on(self, split: str, seed: int) -> Int[np.ndarray, "n"] | None:
        """Draws the clips that are trained on; None for all."""
        if not self._labels_per_activity:
            return None
        labels = self._load(split).arrays["activity"][: self.num_clips(split)]
        return draw_labelled(labels, self._labels_per_activity, seed, split=split)

    def evaluation_batches(
        self,
        split: str,
        *,
        batch_size: int,
        start: int = 0,
        mirrored: bool = False,
        frames: bool = True,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Iterator[Clips]:
        """Yields every clip once, in stored order; see `stvh_jax.dataset.Dataset`.

        The clips left out before `start` are not read. Where clips are mirrored, `l_` and `r_`
        classes swap.
        """
        self._check_mirror(mirrored)
        num_clips = self.num_clips(split)
        share = _process_share(batch_size, process_index, process_count)
        stop = start - (start - num_clips) // batch_size * batch_size
        positions = tf.data.Dataset.range(start, stop)
        drawn = positions.map(lambda place: (tf.where(place < num_clips, place, -1), mirrored))
        return self._batches(split, drawn, batch_size, share, frames)

    def key_frame_images(
        self, split: str, clips: Collection[tuple[str, str]]
    ) -> dict[tuple[str, str], UInt8[np.ndarray, "H W 3"]]:
        """Returns the key frames of the clips with these names (match, clip), in stored size.

        Raises:
          NotFound: the set has no frames, or the split has no such clip.
        """
        if not self.has_frames:
            raise NotFound("the prepared set has boxes only; prepare it with frames for images")
        records = self._load(split)
        names = zip(records.arrays["match"].tolist(), records.arrays["clip"].tolist())
        places = {name: index for index, name in enumerate(names)}
        unknown = sorted(set(clips) - set(places), key=lambda name: tuple(map(natural_key, name)))
        if unknown:
            raise NotFound(f"split {split} has no clip (match, clip) = {unknown[0]}")
        with self._reading():
            return {
                name: _decode_jpeg(records.jpegs(places[name])[self._stored_key_frame]).numpy()
                for name in clips
            }

    def _check_mirror(self, mirrored: bool) -> None:
        """Refuses to mirror clips whose classes have a side, and no image on the other.

        Raises:
          UserError: of such clips.
        """
        if mirrored and not self._can_mirror:
            raise UserError(
                "a class of this set has a side, l_ or r_, and no mirror image on the other; name "
                "both, or set config.data.flip=False"
            )

    def _reading(self) -> contextlib.AbstractContextManager[None]:
        """Turns whatever reading the set raises into one line that names its folder."""
        return files.reading(
            self._folder, "a whole prepared set", "delete it and prepare the set again"
        )

    def _parts(self, split: str) -> list[str]:
        """Returns the single splits that a name like "train+validation" joins."""
        parts = split.split("+")
        for part in parts:
            if part not in self.splits:
                raise NotFound(f"split {part!r} has no clips; choose from {', '.join(self.splits)}")
        return parts

    @functools.cache  # noqa: B019 - the split stays in memory as long as the data set
    def _load(self, split: str) -> Records:
        """Reads a split, its boxes cut to T frames, padded to N actors and with one empty clip.

        The empty clip comes last, so that the index -1 stands for it; it fills the last batch of an
        evaluation.
        """
        splits = [self._info.splits[part] for part in self._parts(split)]
        with self._reading():
            records = read_records(splits, self._info.features)
            arrays = padded(
                records.arrays,
                window=self._window,
                num_actors=self._num_actors,
                still_boxes=self._still_boxes,
            )
            return dataclasses.replace(records, arrays=arrays)

    def _batches(
        self,
        split: str,
        drawn: tf.data.Dataset,
        batch_size: int,
        share: Int[np.ndarray, "B"],
        frames: bool,
    ) -> Iterator[Clips]:
        """Yields a process's share of the drawn (index, mirrored); -1 is the empty clip."""
        records = self._load(split)
        drawn = drawn.batch(batch_size).map(
            lambda index, mirrored: (tf.gather(index, share), tf.gather(mirrored, share))
        )
        if frames and self.has_frames:
            with_frames = functools.partial(self._with_frames, records)
            drawn = drawn.unbatch().map(with_frames, tf.data.AUTOTUNE).batch(len(share))
        batches: Any = drawn.prefetch(2).as_numpy_iterator()
        return (self._clips(records.arrays, *batch) for batch in self._whole(batches))

    def _whole(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Yields what tf.data reads, the frames among it, whose damage shows only now."""
        while True:
            with self._reading():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def _with_frames(self, records: Records, index: tf.Tensor, mirrored: tf.Tensor):
        """Adds a clip's frames, resized and mirrored, to its index and mirror."""

        def clip():
            jpegs = records.jpegs(index)[self._window]
            frames = tf.map_fn(self._resized, jpegs, fn_output_signature=tf.uint8)
            return tf.cond(mirrored, lambda: tf.reverse(frames, axis=[2]), lambda: frames)

        shape = (self._window.stop - self._window.start, *self._image_size, 3)
        frames = tf.cond(index < 0, lambda: tf.zeros(shape, tf.uint8), clip)
        return index, mirrored, tf.ensure_shape(frames, shape)

    def _resized(self, jpeg: tf.Tensor) -> tf.Tensor:
        """Decodes a frame to the configured size; each pixel is an average of those it replaces."""
        image = _decode_jpeg(jpeg)

        def resize():
            # Without antialiasing, a much smaller frame would skip most of the pixels.
            resized = tf.image.resize(image, self._image_size, antialias=True)
            return tf.cast(tf.round(resized), tf.uint8)

        fits = tf.reduce_all(tf.shape(image)[:2] == self._image_size)
        return tf.cond(fits, lambda: image, resize)

    def _clips(
        self,
        arrays: dict[str, np.ndarray],
        index: Int[np.ndarray, "B"],
        mirrored: Bool[np.ndarray, "B"],
        frames: UInt8[np.ndarray, "B T H W 3"] | None = None,
    ) -> Clips:
        batch = {name: array[index] for name, array in arrays.items()}
        mask = batch["actor_mask"][:, None, :, None]
        boxes = np.where(mask, mirror_boxes(batch["boxes"]), 0)
        batch["boxes"] = np.where(mirrored[:, None, None, None], boxes, batch["boxes"])
        if not self._can_mirror:
            return Clips(**batch, clip_mask=index >= 0, frames=frames)
        for name, classes in (("activity", self.activity_names), ("action", self.action_names)):
            # The extra last place keeps UNKNOWN, which is -1.
            swapped = np.append(mirror_classes(classes), np.int32(UNKNOWN))[batch[name]]
            shape = (-1,) + (1,) * (swapped.ndim - 1)
            batch[name] = np.where(mirrored.reshape(shape), swapped, batch[name])
        return Clips(**batch, clip_mask=index >= 0, frames=frames)


def _class_names(feature: Any) -> tuple[str, ...]:
    """Reads the names of classes; without their file TFDS takes numbers, or leaves them out."""
    names = tuple(feature.names)
    if len(names) != feature.num_classes or not set(names).isdisjoint(map(str, range(len(names)))):
        raise ValueError("the names of its classes are missing")
    return names


def _process_share(batch_size: int, process_index: int, process_count: int) -> Int[np.ndarray, "B"]:
    """Returns the places within a batch that belong to one process."""
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"a batch of {batch_size} does not divide among {process_count} processes; give a "
            "multiple"
        )
    size = batch_size // process_count
    return np.arange(process_index * size, (process_index + 1) * size)


def _decode_jpeg(jpeg: tf.Tensor) -> tf.Tensor:
    # Unless it is named, TensorFlow chooses a transform that depends on the system.
    return tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE")
