"""Appearance of whole frames, computed elsewhere: a `.npz` with a row per clip; no TensorFlow.

features   float [M, C], the mean over some frames of each clip, or [M, S, C], S frames of each
video      [M], the match of each row, as a number or a text
clip       [M], the clip within it, as a number or a text

Other arrays in the file are ignored, and so are rows of clips that a data set does not have.
"""

import collections
import dataclasses
import math
import pathlib
import zipfile
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Float, Float16

from stvh_jax import digests, files
from stvh_jax.errors import shown

_WHAT = "a .npz of features, video and clip"
_CURE = "write it as docs/data.md says, or fetch it again"

# The most frames of a clip, channels, and letters of a name; and bytes of an array.
_MOST_FRAMES, _MOST_CHANNELS, _MOST_LETTERS = 1024, 16384, 200
_MOST_BYTES = 2 << 30


@dataclasses.dataclass(frozen=True, eq=False)
class Appearance:
    """What the whole frames of clips look like.

    Attributes:
      path: the file that they were read from.
      sha256: of its content, in hexadecimal digits.
      features: of S frames of each clip; S is 1 for a mean.
      rows: (match, clip) -> its row of `features`.
    """

    path: pathlib.Path
    sha256: str
    features: Float16[np.ndarray, "M S C"]
    rows: Mapping[tuple[str, str], int]

    @property
    def shape(self) -> tuple[int, int]:
        """S and C, the frames and the channels of a clip."""
        return self.features.shape[1], self.features.shape[2]

    def description(self, clips: Iterable[tuple[str, str]] | None = None) -> str:
        """Says in a line what is read from where, and how much of it is of none of these clips."""
        frames, channels = self.shape
        line = (
            f"features of whole frames: {self.path}, {len(self.rows)} clips, {frames} x {channels}"
        )
        others = 0 if clips is None else len(self.rows.keys() - set(clips))
        return line + " numbers each" + (f"; {others} are of no clip of the set" if others else "")

    def origin(self) -> str:
        """Says what a set that was prepared with them has of them, for its metadata."""
        return (
            f"Features of whole frames from {self.path.name} (SHA-256 {self.sha256}), float16 "
            f"{list(self.shape)} per clip: frames, channels."
        )

    def has(self, match: str, clip: str) -> bool:
        """Says whether the file has a row for a clip."""
        return (match, clip) in self.rows

    def of(self, match: str, clip: str) -> Float16[np.ndarray, "S C"]:
        """Returns the features of a clip."""
        return self.features[self.rows[match, clip]]


def read_appearance(path: pathlib.Path) -> Appearance:
    """Reads a file of features; sizes and types are checked before anything large is read.

    Raises:
      NotFound: there is no such file.
      UserError: it cannot be read.
      Damaged: the file has another format, is cut or too large, names a clip twice, or has a value
        that is not finite or does not fit into float16.
    """
    with files.reading(path, _WHAT, _CURE):
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES >> 30} GiB")
        sha256 = digests.of_file(path)
        with zipfile.ZipFile(path) as archive:
            features = _read_array(archive, "features", _check_features)
            names = [_read_array(archive, name, _check_names) for name in ("video", "clip")]
        for name, values in zip(("video", "clip"), names):
            if len(values) != len(features):
                raise ValueError(f"{len(features)} rows of features, but {len(values)} of {name}")
        keys = list(zip(*([str(value) for value in values.tolist()] for values in names)))
        _refuse_doubled(keys)
        features = _as_float16(features, keys)
    return Appearance(path, sha256, features, {key: row for row, key in enumerate(keys)})


def lacking(appearance: Appearance, clips: Iterable[tuple[str, str]]) -> str:
    """Says how many of these clips (match, clip) a file of features lacks; "" if it has all."""
    clips = list(clips)
    absent = [name for name in clips if not appearance.has(*name)]
    if not absent:
        return ""
    match, clip = absent[0]
    return (
        f"{appearance.path} has no features of {len(absent)} of {len(clips)} clips, first video "
        f"{match}, clip {clip}"
    )


def _read_array(archive: zipfile.ZipFile, name: str, check) -> np.ndarray:
    """Reads an array after `check(shape, dtype)` of its header, which raises a `ValueError`."""
    if f"{name}.npy" not in archive.namelist():
        raise ValueError(f"it has no array {name}")
    with archive.open(f"{name}.npy") as stream:
        # NumPy writes later formats for arrays of records alone; their headers have no bound.
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{name} is not an array of numbers or texts")
        shape, in_columns, dtype = np.lib.format.read_array_header_1_0(stream)
        if dtype.hasobject:
            raise ValueError(f"{name} holds Python objects, not plain numbers or texts")
        if not all(shape):
            raise ValueError(f"{name} of shape {shown(shape)} is empty")
        check(shape, dtype)
        size = math.prod(shape) * dtype.itemsize
        if size > _MOST_BYTES:
            raise ValueError(f"{name} of shape {shape} takes more than {_MOST_BYTES >> 30} GiB")
        # One more byte than there should be: at the end, zipfile compares the checksum.
        content = stream.read(size + 1)
    if len(content) != size:
        raise ValueError(f"{name} is {'cut' if len(content) < size else 'longer than it says'}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if in_columns else "C")


def _check_features(shape: tuple[int, ...], dtype: np.dtype) -> None:
    frames = shape[1] if len(shape) == 3 else 1
    if len(shape) not in (2, 3) or dtype.kind != "f":
        raise ValueError(
            f"features are {dtype} {shown(shape)}; floats [clips, channels] or [clips, frames, "
            "channels] are needed"
        )
    if frames > _MOST_FRAMES or shape[-1] > _MOST_CHANNELS:
        raise ValueError(
            f"features are {shown(shape)}; at most {_MOST_FRAMES} frames of {_MOST_CHANNELS} "
            "channels fit"
        )


def _check_names(shape: tuple[int, ...], dtype: np.dtype) -> None:
    letters = dtype.itemsize // 4 if dtype.kind == "U" else 0
    if len(shape) != 1 or dtype.kind not in "iuU" or letters > _MOST_LETTERS:
        raise ValueError(
            f"video and clip have to be whole numbers or texts, one per row; one is {dtype} "
            f"{shown(shape)}"
        )


def _refuse_doubled(keys: list[tuple[str, str]]) -> None:
    (match, clip), times = collections.Counter(keys).most_common(1)[0]
    if times > 1:
        raise ValueError(f"video {match}, clip {clip} is there {times} times")


def _as_float16(
    features: Float[np.ndarray, "M *S C"], keys: list[tuple[str, str]]
) -> Float16[np.ndarray, "M S C"]:
    with np.errstate(over="ignore"):
        features = features.reshape(len(features), -1, features.shape[-1])
        features = features.astype(np.float16, copy=False)
    finite = np.isfinite(features).all(axis=(1, 2))
    if not finite.all():
        match, clip = keys[finite.argmin()]
        raise ValueError(
            f"the features of video {match}, clip {clip} are not finite, or beyond float16"
        )
    return features
