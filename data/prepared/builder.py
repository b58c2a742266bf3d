"""What the TFDS builders of all datasets have in common: clips of boxes, labels and JPEG frames."""

import collections
import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow_datasets as tfds

from data.annotations import NUM_FRAMES, ClipAnnotation
from data.raw import RawClips, check_frame
from data.variants import CONTENTS, Variant
from stvh_jax.clips import UNKNOWN
from stvh_jax.errors import UserError


@dataclasses.dataclass
class ClipConfig(tfds.core.BuilderConfig):
    """A variant of a prepared set.

    Attributes:
      with_frames: whether clips carry their JPEG frames.
      choices: what the raw folder is opened with, see the dataset's `constants.OPTIONS`.
    """

    with_frames: bool = False
    choices: Mapping[str, str] = dataclasses.field(default_factory=dict)


def default_configs(dataset: str) -> list[ClipConfig]:
    """Makes the builder's configs of a dataset, every option at its default."""
    return [config_of(Variant.parse(dataset, content)) for content in CONTENTS]


def config_of(variant: Variant) -> ClipConfig:
    """Makes the builder's config of a variant."""
    return ClipConfig(
        name=variant.name, with_frames=variant.content == "frames", choices=variant.choices
    )


class ClipBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Prepares a dataset: T frames, up to N people with boxes over time, labels.

    Names, numbers and files are those of the dataset's `raw.py`; what is left to a dataset's own
    builder is to say where its files come from.

    Args:
      allow_missing: prepare what is there and skip the clips that lack frames and the matches that
        lack annotations, in place of refusing a folder that is incomplete, or an official set with
        other clips than the published ones.
      report: called with a line of text as each match is done.
      **options: what every TFDS builder takes; `config` may be the name of any variant.
    """

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES = {
        "2.0.0": "The annotated boxes of the key frame, and its place among the frames; the first "
        "format of the Collective Activity sets.",
        "1.0.0": "The first format of Volleyball.",
    }
    HOMEPAGE: str

    def __init__(
        self,
        *,
        config: str | ClipConfig | None = None,
        allow_missing: bool = False,
        report: Callable[[str], None] = lambda line: None,
        **options,
    ):
        self._allow_missing = allow_missing
        self._report = report
        config = config or CONTENTS[0]
        if isinstance(config, str) and config not in self.builder_configs:
            config = config_of(Variant.parse(self.name, config))
        super().__init__(config=config, **options)

    @property
    def _files(self):
        """The module that knows the dataset's files."""
        return importlib.import_module(f"data.{self.name}.raw")

    def _info(self) -> tfds.core.DatasetInfo:
        form = self._files.clip_format(**self.builder_config.choices)
        actors = form.max_actors
        features = {
            "boxes": tfds.features.Tensor(shape=(NUM_FRAMES, actors, 4), dtype=np.float32),
            "key_boxes": tfds.features.Tensor(shape=(actors, 4), dtype=np.float32),
            "actor_mask": tfds.features.Tensor(shape=(actors,), dtype=np.bool_),
            "tracked": tfds.features.Tensor(shape=(actors,), dtype=np.bool_),
            "action": tfds.features.Sequence(
                tfds.features.ClassLabel(names=form.actions), length=actors
            ),
            "activity": tfds.features.ClassLabel(names=form.activities),
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
            homepage=self.HOMEPAGE,
            metadata=tfds.core.MetadataDict(key_frame=form.key_frame, splits={}),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        raw = self._files.open_raw(dl_manager.manual_dir, **self.builder_config.choices)
        clips = {split: self._annotated_clips(raw, split) for split in raw.splits}
        if not self._allow_missing:
            _refuse_other_counts(raw, clips)
        skipped = dict.fromkeys(clips, 0)
        if self.builder_config.with_frames:
            whole = {
                split: [(match, clip) for match, clip in found if raw.has_frames(match, clip.clip)]
                for split, found in clips.items()
            }
            skipped = {split: len(clips[split]) - len(whole[split]) for split in clips}
            self._refuse_missing_frames(raw, sum(skipped.values()), sum(map(len, clips.values())))
            clips = whole
        clips = {split: found for split, found in clips.items() if found}
        if not clips:
            raise UserError(f"{raw.folder}: no clip to prepare")
        return {
            split: self._generate_examples(raw, split, found, skipped[split])
            for split, found in clips.items()
        }

    def _annotated_clips(self, raw: RawClips, split: str) -> list[tuple[int, ClipAnnotation]]:
        matches = raw.splits[split]
        missing = [match for match in matches if not raw.annotation_path(match).exists()]
        if missing and not self._allow_missing:
            raise UserError(
                f"{raw.folder}: {len(missing)} of the {len(matches)} {split} {raw.match_name}s "
                f"have no annotations.txt, first {raw.annotation_path(missing[0])}; fetch them, or "
                "give --allow-missing to prepare the rest"
            )
        clips = []
        for match in matches:
            if match not in missing:
                scan = raw.scan(match)
                if scan.problems:
                    raise scan.problems[0]
                clips += [(match, annotation) for annotation in scan.clips]
        return clips

    def _refuse_missing_frames(self, raw: RawClips, incomplete: int, clips: int) -> None:
        if incomplete and not self._allow_missing:
            raise UserError(
                f"{raw.folder}: {incomplete} of {clips} clips lack some of their {NUM_FRAMES} "
                "frames; fetch them, give --allow-missing to prepare the rest, or --boxes-only "
                "to prepare boxes and labels alone"
            )

    def _generate_examples(
        self,
        raw: RawClips,
        split: str,
        clips: list[tuple[int, ClipAnnotation]],
        skipped: int,
    ) -> Iterator[tuple[str, dict]]:
        counts = {"clips": 0, "skipped": skipped, "actors": 0, "untracked": 0}
        for match, annotation in clips:
            example = _example(raw, match, annotation)
            if self.builder_config.with_frames:
                example["frames"] = raw.frame_paths(match, annotation.clip)
                for path in example["frames"]:
                    check_frame(path, raw.frame_size(match))
            counts["clips"] += 1
            counts["actors"] += int(example["actor_mask"].sum())
            counts["untracked"] += int((example["actor_mask"] & ~example["tracked"]).sum())
            yield f"{match}_{annotation.clip}", example
            if annotation is clips[-1][1] or clips[counts["clips"]][0] != match:
                done = f"{counts['clips']} of {len(clips)} clips"
                self._report(f"{split}: {done} ({raw.match_name} {match})")
        self.info.metadata["splits"][split] = counts


def _refuse_other_counts(
    raw: RawClips, clips: Mapping[str, list[tuple[int, ClipAnnotation]]]
) -> None:
    """Refuses an official set whose splits have other clips than the published ones."""
    for name, expected in raw.clip_counts.items():
        members = [annotation for split in name.split("+") for _, annotation in clips[split]]
        found = collections.Counter(annotation.activity for annotation in members)
        if found != expected:
            raise UserError(
                f"{raw.folder}: {name} has {found.total()} clips, expected "
                f"{sum(expected.values())}, or other activities; python -m data check tells what "
                "differs, --allow-missing prepares what is there"
            )


def _example(raw: RawClips, match: int, annotation: ClipAnnotation) -> dict:
    """Returns a clip's boxes and labels, padded to the most actors a clip can have."""
    form, actors = raw.form, len(annotation.actions)
    boxes, key_boxes, tracked = raw.boxes(match, annotation)
    padding = form.max_actors - actors
    return {
        "boxes": np.pad(boxes, ((0, 0), (0, padding), (0, 0))),
        "key_boxes": np.pad(key_boxes, ((0, padding), (0, 0))),
        "actor_mask": np.arange(form.max_actors) < actors,
        "tracked": np.pad(tracked, (0, padding)),
        "action": [form.actions.index(name) for name in annotation.actions] + [UNKNOWN] * padding,
        "activity": annotation.activity,
        "match": match,
        "clip": annotation.clip,
        "image_size": np.array(raw.frame_size(match), np.int64),
    }
