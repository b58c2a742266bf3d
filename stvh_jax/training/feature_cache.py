"""The features of a frozen backbone, computed once per clip and kept on disk.

Computing `models.frame_features.RoiFeatures` takes almost all of a training step and, with a frozen
backbone, always gives the same features for a clip. A cache is a folder. `made_of.json` says how
and of what the features were made. For every split, `<split>.features` holds them in half
precision, one clip after the other, and `<split>.digests` two SHA-256 of each clip, of its names
and boxes and of its features, written after its features. An interrupted cache is therefore noticed
and finished, features of other boxes are noticed, and so are features that the disk has changed.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import IO

import jax
import numpy as np
from etils import epath
from flax import linen as nn
from jaxtyping import Float16, UInt8

from stvh_jax import files
from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.console import say
from stvh_jax.dataset import Dataset
from stvh_jax.errors import Damaged, UserError, shown

MADE_OF = "made_of.json"
# 1, which was not written, had no digests of features and did not know of what pixels they were.
FORMAT = 2
DIGEST_BYTES = 32
# What `<split>.digests` holds of a clip: what it is, and what its features are.
ENTRY_BYTES = 2 * DIGEST_BYTES
_MOST_MADE_OF = 1 << 20


class _Stored:
    """The features of a split; those of a clip are checked when they are first read."""

    def __init__(self, path: pathlib.Path, shape: tuple[int, ...], sums: list[bytes]):
        with files.reading(f"{path}.features", "a file of features"):
            self._features = np.memmap(
                f"{path}.features", np.float16, mode="r", shape=(len(sums), *shape)
            )
        self._path, self._sums = path, sums
        self._sound = np.zeros(len(sums), bool)

    def read(self, row: int, name: str) -> Float16[np.ndarray, "T N h w C"]:
        """Reads the features of a clip.

        Raises:
          Damaged: they are not those that were written; the message has the name of the clip.
        """
        features = self._features[row]
        if not self._sound[row]:
            if _sum(features) != self._sums[row]:
                raise Damaged(
                    f"{self._path}.features is damaged: the features of clip {name} are not those "
                    f"that were written; delete {self._path.parent}, and they are computed again"
                )
            self._sound[row] = True
        return features


class CachedDataset:
    """A data set whose clips carry `roi_features` from a cache in place of frames.

    It is a `stvh_jax.dataset.Dataset`; where it is asked for batches without frames, they have no
    features either.
    """

    def __init__(
        self,
        dataset: Dataset,
        folder: epath.PathLike,
        *,
        made_of: dict,
        shape: tuple[int, ...],
    ):
        """Opens a cache, making the folder where it is absent.

        Args:
          dataset: a data set with frames.
          folder: of the cache, on a disk of this machine.
          made_of: what the features depend on besides the clips and their pixels, as JSON. Of the
            pixels it is the `content_digest` of the data set, where it has one.
          shape: `(T, N, h, w, C)` of a clip's features.

        Raises:
          UserError: the folder cannot be written, or holds features that were made in another way.
        """
        self.activity_names = dataset.activity_names
        self.action_names = dataset.action_names
        self.key_frame = dataset.key_frame
        self.splits = dataset.splits
        self.has_frames = dataset.has_frames
        self._dataset, self._shape = dataset, shape
        self._row_bytes = 2 * int(np.prod(shape))
        if "://" in os.fspath(folder):
            raise UserError(
                f"config.train.feature_cache={folder} is not a local folder, as reading by memory "
                "map needs; give a folder on this machine"
            )
        self._folder = pathlib.Path(folder)
        # digest of a clip -> the features of its split, and its row there.
        self._rows: dict[bytes, tuple[_Stored, int]] = {}
        self.content_digest = getattr(dataset, "content_digest", None)
        pixels = self.content_digest and str(self.content_digest)
        check_made_of(self._folder, {"format": FORMAT, "content_digest": pixels, **made_of})

    def num_clips(self, split: str) -> int:
        """Counts the clips of a split."""
        return self._dataset.num_clips(split)

    def untracked_share(self, split: str) -> float:
        """Returns the share of a split's actors, 0..1, whose box does not move with them."""
        return self._dataset.untracked_share(split)

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
        """Yields the training batches of the data set, with features."""
        batches = self._dataset.training_batches(
            split,
            batch_size=batch_size,
            seed=seed,
            start_step=start_step,
            flip=flip,
            frames=False,
            process_index=process_index,
            process_count=process_count,
        )
        return map(self._with_features, batches) if frames else batches

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
        """Yields the evaluation batches of the data set, with features."""
        batches = self._dataset.evaluation_batches(
            split,
            batch_size=batch_size,
            start=start,
            mirrored=mirrored,
            frames=False,
            process_index=process_index,
            process_count=process_count,
        )
        return map(self._with_features, batches) if frames else batches

    def key_frame_images(
        self, split: str, clips: Collection[tuple[str, str]]
    ) -> dict[tuple[str, str], UInt8[np.ndarray, "H W 3"]]:
        """Returns the key frames of the clips with these names (match, clip), in stored size."""
        return self._dataset.key_frame_images(split, clips)

    def _with_features(self, clips: Clips) -> Clips:
        features = np.zeros((len(clips.boxes), *self._shape), np.float16)
        for index, digest in enumerate(digests(clips)):
            if clips.clip_mask[index]:
                stored, row = self._rows[digest]
                features[index] = stored.read(row, f"{clips.match[index]}/{clips.clip[index]}")
        return dataclasses.replace(clips, roi_features=features)

    def fill(
        self,
        split: str,
        compute: Callable[[Clips], jax.typing.ArrayLike],
        *,
        mirrored: bool,
        batch_size: int,
        may_write: bool = True,
    ) -> None:
        """Opens the features of a split, computing those that are missing.

        Args:
          split: one split, or several as in "train+validation".
          compute: makes the features `[B, *shape]` of a batch of clips with frames.
          mirrored: whether to open the features of the mirrored clips.
          batch_size: clips per batch.
          may_write: whether this process may compute missing features.

        Raises:
          UserError: stored features are of other boxes, features are too large for half precision,
            or some are missing and this process may not compute them.
        """
        for part in split.split("+"):
            path = self._folder / (f"{part}-mirrored" if mirrored else part)
            batches = functools.partial(
                self._dataset.evaluation_batches, part, batch_size=batch_size, mirrored=mirrored
            )
            expected = [
                digest
                for clips in batches(frames=False)
                for digest, valid in zip(digests(clips), clips.clip_mask)
                if valid
            ]
            if len(self._sums(path, expected)) < len(expected):
                if not may_write:
                    raise UserError(
                        f"{path}.features is not complete, and several processes would write it "
                        "at once; make it with one process first"
                    )
                with self._locked():
                    done = len(self._sums(path, expected))
                    # Whole batches, as an uninterrupted run computes them.
                    done -= done % batch_size if done < len(expected) else 0
                    self._cut(path, done)
                    self._append(path, batches(start=done), compute, done, len(expected))
            stored = _Stored(path, self._shape, self._sums(path, expected))
            self._rows |= {digest: (stored, row) for row, digest in enumerate(expected)}

    def _sums(self, path: pathlib.Path, expected: list[bytes]) -> list[bytes]:
        """Reads the digests of the features that are stored, which may be of the first clips only.

        Raises:
          UserError: the features are of other clips.
        """
        names, features = pathlib.Path(f"{path}.digests"), pathlib.Path(f"{path}.features")
        if not (names.exists() and features.exists()):
            return []
        raw = files.read_bytes(names, "a file of digests")
        done = min(len(raw) // ENTRY_BYTES, features.stat().st_size // self._row_bytes)
        entries = [raw[i * ENTRY_BYTES : (i + 1) * ENTRY_BYTES] for i in range(done)]
        if [entry[:DIGEST_BYTES] for entry in entries] != expected[:done]:
            raise UserError(
                f"{path}.features is stale: it was made from clips with other boxes, or from other "
                f"clips; delete {self._folder}"
            )
        return [entry[DIGEST_BYTES:] for entry in entries]

    def _cut(self, path: pathlib.Path, done: int) -> None:
        """Keeps only the first `done` clips in both files, and makes the files if missing."""
        for end, size in (("digests", ENTRY_BYTES), ("features", self._row_bytes)):
            with files.writing(f"{path}.{end}"), open(f"{path}.{end}", "ab") as file:
                file.truncate(done * size)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps other runs from writing to the cache."""
        waiting = functools.partial(say, f"waiting for another run that fills {self._folder}")
        with files.lock(self._folder / "lock", wait=waiting):
            yield

    def _append(
        self,
        path: pathlib.Path,
        batches: Iterable[Clips],
        compute: Callable[[Clips], jax.typing.ArrayLike],
        done: int,
        total: int,
    ) -> None:
        """Computes features and writes them, each batch completely before its digests."""
        start, first, reported = time.monotonic(), done, 0.0
        with open(f"{path}.features", "ab") as features, open(f"{path}.digests", "ab") as names:
            for clips in batches:
                valid = np.asarray(clips.clip_mask)
                with np.errstate(over="ignore"):
                    made = np.asarray(compute(clips))[valid].astype(np.float16)
                if not np.isfinite(made).all():
                    raise UserError(
                        f"the backbone gives features of {path.name} clips that half precision "
                        "cannot hold; check its weights and their pixel normalisation"
                    )
                entries = zip(np.array(digests(clips), object)[valid], map(_sum, made))
                with files.writing(f"{path}.features"):
                    _write(features, made.tobytes())
                    _write(
                        names, b"".join(of_clip + of_features for of_clip, of_features in entries)
                    )
                done += int(valid.sum())
                seconds = time.monotonic() - start
                if seconds - reported > 10 or done == total:
                    reported = seconds
                    rate = (done - first) / seconds
                    say(f"features of {path.name}: {done}/{total} clips  {rate:.1f} clips/s")


def _write(file: IO[bytes], content: bytes) -> None:
    """Writes to the disk itself before it returns."""
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def _sum(features: Float16[np.ndarray, "T N h w C"]) -> bytes:
    """Computes the SHA-256 of a clip's features."""
    return hashlib.sha256(np.ascontiguousarray(features).data).digest()


def check_made_of(folder: pathlib.Path, made_of: dict) -> None:
    """Checks that a cache was made in this way; a new one notes it.

    Raises:
      UserError: it was made in another way, or cannot be read or written.
    """
    path, otherwise = folder / MADE_OF, "delete it or give another config.train.feature_cache"
    try:
        if not path.exists():
            with files.writing(path):
                folder.mkdir(parents=True, exist_ok=True)
                files.write(path, json.dumps(made_of, indent=2))
        stored = files.read_json(path, "what a feature cache was made of", most=_MOST_MADE_OF)
    except UserError as error:
        raise UserError(f"cannot use the feature cache {folder} ({error}); {otherwise}") from error
    # JSON turns tuples into lists.
    expected = json.loads(json.dumps(made_of))
    if expected.get("format") != stored.get("format"):
        raise UserError(
            f"the feature cache {folder} is stale: it was made by another version of stvh_jax; "
            f"{otherwise}"
        )
    for name in sorted(expected.keys() | stored.keys()):
        if stored.get(name) != expected.get(name):
            held, wanted = (shown(made.get(name)) for made in (stored, expected))
            raise UserError(
                f"the feature cache {folder} is stale: it was made with {name[:80]}={held}, not "
                f"{wanted}; {otherwise}"
            )


def digests(clips: Clips) -> list[bytes]:
    """Computes the SHA-256 of each clip's match, name and boxes."""
    boxes = np.where(clips.actor_mask[:, None, :, None], clips.boxes, 0).astype(np.float32)
    return [
        hashlib.sha256(f"{match} {clip}\n".encode() + mask.tobytes() + box.tobytes()).digest()
        for match, clip, mask, box in zip(clips.match, clips.clip, clips.actor_mask, boxes)
    ]


def made_of(config: Config, weights_digest: str, backbone: dict) -> dict:
    """Returns what a backbone's features depend on besides the clips, for `CachedDataset`."""
    model = config.model
    return {
        "weights_sha256": weights_digest,
        "backbone": {name: option for name, option in backbone.items() if name != "remat"},
        "data": config.data.name,
        "variant": config.data.variant,
        "image_size": list(config.data.image_size),
        "num_frames": model.num_frames,
        "num_actors": model.num_actors,
        "roi_size": model.roi_size,
        "sampling_ratio": model.sampling_ratio,
        "roi_border": model.roi_border,
        "dtype": model.dtype,
    }


def feature_shape(module: nn.Module, variables: dict, config: Config) -> tuple[int, ...]:
    """Finds the shape (T, N, h, w, C) of the features that a `RoiFeatures` makes of a clip."""
    model = config.model
    frames = jax.ShapeDtypeStruct((1, model.num_frames, *config.data.image_size, 3), np.uint8)
    boxes = jax.ShapeDtypeStruct((1, model.num_frames, model.num_actors, 4), np.float32)
    out = jax.eval_shape(
        lambda *arrays: module.apply(*arrays, train=False), variables, frames, boxes
    )
    return out.shape[1:]
