"""Judges a trained model on a data set: classification, retrieval at every focus, codes."""

import dataclasses
import functools
import importlib.metadata
import json
import math
import os
import time
from collections.abc import Iterable, Mapping

import jax
import numpy as np
from etils import epath
from jaxtyping import Float, Int, UInt8

from stvh_jax import filter_evaluation, progress, report
from stvh_jax.clips import UNKNOWN, Clips
from stvh_jax.codes import binarize, code_lengths, hamming_distances, pack
from stvh_jax.encoder import Encoder
from stvh_jax.errors import UserError
from stvh_jax.filter_matrix import FilterMatrix, load_or_fit
from stvh_jax.history import read_history
from stvh_jax.metrics import (
    class_distances,
    classification_metrics,
    code_health,
    retrieval_metrics,
)


@dataclasses.dataclass(frozen=True)
class EncodedClips:
    """M encoded clips with their labels, as NumPy arrays.

    Attributes:
      codes: packed codes by focus.
      activity_scores: activity logits of the last focus.
      activity_scores_from_code: the same head reading the binary code in place of h.
      action_scores: action logits of each actor; None of a model without actors.
      activity: labels, `UNKNOWN` if none.
      action: labels of each actor, `UNKNOWN` in padded slots.
      ids: (match, clip) of each clip.
    """

    codes: dict[int, UInt8[np.ndarray, "M bytes"]]
    activity_scores: Float[np.ndarray, "M G"]
    activity_scores_from_code: Float[np.ndarray, "M G"]
    action_scores: Float[np.ndarray, "M N A"] | None
    activity: Int[np.ndarray, "M"]
    action: Int[np.ndarray, "M N"]
    ids: Int[np.ndarray, "M 2"]

    def __len__(self) -> int:
        """Counts the clips."""
        return len(self.ids)

    @classmethod
    def concatenate(cls, parts: list["EncodedClips"]) -> "EncodedClips":
        """Joins encoded clips of one model."""
        joined = {}
        for field in dataclasses.fields(cls):
            values = [getattr(part, field.name) for part in parts]
            if field.name != "codes":
                joined[field.name] = None if values[0] is None else np.concatenate(values)
        codes = {
            focus: np.concatenate([part.codes[focus] for part in parts]) for focus in parts[0].codes
        }
        return cls(codes=codes, **joined)


def encode_clips(encoder: Encoder, batches: Iterable[Clips], *, progress=None) -> EncodedClips:
    """Encodes every clip of some evaluation batches; padding clips are left out.

    Args:
      encoder: a trained model.
      batches: NumPy clips.
      progress: called with the number of clips done after each batch.
    """
    head = jax.device_get(encoder.activity_head)
    parts, done = [], 0
    for clips in batches:
        outputs = jax.device_get(encoder.apply(encoder.variables, clips))
        valid = np.asarray(clips.clip_mask)
        relaxed, actions = outputs.relaxed[:, valid], outputs.action_logits
        parts.append(
            EncodedClips(
                codes={focus: pack(binarize(h)) for focus, h in zip(encoder.foci, relaxed)},
                activity_scores=outputs.activity_logits[-1][valid],
                activity_scores_from_code=binarize(relaxed[-1]) @ head["kernel"] + head["bias"],
                action_scores=None if actions is None else actions[valid],
                activity=np.asarray(clips.activity)[valid],
                action=np.asarray(clips.action)[valid],
                ids=np.stack([clips.match, clips.clip], axis=1)[valid],
            )
        )
        done += int(valid.sum())
        if progress:
            progress(done)
    return EncodedClips.concatenate(parts)


def encode_split(encoder: Encoder, dataset, split: str) -> EncodedClips:
    """Encodes the clips of a split, or several as in "train+test", of an opened `ClipDataset`."""
    batches = dataset.evaluation_batches(
        split, batch_size=encoder.config.train.evaluation_batch_size
    )
    show = functools.partial(progress.show, f"encoding {split}", dataset.num_clips(split))
    return encode_clips(encoder, batches, progress=show)


def join(parts: Mapping[str, EncodedClips], split: str) -> EncodedClips:
    """Joins the parts that a split is named by: `train+validation` are two."""
    return EncodedClips.concatenate([parts[part] for part in split.split("+")])


def classification(queries: EncodedClips, *, num_activities: int, num_actions: int) -> dict:
    """Judges the classes of the queries' activities and actions; keys as `evaluate.py` writes."""
    activity = classification_metrics(
        queries.activity_scores.argmax(axis=1), queries.activity, num_activities
    )
    from_code = classification_metrics(
        queries.activity_scores_from_code.argmax(axis=1), queries.activity, num_activities
    )
    action = {"accuracy": None, "mean_per_class_accuracy": None}
    if queries.action_scores is not None:
        action = classification_metrics(
            queries.action_scores.argmax(axis=2), queries.action, num_actions
        )
    return {
        "activity_accuracy": activity["accuracy"],
        "activity_mpca": activity["mean_per_class_accuracy"],
        "activity_accuracy_from_code": from_code["accuracy"],
        "action_accuracy": action["accuracy"],
        "action_mpca": action["mean_per_class_accuracy"],
        "confusion_matrix": activity["confusion_matrix"].tolist(),
    }


def retrieval(
    queries: EncodedClips,
    base: EncodedClips,
    everything: EncodedClips,
    *,
    exclude_within_frames: int | None = None,
) -> dict[str, dict]:
    """Judges the codes of every focus.

    Activity: `queries` against `base`, relevant is the same activity. Match: each clip of
    `everything` against all others, relevant is the same match (paper 6.4). A query never finds
    itself, nor, for the match, clips within `exclude_within_frames` of it.
    """
    foci = {}
    for focus in queries.codes:
        activity = retrieval_metrics(
            queries.codes[focus],
            base.codes[focus],
            queries.activity,
            base.activity,
            query_ids=queries.ids,
            base_ids=base.ids,
        )
        match = retrieval_metrics(
            everything.codes[focus],
            everything.codes[focus],
            everything.ids[:, 0],
            everything.ids[:, 0],
            query_ids=everything.ids,
            base_ids=everything.ids,
            exclude_within_frames=exclude_within_frames,
        )
        foci[str(focus)] = {
            **{f"activity_{name}": value for name, value in activity.items()},
            **{f"match_{name}": value for name, value in match.items()},
            **code_health(everything.codes[focus]),
        }
    return foci


def derived_retrieval(
    matrix: FilterMatrix,
    queries: EncodedClips,
    base: EncodedClips,
    everything: EncodedClips,
    *,
    exclude_within_frames: int | None = None,
) -> dict[str, dict]:
    """Judges the codes that F derives, of queries and base, as `retrieval` does the own codes.

    Beside its measures: `bit_agreement_base` and `bit_agreement_query`, the shares of bits in which
    they are the own codes of the same focus.
    """
    own = (queries, base, everything)
    derived = [
        dataclasses.replace(clips, codes=filter_evaluation.derive_all(matrix, clips.codes))
        for clips in own
    ]
    judged = retrieval(*derived, exclude_within_frames=exclude_within_frames)
    for name, mine, theirs in zip(("query", "base"), own, derived):
        for focus, codes in theirs.codes.items():
            agreement = filter_evaluation.bit_agreement(mine.codes[focus], codes)
            judged[str(focus)][f"bit_agreement_{name}"] = agreement
    return judged


def example_queries(queries: EncodedClips, *, count: int) -> list[int]:
    """Picks the first query of each activity in turn, so that no example is chosen by its hits."""
    labelled = [kind for kind in np.unique(queries.activity) if kind != UNKNOWN]
    firsts = [int(np.flatnonzero(queries.activity == kind)[0]) for kind in labelled]
    return firsts[:count]


def nearest(
    query: EncodedClips, index: int, base: EncodedClips, *, focus: int, k: int
) -> list[tuple[int, int]]:
    """Finds the k clips of `base` nearest to one query, itself left out.

    Returns:
      (index in base, Hamming distance), nearest first, equal distances in the order of (match,
      clip).
    """
    distances = hamming_distances(query.codes[focus][index : index + 1], base.codes[focus])[0]
    itself = (base.ids == query.ids[index]).all(axis=1)
    order = np.lexsort((base.ids[:, 1], base.ids[:, 0], distances))
    return [(int(hit), int(distances[hit])) for hit in order if not itself[hit]][:k]


def without_nan(value):
    """Replaces NaN by None throughout, for JSON knows none."""
    if isinstance(value, dict):
        return {name: without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def check_same_classes(encoder: Encoder, dataset) -> None:
    """Checks that a data set has the classes that a model knows.

    Raises:
      UserError: it has others.
    """
    for kind in ("activity_names", "action_names"):
        known, found = (tuple(getattr(source, kind)) for source in (encoder, dataset))
        if known != found:
            raise UserError(
                f"the model's {kind} are {', '.join(known)}, those of the data set "
                f"{', '.join(found)}; evaluate it on the variant that it was trained on"
            )


class Evaluation:
    """The evaluation of one trained model on one data set, and what it leaves behind."""

    def __init__(
        self,
        encoder: Encoder,
        dataset,
        *,
        run: epath.Path,
        query_split: str | None = None,
        base_split: str | None = None,
        exclude_within_frames: int | None = None,
        filter_options: Mapping | None = None,
    ):
        """Encodes every clip and judges the codes.

        Args:
          encoder: the model.
          dataset: an opened `data.pipeline.ClipDataset`.
          run: the folder of the run, in which the filter matrix is kept.
          query_split: the queries; `config.data.test_split` if None.
          base_split: the clips searched; `config.data.train_split` if None.
          exclude_within_frames: see `retrieval`.
          filter_options: `values`, `per_step` and `normalise` of `filter_matrix.fit`, where other
            than its defaults; values="none" fits no filter matrix.

        Raises:
          UserError: a split has no clip, or the data set has other classes than the model.
        """
        started = time.monotonic()
        config = encoder.config
        check_same_classes(encoder, dataset)
        query_split = query_split or config.data.test_split
        base_split = base_split or config.data.train_split
        self.encoder, self.dataset, self.run = encoder, dataset, run
        for split in (query_split, base_split):
            dataset.num_clips(split)
        parts = {split: encode_split(encoder, dataset, split) for split in dataset.splits}
        self.queries, base = join(parts, query_split), join(parts, base_split)
        self.everything = EncodedClips.concatenate(list(parts.values()))
        self._split_of = [split for split, part in parts.items() for _ in range(len(part))]
        self.results = without_nan(
            {
                "run": run.name,
                "model": config.model.name,
                "bits": encoder.bits,
                "nested_bits": list(code_lengths(config.model.bits)),
                "layers": config.model.layers,
                "checkpoint": {"step": encoder.step, "kind": encoder.checkpoint},
                "data": {
                    "name": config.data.name,
                    "variant": config.data.variant,
                    "still_boxes": config.data.get("still_boxes", False),
                    "base_split": base_split,
                    "query_split": query_split,
                    "base_clips": len(base),
                    "query_clips": len(self.queries),
                    "match_retrieval_clips": len(self.everything),
                    "exclude_within_frames": exclude_within_frames,
                    "untracked_share": dataset.untracked_share(query_split),
                },
                "seed": config.seed,
                "hardware": hardware(),
                "activity_names": list(encoder.activity_names),
                "action_names": list(encoder.action_names),
                **classification(
                    self.queries,
                    num_activities=len(encoder.activity_names),
                    num_actions=len(encoder.action_names),
                ),
                "class_distances": class_distances(
                    self.queries.codes[encoder.foci[-1]],
                    self.queries.activity,
                    len(encoder.activity_names),
                ).tolist(),
                "foci": retrieval(
                    self.queries,
                    base,
                    self.everything,
                    exclude_within_frames=exclude_within_frames,
                ),
            }
        )
        self.results |= without_nan(self._filter_results(base, filter_options or {}))
        self.seconds = time.monotonic() - started

    def _filter_results(self, base: EncodedClips, options: Mapping) -> dict:
        """Judges what F derives, where there is anything to derive: STVH has one focus."""
        if len(self.encoder.foci) == 1 or options.get("values") == "none":
            return {}
        data, config = self.results["data"], self.encoder.config
        matrix = load_or_fit(
            self.run,
            lambda: base.codes,
            checkpoint=self.encoder.name,
            base_split=data["base_split"],
            seed=config.seed,
            **options,
        )
        return {
            "filter_matrix": filter_evaluation.describe(matrix),
            "derived": derived_retrieval(
                matrix,
                self.queries,
                base,
                self.everything,
                exclude_within_frames=data["exclude_within_frames"],
            ),
            "storage": filter_evaluation.storage(matrix, clips=len(base)),
        }

    def table(self) -> str:
        """Formats the results for the console."""
        return report.metrics_table(self.results)

    def hits(self, focus: int, *, queries: int = 4, k: int = 5) -> list[list]:
        """Shows some queries with their nearest clips of all splits, as pictures of key frames."""
        found = [
            (index, nearest(self.queries, index, self.everything, focus=focus, k=k))
            for index in example_queries(self.queries, count=queries)
        ]
        wanted: dict[str, set] = {}
        for index, hits in found:
            places = [self._place(index)] + [hit for hit, _ in hits]
            for place in places:
                wanted.setdefault(self._split_of[place], set()).add(self._id(place))
        images = {}
        for split, clips in wanted.items():
            images.update(self.dataset.key_frame_images(split, clips))

        def picture(place, distance):
            clip = self._id(place)
            number = self.everything.activity[place]
            name = "unknown" if number == UNKNOWN else self.encoder.activity_names[number]
            return report.load_plots().Picture(images[clip], name, clip[0], distance)

        return [
            [picture(self._place(index), None), *(picture(hit, away) for hit, away in hits)]
            for index, hits in found
        ]

    def _place(self, query: int) -> int:
        """Finds a query among all clips."""
        return int(np.flatnonzero((self.everything.ids == self.queries.ids[query]).all(axis=1))[0])

    def _id(self, place: int) -> tuple[int, int]:
        match, clip = self.everything.ids[place].tolist()
        return match, clip

    def write(self) -> list[epath.Path]:
        """Writes the results as JSON, the plots and the page into the run; returns their paths.

        Raises:
          UserError: the run's folder cannot be written.
        """
        name = f"evaluation-{self.results['data']['query_split'].replace('+', '-')}"
        if self.encoder.bits != self.encoder.model.bits:
            name += f"-{self.encoder.bits}_bits"
        written = [self.run / f"{name}.json", self.run / name, self.run / f"{name}.html"]
        hits = {}
        if self.dataset.has_frames:
            ends = {self.encoder.foci[0], self.encoder.foci[-1]}
            hits = {focus: self.hits(focus) for focus in sorted(ends)}
        history = curves(read_history(self.run))
        try:
            written[0].write_text(json.dumps(self.results, indent=2, allow_nan=False) + "\n")
            report.write_evaluation(
                written[2],
                self.results,
                history=history,
                hits=hits,
                config=self.encoder.config.to_dict(),
                facts={"evaluation": f"{self.seconds:.0f} s", "versions": versions()},
            )
        except OSError as error:
            raise UserError(f"cannot write to {self.run} ({error.strerror or error})") from error
        return written


def curves(history: list[dict]) -> dict[str, list[tuple[int, float]]]:
    """Turns a run's history into curves by name: all that training and validation measured."""
    lines: dict[str, list] = {}
    for entry in history:
        for name, value in entry.items():
            if name.startswith(("train/", "validation/")):
                lines.setdefault(name, []).append((entry["step"], value))
    return lines


def hardware() -> str:
    """Says what this runs on."""
    device = jax.devices()[0]
    return f"{len(jax.devices())} x {device.device_kind}, {os.cpu_count()} CPU cores"


def versions() -> str:
    """Says which versions of the libraries this runs with."""
    names = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
