"""The TFDS builder of sets of one's own footage: the same format as that of the published sets."""

import collections
import functools
import io
import logging
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from data.own.clips import OwnClip
from data.own.importing import OwnSet
from data.prepared import seal, sources
from data.prepared.builder import key_of, prepare_at
from stvh_jax import files
from stvh_jax.errors import UserError
from stvh_jax.mirror import has_pairs
from stvh_jax.unknown import UNKNOWN
from stvh_jax.video.frames import read_frames

VERSION = "3.0.0"
_QUALITY = 95


def prepare_own(
    own: OwnSet, place: pathlib.Path, *, raw: pathlib.Path, report: Callable[[str], None]
) -> None:
    """Prepares a set, unless the same is prepared already.

    Args:
      own: its clips.
      place: the folder of the variant, which the set is put into, under its version.
      raw: the folder of the labels.
      report: called with each line of the report.

    Raises:
      UserError: there is another set, or it cannot be written.
      Locked: another process prepares it.
      Damaged: there is a part of a set.
    """
    logging.getLogger("absl").setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    folder = place / VERSION
    if folder.exists():
        cure = f"delete {folder} to make the set again"
        seal.check(folder, cure)
        _refuse_other(folder, own, cure)
        report(f"{folder} is already made; delete it to make it again")
        return
    make = functools.partial(OwnBuilder, own=own, config=_config(own))
    with files.writing(folder):
        place.mkdir(parents=True, exist_ok=True)
        with files.lock(place / "lock", busy=f"another process makes {folder}"):
            prepare_at(folder, make, raw.absolute())
    report(f"made {folder}")


def _refuse_other(folder: pathlib.Path, own: OwnSet, cure: str) -> None:
    recorded = files.read_json(folder / sources.NAME, "a list of sources", cure=cure)
    for name, value in own.sources.items():
        if recorded.get(name) != value:
            raise UserError(f"{folder} was made from other {name}; {cure}, or give another --name")


def _config(own: OwnSet) -> tfds.core.BuilderConfig:
    return tfds.core.BuilderConfig(name="boxes_only" if own.image_size is None else "frames")


class OwnBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Prepares clips of one's own footage.

    Args:
      own: the clips.
      **options: the arguments of every TFDS builder.
    """

    VERSION = tfds.core.Version(VERSION)
    name = "own"

    def __init__(self, *, own: OwnSet, **options):
        self._own = own
        self.sources = dict(own.sources)
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        own, frames, actors = self._own, self._own.cutting.num_frames, self._own.cutting.num_actors
        tensor = tfds.features.Tensor
        action = tfds.features.ClassLabel(names=own.actions)
        features = {
            "boxes": tensor(shape=(frames, actors, 4), dtype=np.float32),
            "key_boxes": tensor(shape=(actors, 4), dtype=np.float32),
            "actor_mask": tensor(shape=(actors,), dtype=np.bool_),
            "tracked": tensor(shape=(actors,), dtype=np.bool_),
            "action": tfds.features.Sequence(action, length=actors),
            "activity": tfds.features.ClassLabel(names=own.activities),
            "match": tfds.features.Text(),
            "clip": tfds.features.Text(),
            "frame": tfds.features.Scalar(dtype=np.int64),
            "image_size": tensor(shape=(2,), dtype=np.int64),
        }
        if own.image_size is not None:
            image = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
            features["frames"] = tfds.features.Sequence(image, length=frames)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(
                key_frame=frames // 2,
                num_frames=frames,
                num_actors=actors,
                has_pairs=has_pairs(own.activities) and has_pairs(own.actions, few=0),
                image_size=list(own.image_size or ()),
                splits={},
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        by_split: dict[str, list[OwnClip]] = collections.defaultdict(list)
        for clip in self._own.clips:
            by_split[clip.split].append(clip)
        return {split: self._generate_examples(split, clips) for split, clips in by_split.items()}

    def _generate_examples(
        self, split: str, clips: Sequence[OwnClip]
    ) -> Iterator[tuple[str, dict]]:
        counts = {"clips": 0, "skipped": 0, "actors": 0, "untracked": 0}
        for match in dict.fromkeys(clip.match for clip in clips):
            chosen = [clip for clip in clips if clip.match == match]
            for clip, pictures in self._with_pictures(match, chosen):
                example = self._example(clip)
                if self._own.image_size is not None:
                    if len(pictures) < len(clip.frames):
                        counts["skipped"] += 1  # a frame that cannot be decoded
                        continue
                    example["frames"] = [io.BytesIO(picture) for picture in pictures]
                counts["clips"] += 1
                counts["actors"] += len(clip.actions)
                counts["untracked"] += 0 if clip.tracked else len(clip.actions)
                yield key_of(clip.match, clip.clip), example
        info: Any = self.info  # TFDS's types leave out that every set has metadata
        counts["videos"] = len({clip.match for clip in clips})
        info.metadata["splits"][split] = counts

    def _example(self, clip: OwnClip) -> dict:
        own, people = self._own, len(clip.actions)
        padding = own.cutting.num_actors - people
        video = own.footage[clip.match].video
        key = own.cutting.num_frames // 2
        known = [UNKNOWN if name is None else own.actions.index(name) for name in clip.actions]
        mask = np.arange(own.cutting.num_actors) < people
        return {
            "boxes": np.pad(np.clip(clip.boxes, 0, 1), ((0, 0), (0, padding), (0, 0))),
            "key_boxes": np.pad(np.clip(clip.boxes[key], 0, 1), ((0, padding), (0, 0))),
            "actor_mask": mask,
            "tracked": mask & clip.tracked,
            "action": known + [UNKNOWN] * padding,
            "activity": UNKNOWN if clip.activity is None else own.activities.index(clip.activity),
            "match": clip.match,
            "clip": clip.clip,
            "frame": int(clip.frames[key]),
            "image_size": np.array([video.height, video.width], np.int64),
        }

    def _with_pictures(
        self, match: str, clips: Sequence[OwnClip]
    ) -> Iterator[tuple[OwnClip, list[bytes]]]:
        """Adds the coded frames of the clips of a video, each decoded once; kept while needed."""
        size = self._own.image_size
        if size is None:
            yield from ((clip, []) for clip in clips)
            return
        waiting = collections.deque(sorted(clips, key=lambda clip: int(clip.frames[0])))
        numbers = sorted({number for clip in clips for number in clip.frames.tolist()})
        kept: dict[int, bytes] = {}

        def done(until: float) -> Iterator[tuple[OwnClip, list[bytes]]]:
            while waiting and waiting[0].frames[-1] <= until:
                clip = waiting.popleft()
                yield clip, [kept[n] for n in clip.frames.tolist() if n in kept]
                first = waiting[0].frames[0] if waiting else np.inf
                for number in [number for number in kept if number < first]:
                    del kept[number]

        video = self._own.footage[match].video
        for number, picture in read_frames(video, numbers, size=size):
            kept[number] = _jpeg(picture)
            yield from done(number)
        yield from done(np.inf)


def _jpeg(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
