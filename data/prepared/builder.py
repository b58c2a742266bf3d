"""The TFDS builder that all data sets share: boxes, labels and JPEG frames of clips."""

import collections
import contextlib
import dataclasses
import functools
import importlib
import io
import logging
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data.annotations import NUM_FRAMES, ClipAnnotation
from data.appearance import Appearance, lacking
from data.prepared import seal, sources
from data.raw import RawClips, check_frame
from data.variants import Variant
from stvh_jax import files
from stvh_jax.errors import UserError
from stvh_jax.unknown import UNKNOWN


@dataclasses.dataclass
class ClipConfig(tfds.core.BuilderConfig):
    """A variant of a prepared set.

    Attributes:
      with_frames: whether clips carry their JPEG frames.
      with_appearance: whether clips carry features of whole frames.
      choices: the options that the raw folder is opened with, see the data set's
        `constants.OPTIONS`.
    """

    with_frames: bool = False
    with_appearance: bool = False
    choices: Mapping[str, str] = dataclasses.field(default_factory=dict)


def prepare(
    variant: Variant,
    raw: pathlib.Path,
    out: pathlib.Path,
    *,
    appearance: Appearance | None = None,
    allow_missing: bool,
    report: Callable[[str], None],
) -> None:
    """Prepares a set from raw files, unless it is prepared already, and reports what it holds.

    Args:
      variant: the data set, and how it is prepared.
      raw: the folder of the raw files.
      out: the folder of prepared sets.
      appearance: see `ClipBuilder`.
      allow_missing: see `ClipBuilder`.
      report: called with each line of the report.

    Raises:
      UserError: the raw files are missing, incomplete or malformed; the set is prepared already
        from other files; or it cannot be written.
      Locked: another process prepares this set.
      Damaged: there is a part of a set.
    """
    # TFDS warns on stderr of its own deprecated calls.
    logging.getLogger("absl").setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    module = importlib.import_module(f"data.{variant.dataset}.{variant.dataset}_dataset_builder")
    make = functools.partial(
        module.Builder,
        config=variant.name,
        appearance=appearance,
        allow_missing=allow_missing,
        report=report,
    )
    raw = raw.absolute()
    place = out / variant.dataset / variant.name / str(module.Builder.VERSION)
    if not place.exists():
        with files.writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            with files.lock(place.parent / "lock", busy=f"another process prepares {place}"):
                builder = prepare_at(place, make, raw)
        report(f"prepared {place}")
    else:
        cure = f"delete {place} to prepare the set again"
        seal.check(place, cure)
        with files.reading(place, "a whole prepared set", cure):
            if not (place / "dataset_info.json").is_file():
                raise ValueError("it has no dataset_info.json")
            builder = make(data_dir=out)
        opened = importlib.import_module(f"data.{variant.dataset}.raw").open_raw
        sources.refuse_other_sources(place, opened(raw, **variant.choices), appearance)
        report(f"{place} is already prepared; delete it to prepare it again")
    info: Any = builder.info  # TFDS's types leave out that every set has metadata
    for split, counts in info.metadata["splits"].items():
        share = counts["untracked"] / counts["actors"]
        report(
            f"{split}: {counts['clips']} clips, {counts['actors']} actors, {share:.1%} without a "
            f"track" + (f", {counts['skipped']} skipped" if counts["skipped"] else "")
        )


def prepare_at(place: pathlib.Path, make: Callable[..., Any], raw: pathlib.Path) -> Any:
    """Prepares a set beside its place, and moves it there once it is whole.

    Args:
      place: the folder that the set will be.
      make: makes the builder, given `data_dir`; what it is made from is in its `sources`.
      raw: the folder of the raw files.
    """
    # Whoever holds the lock is alone here: these are of processes that were killed.
    for left in place.parent.glob("incomplete*"):
        shutil.rmtree(left)
    staging = place.parent / "incomplete"
    try:
        builder = make(data_dir=staging)
        # TFDS announces a download that never happens.
        with contextlib.redirect_stdout(io.StringIO()), _storage_errors():
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(manual_dir=raw)
            )
        made = pathlib.Path(builder.data_path)
        sources.write(made, builder.sources)
        seal.write(made)
        made.rename(place)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return builder


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    """Turns what TensorFlow raises while it writes into an `OSError`."""
    # TensorFlow is loaded by TFDS, when it needs it.
    import tensorflow as tf

    try:
        yield
    except (tf.errors.OpError, RuntimeError) as error:
        # TFDS raises an error of its own because of TensorFlow's.
        cause: Any = error if isinstance(error, tf.errors.OpError) else error.__cause__
        if not isinstance(cause, tf.errors.OpError):
            raise
        raise OSError(files.reason(cause)) from error


def default_configs(dataset: str) -> list[ClipConfig]:
    """Makes the builder's configs that need the raw folder alone, every option at its default."""
    return [config_of(Variant.parse(dataset, content)) for content in ("frames", "boxes_only")]


def config_of(variant: Variant) -> ClipConfig:
    """Makes the builder's config of a variant."""
    return ClipConfig(
        name=variant.name,
        with_frames=variant.content == "frames",
        with_appearance=variant.content == "boxes_and_appearance",
        choices=variant.choices,
    )


class ClipBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Prepares a data set: T frames, up to N people with boxes over time, labels.

    In place of the frames there may be features of whole frames.

    Names, numbers and files are those of the data set's `raw.py`; its own builder only says where
    the files come from.

    Args:
      appearance: the features of whole frames of a variant that has them.
      allow_missing: skip clips that lack frames or features and matches that lack annotations, and
        accept an official set with other clips than the published ones; otherwise these are errors.
      report: called with a line of text as each match is done.
      **options: the arguments of every TFDS builder; `config` may be the name of any variant.
    """

    VERSION: tfds.core.Version = tfds.core.Version("3.0.0")
    RELEASE_NOTES = {
        "3.0.0": "Matches and clips have names in place of numbers; the number of the key frame is "
        "a field of its own.",
        "2.0.0": "The annotated boxes of the key frame, and its place among the frames; the first "
        "format of the Collective Activity sets.",
        "1.0.0": "The first format of Volleyball.",
    }
    HOMEPAGE: str
    builder_config: ClipConfig

    def __init__(
        self,
        *,
        config: str | ClipConfig | None = None,
        appearance: Appearance | None = None,
        allow_missing: bool = False,
        report: Callable[[str], None] = lambda line: None,
        **options,
    ):
        self._appearance = appearance
        self._allow_missing = allow_missing
        self._report = report
        # What the set is made from, see `sources`; whole once it is prepared.
        self.sources: dict[str, Any] = {}
        config = config or "frames"
        if isinstance(config, str) and config not in self.builder_configs:
            config = config_of(Variant.parse(self.name, config))
        if (isinstance(config, ClipConfig) and config.with_appearance) != (appearance is not None):
            raise UserError("--features goes with the variant boxes_and_appearance, and no other")
        if isinstance(config, ClipConfig) and appearance is not None:
            config.description = appearance.origin()
        super().__init__(config=config, **options)

    @property
    def _files(self):
        """The module that knows the data set's files."""
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
            "match": tfds.features.Text(),
            "clip": tfds.features.Text(),
            "frame": tfds.features.Scalar(dtype=np.int64),
            "image_size": tfds.features.Tensor(shape=(2,), dtype=np.int64),
        }
        if self.builder_config.with_frames:
            # An image given as a path is stored byte for byte, not encoded again.
            image = tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg")
            features["frames"] = tfds.features.Sequence(image, length=NUM_FRAMES)
        if self._appearance is not None:
            # TFDS stores float16 as float32 unless it stores the bytes.
            features["appearance"] = tfds.features.Tensor(
                shape=self._appearance.shape, dtype=np.float16, encoding="bytes"
            )
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            homepage=self.HOMEPAGE,
            metadata=tfds.core.MetadataDict(key_frame=form.key_frame, splits={}),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        raw = self._files.open_raw(dl_manager.manual_dir, **self.builder_config.choices)
        # Before anything is read: what changes meanwhile is then seen to have changed.
        self.sources = sources.label_sources(raw, self._appearance) | {"frames": {}}
        clips = {split: self._annotated_clips(raw, split) for split in raw.splits}
        if not self._allow_missing:
            _refuse_other_counts(raw, clips)
        if self._appearance is not None:
            self._report(self._appearance.description(_names(clips)))
        whole = {
            split: [(match, clip) for match, clip in found if self._is_whole(raw, match, clip)]
            for split, found in clips.items()
        }
        skipped = {split: len(clips[split]) - len(whole[split]) for split in clips}
        if not self._allow_missing:
            self._refuse_incomplete(raw, clips, sum(skipped.values()))
        clips = {split: found for split, found in whole.items() if found}
        if not clips:
            raise UserError(f"{raw.folder}: no clip to prepare")
        return {
            split: self._generate_examples(raw, split, found, skipped[split])
            for split, found in clips.items()
        }

    def _annotated_clips(self, raw: RawClips, split: str) -> list[tuple[str, ClipAnnotation]]:
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

    def _is_whole(self, raw: RawClips, match: str, clip: ClipAnnotation) -> bool:
        """Says whether there is all that a clip of this variant has."""
        if self._appearance is not None:
            return self._appearance.has(match, clip.clip)
        return not self.builder_config.with_frames or raw.has_frames(match, clip)

    def _refuse_incomplete(
        self,
        raw: RawClips,
        clips: Mapping[str, list[tuple[str, ClipAnnotation]]],
        incomplete: int,
    ) -> None:
        if self._appearance is not None:
            if absent := lacking(self._appearance, _names(clips)):
                raise UserError(
                    f"{absent}; compute these too, or give --allow-missing to prepare the rest"
                )
        elif incomplete:
            raise UserError(
                f"{raw.folder}: {incomplete} of {sum(map(len, clips.values()))} clips lack some of "
                f"their {NUM_FRAMES} frames; fetch them, give --allow-missing to prepare the rest, "
                "or --boxes-only to prepare boxes and labels alone"
            )

    def _generate_examples(
        self,
        raw: RawClips,
        split: str,
        clips: list[tuple[str, ClipAnnotation]],
        skipped: int,
    ) -> Iterator[tuple[str, dict]]:
        counts = {"clips": 0, "skipped": skipped, "actors": 0, "untracked": 0}
        for match, annotation in clips:
            example = _example(raw, match, annotation)
            if self.builder_config.with_frames:
                example["frames"] = raw.frame_paths(match, annotation)
                self._check_frames(raw, match, example["frames"])
            if self._appearance is not None:
                example["appearance"] = self._appearance.of(match, annotation.clip)
            counts["clips"] += 1
            counts["actors"] += int(example["actor_mask"].sum())
            counts["untracked"] += int((example["actor_mask"] & ~example["tracked"]).sum())
            yield key_of(match, annotation.clip), example
            if annotation is clips[-1][1] or clips[counts["clips"]][0] != match:
                done = f"{counts['clips']} of {len(clips)} clips"
                self._report(f"{split}: {done} ({raw.match_name} {match})")
        info: Any = self.info  # TFDS's types leave out that every set has metadata
        info.metadata["splits"][split] = counts

    def _check_frames(self, raw: RawClips, match: str, paths: list[pathlib.Path]) -> None:
        for path in paths:
            source = sources.Source.of(path, check_frame(path, raw.frame_size(match)))
            self.sources["frames"] |= sources.describe(raw, {path: source})


def _refuse_other_counts(
    raw: RawClips, clips: Mapping[str, list[tuple[str, ClipAnnotation]]]
) -> None:
    """Refuses an official set whose splits have other clips than the published ones."""
    for name, expected in raw.clip_counts.items():
        members = [annotation for split in name.split("+") for _, annotation in clips[split]]
        found = collections.Counter(annotation.activity for annotation in members)
        if found != expected:
            raise UserError(
                f"{raw.folder}: {name} has {found.total()} clips, expected "
                f"{sum(expected.values())}, or other counts per activity; python -m data check "
                "shows the differences, --allow-missing prepares what is there"
            )


def _names(clips: Mapping[str, list[tuple[str, ClipAnnotation]]]) -> list[tuple[str, str]]:
    """Lists the (match, clip) of the clips of all splits."""
    return [(match, clip.clip) for found in clips.values() for match, clip in found]


def key_of(match: str, clip: str) -> str:
    """Returns what TFDS orders the clips of a split by: another key is another order of training.

    Marking the underscores in names, with a character that no name has, keeps keys apart.
    """
    return "_".join(name.replace("_", "/_") for name in (match, clip))


def _example(raw: RawClips, match: str, annotation: ClipAnnotation) -> dict:
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
        "frame": annotation.frame,
        "image_size": np.array(raw.frame_size(match), np.int64),
    }
