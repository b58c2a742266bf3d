"""TFDS builder of the Volleyball Dataset, from the authors' own files on disk."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow_datasets as tfds

from data.annotations import ACTIONS, ACTIVITIES, MAX_ACTORS, NUM_FRAMES, ClipAnnotation
from data.volleyball import raw as raw_files
from stvh_jax.clips import UNKNOWN
from stvh_jax.errors import UserError


@dataclasses.dataclass
class VolleyballConfig(tfds.core.BuilderConfig):
    """A variant of the prepared set.

    Attributes:
      with_frames: whether clips carry their JPEG frames.
    """

    with_frames: bool = False


class Builder(tfds.core.GeneratorBasedBuilder):
    """Prepares the Volleyball Dataset: T frames, up to N people with boxes over time, labels.

    Args:
      allow_missing: prepare what is there and skip the clips that lack frames and the videos that
        lack annotations, in place of refusing an incomplete folder.
      report: called with a line of text as each video is done.
      **options: what every TFDS builder takes.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Fetch the Volleyball Dataset from https://github.com/mostafa-saad/deep-activity-rec and "
        "give the folder that holds videos/<video>/annotations.txt."
    )
    BUILDER_CONFIGS = [
        VolleyballConfig(name="frames", description="JPEG frames and boxes.", with_frames=True),
        VolleyballConfig(name="boxes_only", description="Boxes and labels, no pixels."),
    ]

    def __init__(
        self,
        *,
        allow_missing: bool = False,
        report: Callable[[str], None] = lambda line: None,
        **options,
    ):
        self._allow_missing = allow_missing
        self._report = report
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "boxes": tfds.features.Tensor(shape=(NUM_FRAMES, MAX_ACTORS, 4), dtype=np.float32),
            "actor_mask": tfds.features.Tensor(shape=(MAX_ACTORS,), dtype=np.bool_),
            "tracked": tfds.features.Tensor(shape=(MAX_ACTORS,), dtype=np.bool_),
            "action": tfds.features.Sequence(
                tfds.features.ClassLabel(names=ACTIONS), length=MAX_ACTORS
            ),
            "activity": tfds.features.ClassLabel(names=ACTIVITIES),
            "match": tfds.features.Scalar(dtype=np.int64),
            "clip": tfds.features.Scalar(dtype=np.int64),
            "image_size": tfds.features.Tensor(shape=(2,), dtype=np.int64),
        }
        if self.builder_config.with_frames:
            # An image given as a path is stored byte for byte, never coded again.
            image = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
            features["frames"] = tfds.features.Sequence(image, length=NUM_FRAMES)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            homepage="https://github.com/mostafa-saad/deep-activity-rec",
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        raw = raw_files.open_raw(dl_manager.manual_dir)
        clips = {split: self._annotated_clips(raw, split) for split in raw.splits}
        skipped = dict.fromkeys(clips, 0)
        if self.builder_config.with_frames:
            whole = {
                split: [(video, clip) for video, clip in found if raw.has_frames(video, clip.clip)]
                for split, found in clips.items()
            }
            skipped = {split: len(clips[split]) - len(whole[split]) for split in clips}
            self._refuse_missing_frames(raw, sum(skipped.values()), sum(map(len, clips.values())))
            clips = whole
        clips = {split: found for split, found in clips.items() if found}
        if not clips:
            raise UserError(f"{raw.videos}: no clip to prepare")
        return {
            split: self._generate_examples(raw, split, found, skipped[split])
            for split, found in clips.items()
        }

    def _annotated_clips(
        self, raw: raw_files.RawVolleyball, split: str
    ) -> list[tuple[int, ClipAnnotation]]:
        videos = raw.splits[split]
        missing = [video for video in videos if not raw.annotation_path(video).exists()]
        if missing and not self._allow_missing:
            raise UserError(
                f"{raw.videos}: {len(missing)} of the {len(videos)} {split} videos have no "
                f"annotations.txt, first {raw.annotation_path(missing[0])}; fetch them, or give "
                "--allow-missing to prepare the rest"
            )
        clips = []
        for video in videos:
            if video not in missing:
                found, problems = raw.scan(video)
                if problems:
                    raise problems[0]
                clips += [(video, annotation) for annotation in found]
        return clips

    def _refuse_missing_frames(
        self, raw: raw_files.RawVolleyball, incomplete: int, clips: int
    ) -> None:
        if incomplete and not self._allow_missing:
            raise UserError(
                f"{raw.videos}: {incomplete} of {clips} clips lack some of their {NUM_FRAMES} "
                "frames; fetch them, give --allow-missing to prepare the rest, or --boxes-only "
                "to prepare boxes and labels alone"
            )

    def _generate_examples(
        self,
        raw: raw_files.RawVolleyball,
        split: str,
        clips: list[tuple[int, ClipAnnotation]],
        skipped: int,
    ) -> Iterator[tuple[str, dict]]:
        counts = {"clips": 0, "skipped": skipped, "actors": 0, "untracked": 0}
        for video, annotation in clips:
            example = _example(raw, video, annotation)
            if self.builder_config.with_frames:
                example["frames"] = raw.frame_paths(video, annotation.clip)
                for path in example["frames"]:
                    raw_files.check_frame(path, raw.frame_size(video))
            counts["clips"] += 1
            counts["actors"] += int(example["actor_mask"].sum())
            counts["untracked"] += int((example["actor_mask"] & ~example["tracked"]).sum())
            yield f"{video}_{annotation.clip}", example
            if annotation is clips[-1][1] or clips[counts["clips"]][0] != video:
                self._report(f"{split}: {counts['clips']} of {len(clips)} clips (video {video})")
        self.info.metadata[split] = counts


def _example(raw: raw_files.RawVolleyball, video: int, annotation: ClipAnnotation) -> dict:
    """Returns a clip's boxes and labels, padded to the most actors a clip can have."""
    actors = len(annotation.actions)
    boxes, tracked = raw.boxes(video, annotation)
    padding = MAX_ACTORS - actors
    return {
        "boxes": np.pad(boxes, ((0, 0), (0, padding), (0, 0))),
        "actor_mask": np.arange(MAX_ACTORS) < actors,
        "tracked": np.pad(tracked, (0, padding)),
        "action": [ACTIONS.index(name) for name in annotation.actions] + [UNKNOWN] * padding,
        "activity": annotation.activity,
        "match": video,
        "clip": annotation.clip,
        "image_size": np.array(raw.frame_size(video), np.int64),
    }
