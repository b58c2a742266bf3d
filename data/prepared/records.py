"""The files of a prepared set: boxes and labels read into memory, frames found on disk."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from jaxtyping import Int

from stvh_jax.errors import UserError
from stvh_jax.unknown import UNKNOWN

_LABELS = ("action", "activity", "match", "clip", "frame")
_FIELDS = ("boxes", "key_boxes", "actor_mask", "appearance", *_LABELS)


@dataclasses.dataclass(frozen=True)
class Records:
    """The M clips of some splits.

    Attributes:
      num_frames: T, the frames that are stored of each clip.
      arrays: `boxes` [M, T, N, 4], `key_boxes` [M, N, 4], `actor_mask` [M, N], `action` [M, N],
        `activity`, `match`, `clip` and `frame` [M], and `appearance` [M, S, C] of a variant that
        has it, as `stvh_jax.clips.Clips` has them.
      paths: the file of each clip's record.
      offsets: the position of each record in its file (bytes).
    """

    num_frames: int
    arrays: dict[str, np.ndarray]
    paths: tf.Tensor
    offsets: tf.Tensor

    def jpegs(self, index: tf.Tensor | int) -> tf.Tensor:
        """Returns the encoded frames of a clip, all T of them."""
        reader = tf.raw_ops.TFRecordDatasetV2(
            filenames=tf.gather(self.paths, index),
            compression_type="",
            buffer_size=0,
            byte_offsets=tf.gather(self.offsets, index),
        )
        records = tf.data.experimental.from_variant(reader, tf.TensorSpec([], tf.string))
        feature = tf.io.FixedLenFeature([self.num_frames], tf.string)
        record = records.take(1).get_single_element()
        return tf.io.parse_single_example(record, {"frames": feature})["frames"]


def read_records(splits: Sequence[tfds.core.SplitInfo], features: Any) -> Records:
    """Reads the clips of splits in stored order, in one pass that decodes no frame.

    Sets of version 2 have numbers for names, that of a clip being the number of its key frame.

    Args:
      splits: of a prepared set.
      features: the set's `tfds.features.FeaturesDict`.

    Raises:
      ValueError: there are other records than the set says, or impossible values in them.
      Exception: of whatever else TensorFlow finds; read them within `files.reading`.
    """
    fields = [name for name in _FIELDS if name in features]
    paths = [str(path) for split in splits for path in split.filepaths]
    reader = tfds.features.FeaturesDict({name: features[name] for name in fields})
    with _no_warning_of_tfds():
        parsed = tf.data.TFRecordDataset(paths).map(reader.deserialize_example, tf.data.AUTOTUNE)
    batches: Any = parsed.batch(256).as_numpy_iterator()
    examples = list(batches)
    arrays = {name: np.concatenate([batch[name] for batch in examples]) for name in fields}
    arrays["frame"] = arrays.get("frame", arrays["clip"])
    arrays |= {name: _names(arrays[name]) for name in ("match", "clip")}
    _check(arrays, features, sum(split.num_examples for split in splits))
    places = [(path, offset) for path in paths for offset in _record_offsets(path)]
    return Records(
        num_frames=arrays["boxes"].shape[1],
        arrays=arrays,
        paths=tf.constant([path for path, _ in places]),
        offsets=tf.constant([offset for _, offset in places], tf.int64),
    )


@contextlib.contextmanager
def _no_warning_of_tfds() -> Iterator[None]:
    """Drops what TFDS logs of a deprecated call, which is its own."""

    def is_another(record: logging.LogRecord) -> bool:
        return "FeatureConnector.dtype" not in record.getMessage()

    logger = logging.getLogger("absl")
    logger.addFilter(is_another)
    try:
        yield
    finally:
        logger.removeFilter(is_another)


def _check(arrays: dict[str, np.ndarray], features: Any, num_examples: int) -> None:
    if len(arrays["boxes"]) != num_examples:
        raise ValueError(f"{len(arrays['boxes'])} clips of {num_examples}")
    for name, feature in (
        ("action", features["action"].feature),
        ("activity", features["activity"]),
    ):
        known = arrays[name] < feature.num_classes
        if not (known & (arrays[name] >= UNKNOWN)).all():
            raise ValueError(f"there is an {name} without a name")
    for name in ("boxes", "key_boxes", "appearance"):
        if name in arrays and not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} are not finite")


def padded(
    stored: dict[str, np.ndarray], *, window: slice, num_actors: int, still_boxes: bool
) -> dict[str, np.ndarray]:
    """Cuts stored arrays to the frames of a window, pads them to N actors, and adds an empty clip.

    The empty clip comes last, so that the index -1 stands for it.

    Args:
      stored: `Records.arrays`, as they were read.
      window: the frames.
      num_actors: N.
      still_boxes: whether every frame has the key frame's annotated boxes.
    """
    boxes = stored["boxes"][:, window]
    if still_boxes:
        boxes = np.repeat(stored["key_boxes"][:, None], boxes.shape[1], axis=1)
    clips, actors = (0, 1), (0, num_actors - boxes.shape[2])
    arrays = {
        "boxes": np.pad(boxes, [clips, (0, 0), actors, (0, 0)]),
        "actor_mask": np.pad(stored["actor_mask"], [clips, actors]),
        "action": _pad_numbers(stored["action"], [clips, actors]),
        "activity": _pad_numbers(stored["activity"], [clips]),
        "match": np.append(stored["match"], ""),
        "clip": np.append(stored["clip"], ""),
        "frame": _pad_numbers(stored["frame"], [clips]),
    }
    if "appearance" in stored:
        arrays["appearance"] = np.pad(stored["appearance"], [clips, (0, 0), (0, 0)])
    return arrays


def _pad_numbers(numbers: Int[np.ndarray, "..."], padding) -> Int[np.ndarray, "..."]:
    return np.pad(numbers.astype(np.int32), padding, constant_values=UNKNOWN)


def _names(stored: np.ndarray) -> np.ndarray:
    """Decodes names, which TensorFlow gives as UTF-8."""
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in stored.tolist()]
    return np.array(names, np.str_)


def _record_offsets(path: str) -> list[int]:
    """Returns the position of each record of a TFRecord file.

    A record is its length (8 bytes, little-endian), 4 bytes of checksum, the data and 4 more
    bytes of checksum.
    """
    offsets = []
    with open(path, "rb") as file:
        while header := file.read(12):
            offsets.append(file.tell() - 12)
            file.seek(int.from_bytes(header[:8], "little") + 4, 1)
    return offsets


def draw_labelled(
    labels: Int[np.ndarray, "M"], per_activity: int, seed: int, *, split: str
) -> Int[np.ndarray, "n"]:
    """Draws the places of some clips of each activity, in order; `split` is for the error alone.

    Raises:
      UserError: no clip has a label.
    """
    # Few need it, and it is slow to import.
    from stvh_jax.evaluation.few_labels import labelled_subset

    chosen = labelled_subset(labels, per_activity, seed)
    if not len(chosen):
        raise UserError(
            f"no clip of {split} has a label, so config.data.labels_per_activity has none to draw; "
            "set it to 0, or label some clips"
        )
    return chosen
