"""The input pipeline: batches of clips from a prepared set, in NumPy.

Boxes and labels of a split are small and live in memory; frames stay on disk and are decoded by
tf.data, a few clips ahead of the batch in use. The order of training is a function of the seed and
the position alone, so any step can be the first one. tf.data never calls back into Python: its
threads would then outlive the interpreter they wait for, and hang the program at its end.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from jaxtyping import Bool, Float, Int, UInt8

from data.prepared.builder import ClipBuilder
from data.variants import Variant
from stvh_jax.clips import UNKNOWN, Clips
from stvh_jax.config import Config
from stvh_jax.errors import UserError

# The accelerators belong to JAX.
tf.config.set_visible_devices([], "GPU")


# Prepared sets of this major version can be read.
_FORMAT = ClipBuilder.VERSION.major


@dataclasses.dataclass(frozen=True)
class _Split:
    """A split in memory: boxes and labels of M clips and one empty clip, and where records are."""

    arrays: dict[str, np.ndarray]
    record_paths: tf.Tensor
    record_offsets: tf.Tensor


def open_dataset(config: Config) -> "ClipDataset":
    """Opens a prepared set.

    Args:
      config: `name` (one of `variants.DATASETS`), `variant` (see `variants`), `dir` (the folder of
        prepared sets), `image_size` ((H, W) that frames are resized to), `num_frames` (T: that
        many frames around the key frame), `num_actors` (N: slots for actors) and `still_boxes`
        (whether the key frame's annotated boxes stand for those of every frame).

    Raises:
      UserError: if the set is not prepared, or asks for more frames or fewer actors than stored.
    """
    variant = Variant.parse(config.name, config.variant)
    folder = pathlib.Path(config.dir) / variant.dataset / variant.name
    versions = [path.parent for path in folder.glob(f"{_FORMAT}.*/dataset_info.json")]
    if not versions:
        older = any(folder.glob("[0-9]*/dataset_info.json"))
        raise UserError(
            f"{folder} is {'of an older format' if older else 'not prepared'}; run: python -m data "
            f"prepare {variant.dataset} --raw FOLDER_OF_THE_RAW_FILES --out {config.dir}"
            f"{variant.flags}"
        )
    newest = max(versions, key=lambda path: tfds.core.Version(path.name))
    return ClipDataset(
        tfds.builder_from_directory(newest),
        image_size=tuple(config.image_size),
        num_frames=config.num_frames,
        num_actors=config.num_actors,
        # Runs made before there was a choice have none.
        still_boxes=config.get("still_boxes", False),
    )


class ClipDataset:
    """A prepared set, opened.

    Attributes:
      activity_names: the activities, in the order of their numbers.
      action_names: the actions, in the order of their numbers.
      splits: the splits that have clips.
      key_frame: the key frame's place among the T frames of a batch.
      has_frames: whether clips have pixels.
    """

    def __init__(
        self,
        builder: tfds.core.DatasetBuilder,
        *,
        image_size: tuple[int, int],
        num_frames: int,
        num_actors: int,
        still_boxes: bool = False,
    ):
        features = builder.info.features
        self.activity_names: tuple[str, ...] = tuple(features["activity"].names)
        self.action_names: tuple[str, ...] = tuple(features["action"].feature.names)
        self.splits: tuple[str, ...] = tuple(builder.info.splits)
        self._builder = builder
        self._image_size = image_size
        self.has_frames: bool = "frames" in features
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
        # As near to the middle as the stored frames allow.
        self._stored_key_frame = builder.info.metadata["key_frame"]
        last_start = self._stored_frames - num_frames
        first = min(max(self._stored_key_frame - num_frames // 2, 0), last_start)
        self.key_frame: int = self._stored_key_frame - first
        self._window = slice(first, first + num_frames)
        self._num_actors = num_actors
        self._still_boxes = still_boxes

    def num_clips(self, split: str) -> int:
        """Returns the clips of a split: "train", or several as in "train+validation".

        Raises:
          UserError: if a split has no clip.
        """
        return sum(self._builder.info.splits[part].num_examples for part in self._parts(split))

    def untracked_share(self, split: str) -> float:
        """Returns the share of a split's actors whose box stands still.

        That is those without a track, or all if so chosen.
        """
        counts = [self._builder.info.metadata["splits"][part] for part in self._parts(split)]
        if self._still_boxes:
            return 1.0
        return sum(part["untracked"] for part in counts) / sum(part["actors"] for part in counts)

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
        """Yields shuffled batches without end; every epoch has an order of its own.

        Args:
          split: the split or splits to draw from.
          batch_size: B of all processes together.
          seed: the batches are a function of it, bit for bit.
          start_step: the first batch to yield; what follows is what an uninterrupted run yields.
          flip: mirror every other clip, by chance, left to right; `l_` and `r_` classes swap.
          frames: read the pixels of a set that has them.
          process_index: which equal slice of every batch to yield.
          process_count: how many slices there are.

        Raises:
          UserError: if a split has no clip, or the processes cannot share a batch equally.
        """
        num_clips = self.num_clips(split)
        share = _process_share(batch_size, process_index, process_count)

        def epoch(number):
            seeds = tf.random.experimental.stateless_split([tf.constant(seed, tf.int64), number])
            index = tf.range(num_clips, dtype=tf.int64)
            index = tf.random.experimental.stateless_shuffle(index, seeds[0])
            mirrored = tf.random.stateless_uniform([num_clips], seeds[1]) < 0.5
            return tf.data.Dataset.from_tensor_slices((index, mirrored & flip))

        # Only clips of the first epoch are skipped, and none of them is read.
        first_epoch, skipped = divmod(start_step * batch_size, num_clips)
        epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
        drawn = epochs.flat_map(epoch).skip(skipped)
        return self._batches(split, drawn, batch_size, share, frames)

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
        """Yields every clip once, in one order; `clip_mask` is false where the last batch is short.

        Every process yields the same number of batches.

        Args:
          split: the split or splits to read.
          batch_size: B of all processes together.
          start: how many clips to leave out at the beginning; none of them is read.
          mirrored: mirror every clip left to right; `l_` and `r_` classes swap.
          frames: read the pixels of a set that has them.
          process_index: which equal slice of every batch to yield.
          process_count: how many slices there are.

        Raises:
          UserError: if a split has no clip, or the processes cannot share a batch equally.
        """
        num_clips = self.num_clips(split)
        share = _process_share(batch_size, process_index, process_count)
        stop = start - (start - num_clips) // batch_size * batch_size
        positions = tf.data.Dataset.range(start, stop)
        drawn = positions.map(lambda place: (tf.where(place < num_clips, place, -1), mirrored))
        return self._batches(split, drawn, batch_size, share, frames)

    def key_frame_images(
        self, split: str, clips: Collection[tuple[int, int]]
    ) -> dict[tuple[int, int], UInt8[np.ndarray, "H W 3"]]:
        """Returns the key frames of the clips named by (match, clip), in their stored size.

        Raises:
          UserError: if the set has no frames or the split no such clip.
        """
        if not self.has_frames:
            raise UserError("the prepared set has boxes only; prepare it with frames for images")
        data = self._load(split)
        names = zip(data.arrays["match"].tolist(), data.arrays["clip"].tolist())
        places = {name: index for index, name in enumerate(names)}
        unknown = sorted(set(clips) - set(places))
        if unknown:
            raise UserError(f"split {split} has no clip (match, clip) = {unknown[0]}")
        return {
            name: _decode_jpeg(self._jpegs(data, places[name])[self._stored_key_frame]).numpy()
            for name in clips
        }

    def _parts(self, split: str) -> list[str]:
        """Returns the single splits that a name like "train+validation" joins."""
        parts = split.split("+")
        for part in parts:
            if part not in self.splits:
                raise UserError(f"split {part!r} has no clip; there are: {', '.join(self.splits)}")
        return parts

    @functools.cache  # noqa: B019 - the split stays in memory as long as the dataset
    def _load(self, split: str) -> _Split:
        """Reads a split's boxes and labels, padded to N actors, and finds its records.

        It takes one pass over the split's files, frames included, but decodes none.
        """
        names = ("boxes", "key_boxes", "actor_mask", "action", "activity", "match", "clip")
        splits = [self._builder.info.splits[part] for part in self._parts(split)]
        paths = [str(path) for part in splits for path in part.filepaths]

        features = tfds.features.FeaturesDict({n: self._builder.info.features[n] for n in names})
        parsed = tf.data.TFRecordDataset(paths).map(features.deserialize_example, tf.data.AUTOTUNE)
        examples = list(parsed.batch(256).as_numpy_iterator())
        arrays = {name: np.concatenate([batch[name] for batch in examples]) for name in names}
        records = [(path, offset) for path in paths for offset in _record_offsets(path)]
        boxes = arrays["boxes"][:, self._window]
        if self._still_boxes:
            boxes = np.repeat(arrays["key_boxes"][:, None], boxes.shape[1], axis=1)
        slots = [(0, 1), (0, self._num_actors - self._stored_actors)]
        # The last row is the empty clip that fills the last batch of an evaluation.
        return _Split(
            arrays={
                "boxes": np.pad(boxes, [slots[0], (0, 0), slots[1], (0, 0)]),
                "actor_mask": np.pad(arrays["actor_mask"], slots),
                "action": _pad_labels(arrays["action"], slots),
                "activity": _pad_labels(arrays["activity"], slots[:1]),
                "match": _pad_labels(arrays["match"], slots[:1]),
                "clip": _pad_labels(arrays["clip"], slots[:1]),
            },
            record_paths=tf.constant([path for path, _ in records]),
            record_offsets=tf.constant([offset for _, offset in records], tf.int64),
        )

    def _batches(
        self,
        split: str,
        drawn: tf.data.Dataset,
        batch_size: int,
        share: Int[np.ndarray, "B"],
        frames: bool,
    ) -> Iterator[Clips]:
        """Yields a process's share of the drawn (index, mirrored); index -1 stands for no clip."""
        data = self._load(split)
        drawn = drawn.batch(batch_size).map(
            lambda index, mirrored: (tf.gather(index, share), tf.gather(mirrored, share))
        )
        if frames and self.has_frames:
            with_frames = functools.partial(self._with_frames, data)
            drawn = drawn.unbatch().map(with_frames, tf.data.AUTOTUNE).batch(len(share))
        batches = drawn.prefetch(2).as_numpy_iterator()
        return (self._clips(data, *batch) for batch in batches)

    def _with_frames(self, data: _Split, index: tf.Tensor, mirrored: tf.Tensor):
        """Adds a clip's frames, resized and mirrored, to its place in the batch."""

        def clip():
            jpegs = self._jpegs(data, index)[self._window]
            frames = tf.map_fn(self._resized, jpegs, fn_output_signature=tf.uint8)
            return tf.cond(mirrored, lambda: tf.reverse(frames, axis=[2]), lambda: frames)

        shape = (self._window.stop - self._window.start, *self._image_size, 3)
        frames = tf.cond(index < 0, lambda: tf.zeros(shape, tf.uint8), clip)
        return index, mirrored, tf.ensure_shape(frames, shape)

    def _jpegs(self, data: _Split, index: tf.Tensor) -> tf.Tensor:
        """Returns the coded frames of a clip, all that are stored."""
        reader = tf.raw_ops.TFRecordDatasetV2(
            filenames=tf.gather(data.record_paths, index),
            compression_type="",
            buffer_size=0,
            byte_offsets=tf.gather(data.record_offsets, index),
        )
        records = tf.data.experimental.from_variant(reader, tf.TensorSpec([], tf.string))
        feature = tf.io.FixedLenFeature([self._stored_frames], tf.string)
        record = records.take(1).get_single_element()
        return tf.io.parse_single_example(record, {"frames": feature})["frames"]

    def _resized(self, jpeg: tf.Tensor) -> tf.Tensor:
        """Decodes a frame to the size asked for, each pixel an average of those it replaces."""
        image = _decode_jpeg(jpeg)

        def resize():
            # Without antialiasing a frame made much smaller would skip most of its pixels.
            resized = tf.image.resize(image, self._image_size, antialias=True)
            return tf.cast(tf.round(resized), tf.uint8)

        fits = tf.reduce_all(tf.shape(image)[:2] == self._image_size)
        return tf.cond(fits, lambda: image, resize)

    def _clips(
        self,
        data: _Split,
        index: Int[np.ndarray, "B"],
        mirrored: Bool[np.ndarray, "B"],
        frames: UInt8[np.ndarray, "B T H W 3"] | None = None,
    ) -> Clips:
        batch = {name: array[index] for name, array in data.arrays.items()}
        mask = batch["actor_mask"][:, None, :, None]
        boxes = np.where(mask, mirror_boxes(batch["boxes"]), 0)
        batch["boxes"] = np.where(mirrored[:, None, None, None], boxes, batch["boxes"])
        for name, classes in (("activity", self.activity_names), ("action", self.action_names)):
            # The extra last place keeps UNKNOWN, -1, what it is.
            swapped = np.append(mirror_classes(classes), np.int32(UNKNOWN))[batch[name]]
            shape = (-1,) + (1,) * (swapped.ndim - 1)
            batch[name] = np.where(mirrored.reshape(shape), swapped, batch[name])
        return Clips(**batch, clip_mask=index >= 0, frames=frames)


def mirror_boxes(boxes: Float[np.ndarray, "*axes 4"]) -> Float[np.ndarray, "*axes 4"]:
    """Returns the boxes as a left-to-right mirror shows them: x becomes 1 - x, ends swapped."""
    y_min, x_min, y_max, x_max = np.moveaxis(boxes, -1, 0)
    return np.stack([y_min, 1 - x_max, y_max, 1 - x_min], axis=-1)


def mirror_classes(names: Sequence[str]) -> Int[np.ndarray, "A"]:
    """Returns, for each class, the number of its mirror image: `l_x` for `r_x` and the reverse.

    Classes without a side are their own image.
    """
    sides = {"l_": "r_", "r_": "l_"}
    images = [sides.get(name[:2], name[:2]) + name[2:] for name in names]
    return np.array([names.index(image) for image in images], np.int32)


def _process_share(batch_size: int, process_index: int, process_count: int) -> Int[np.ndarray, "B"]:
    """Returns the places within a batch that belong to one process."""
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"a batch of {batch_size} does not divide among {process_count} processes; give a "
            "multiple"
        )
    size = batch_size // process_count
    return np.arange(process_index * size, (process_index + 1) * size)


def _pad_labels(labels: Int[np.ndarray, "..."], padding) -> Int[np.ndarray, "..."]:
    return np.pad(labels.astype(np.int32), padding, constant_values=UNKNOWN)


def _record_offsets(path: str) -> list[int]:
    """Returns where each record of a TFRecord file begins.

    A record is its length (8 bytes, little-endian), 4 bytes of checksum, the data and 4 more
    bytes of checksum.
    """
    offsets = []
    with open(path, "rb") as file:
        while header := file.read(12):
            offsets.append(file.tell() - 12)
            file.seek(int.from_bytes(header[:8], "little") + 4, 1)
    return offsets


def _decode_jpeg(jpeg: tf.Tensor) -> tf.Tensor:
    # Left unnamed, the transform is a system-specific choice of TensorFlow's.
    return tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE")
