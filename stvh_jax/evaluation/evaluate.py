"""Judges a trained model on a data set: classification, retrieval at every focus, derived codes."""

import dataclasses
import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from stvh_jax import files
from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.codes.packing import code_lengths
from stvh_jax.evaluation import derived_codes, judging, report
from stvh_jax.evaluation.by_query import by_query
from stvh_jax.evaluation.environment import hardware, versions
from stvh_jax.evaluation.examples import picture_hits
from stvh_jax.evaluation.metrics import class_distances
from stvh_jax.fields import check_folder_name
from stvh_jax.inference.encoded_clips import (
    EncodedClips,
    at_every_focus,
    check_same_classes,
    encode_split,
    join,
)
from stvh_jax.inference.encoder import Encoder
from stvh_jax.inference.run_filter import load_or_fit
from stvh_jax.runs.history import read_history
from stvh_jax.unknown import UNKNOWN


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """The evaluation of one trained model on one data set.

    Attributes:
      results: everything that was measured, as plain values for JSON, without NaN.
      seconds: how long it took.
      run: the folder of the run, which `write` writes to.
      encoder: the model.
      dataset: the opened data set.
      queries: the encoded queries.
      base: the encoded clips that they search.
      everything: the encoded clips of all splits.
      splits: the split of each clip of `everything`.
    """

    results: dict[str, Any]
    seconds: float
    run: epath.Path
    encoder: Encoder
    dataset: Any
    queries: EncodedClips
    base: EncodedClips
    everything: EncodedClips
    splits: Sequence[str]

    def table(self) -> str:
        """Formats the results for the console."""
        return report.metrics_table(self.results)

    def hits(self, focus: int, *, queries: int = 4, k: int = 5) -> list[list]:
        """Shows some queries with their nearest clips of all splits, see `picture_hits`."""
        return picture_hits(
            self.dataset,
            self.queries,
            self.everything,
            self.splits,
            focus=focus,
            count=queries,
            k=k,
        )

    def write(self, *, each_query: bool = False) -> list[epath.Path]:
        """Writes the results as JSON, the figures and the page into the run; returns their paths.

        Args:
          each_query: also writes what `by_query` gives for the last focus, as NPZ.

        Raises:
          UserError: the run's folder cannot be written, or Matplotlib is not installed.
        """
        data = self.results["data"]
        name = f"evaluation-{data['query_split'].replace('+', '-')}"
        if data["variant"] != self.encoder.config.data.variant:
            name += f"-{data['variant']}"
        if not self.encoder.is_whole:
            name += f"-{self.encoder.bits}_bits"
        written = [self.run / f"{name}.json", self.run / name, self.run / f"{name}.html"]
        hits = {}
        if self.dataset.has_frames:
            ends = {min(self.queries.codes), max(self.queries.codes)}
            hits = {focus: self.hits(focus) for focus in sorted(ends)}
        history = report.curves(read_history(self.run))
        with files.writing(self.run):
            if each_query:
                written.append(self.run / f"{name}-queries.npz")
                values = by_query(self.queries, self.base, focus=self.encoder.foci[-1])
                content = io.BytesIO()
                np.savez_compressed(content, allow_pickle=False, **values)
                files.write(written[-1], content.getvalue())
            files.write(written[0], json.dumps(self.results, indent=2, allow_nan=False) + "\n")
            report.write_evaluation(
                written[2],
                self.results,
                history=history,
                hits=hits,
                config=self.encoder.config.to_dict(),
                facts={"evaluation": f"{self.seconds:.0f} s", "versions": versions()},
            )
        return written


def evaluate(
    encoder: Encoder,
    dataset,
    *,
    run: epath.Path,
    query_split: str | None = None,
    base_split: str | None = None,
    variant: str | None = None,
    exclude_within_frames: int | None = None,
    filter_options: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Encodes every clip of a data set and judges the codes.

    The filter matrix of the model is read from the run, or fitted and saved there.

    Args:
      encoder: the model.
      dataset: an opened data set, for example a `data.prepared.pipeline.ClipDataset`.
      run: the folder of the run.
      query_split: the split, or several as in "validation+test", whose clips are the queries;
        `config.data.test_split` if None.
      base_split: the same for the clips searched; `config.data.train_split` if None.
      variant: the data set's prepared variant; `config.data.variant` if None. The results of
        another one are written under its name.
      exclude_within_frames: see `judging.rank`.
      filter_options: the `values`, `per_step` and `normalise` of `filter_fitting.fit` that differ
        from its defaults; with values="none" there is no filter matrix.

    Raises:
      UserError: a split has no clip, the data set has other classes than the model, or the variant
        is no name.
    """
    started = time.monotonic()
    check_same_classes(encoder, dataset)
    if variant not in (None, encoder.config.data.variant):  # a part of the names of files
        check_folder_name("the variant", variant)
    query_split = str(query_split or encoder.config.data.test_split)
    base_split = str(base_split or encoder.config.data.train_split)
    for split in (query_split, base_split):
        dataset.num_clips(split)  # refuses a split without clips before any is encoded
    parts = _encode(encoder, dataset)
    queries, base = join(parts, query_split), join(parts, base_split)
    everything = EncodedClips.concatenate(list(parts.values()))
    excluded = {"exclude_within_frames": exclude_within_frames}
    results = {
        "run": run.name,
        **_describe_model(encoder),
        "data": {
            **_describe_data(encoder.config.data, dataset, variant, query_split, base_split),
            **_count_clips(queries, base, everything),
            **excluded,
        },
        "seed": encoder.config.seed,
        "hardware": hardware(),
        **_judge_classes(encoder, dataset, queries),
        **_judge_codes(dataset, queries, base, everything, **excluded),
    }
    matrix = _filter_matrix(encoder, run, base, results["data"], filter_options or {})
    if matrix is not None:
        results |= _judge_filter(matrix, queries, base, everything, **excluded)
    splits = [split for split, part in parts.items() for _ in range(len(part))]
    results, seconds = without_nan(results), time.monotonic() - started
    return Evaluation(results, seconds, run, encoder, dataset, queries, base, everything, splits)


def _encode(encoder: Encoder, dataset) -> dict[str, EncodedClips]:
    """Encodes every split, with codes for every focus."""
    return {
        split: at_every_focus(encoder, encode_split(encoder, dataset, split))
        for split in dataset.splits
    }


def without_nan(value: Any) -> Any:
    """Replaces NaN by None in nested dicts and lists, because JSON has no NaN."""
    if isinstance(value, dict):
        return {name: without_nan(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _describe_model(encoder: Encoder) -> dict[str, Any]:
    model = encoder.config.model
    return {
        "model": model.name,
        "objective": encoder.config.get("objective", "supervised"),
        "bits": encoder.bits,
        "nested_bits": list(code_lengths(model.bits)),
        "visual_bits": model.visual_bits if encoder.bit_weights else None,
        "layers": model.layers,
        "checkpoint": {"step": encoder.step, "kind": encoder.checkpoint},
    }


def _describe_data(
    data, dataset, variant: str | None, query_split: str, base_split: str
) -> dict[str, Any]:
    return {
        "name": data.name,
        "variant": variant or data.variant,
        "labels": getattr(dataset, "labels", None),
        "still_boxes": data.get("still_boxes", False),
        "base_split": base_split,
        "query_split": query_split,
        "untracked_share": dataset.untracked_share(query_split),
    }


def _count_clips(
    queries: EncodedClips, base: EncodedClips, everything: EncodedClips
) -> dict[str, int]:
    return {
        "base_clips": len(base),
        "query_clips": len(queries),
        "match_retrieval_clips": len(everything),
    }


def _judge_classes(encoder: Encoder, dataset, queries: EncodedClips) -> dict[str, Any]:
    activities, actions = len(dataset.activity_names), len(dataset.action_names)
    distances = None
    if (queries.activity != UNKNOWN).any():
        codes = queries.codes[encoder.foci[-1]]
        distances = class_distances(codes, queries.activity, activities).tolist()
    return {
        "activity_names": list(dataset.activity_names),
        "action_names": list(dataset.action_names),
        **judging.classification(queries, num_activities=activities, num_actions=actions),
        "class_distances": distances,
    }


def _judge_codes(dataset, queries, base, everything, **excluded) -> dict[str, Any]:
    rankings = judging.rank(queries, base, everything, **excluded)
    judged = any(len(found.activity.labels) for found in rankings.values())
    activities = len(dataset.activity_names)
    return {
        "foci": judging.measures(rankings),
        "curves": judging.curves(rankings),
        "map_by_activity": judging.map_by_activity(rankings, activities) if judged else None,
    }


def _filter_matrix(
    encoder: Encoder,
    run: epath.Path,
    base: EncodedClips,
    data: Mapping[str, Any],
    options: Mapping[str, Any],
) -> FilterMatrix | None:
    """Loads or fits F; None if it is not asked for, or the model has one focus as STVH has."""
    if len(encoder.foci) == 1 or options.get("values") == "none":
        return None
    own_variant = data["variant"] == encoder.config.data.variant
    base_split = data["base_split"]
    return load_or_fit(
        run,
        lambda: base.codes,
        checkpoint=encoder.name,
        base_split=base_split if own_variant else f"{base_split}-{data['variant']}",
        seed=encoder.config.seed,
        **options,
    )


def _judge_filter(matrix: FilterMatrix, queries, base, everything, **excluded) -> dict[str, Any]:
    return {
        "filter_matrix": derived_codes.describe(matrix),
        "derived": judging.derived_retrieval(matrix, queries, base, everything, **excluded),
        "storage": derived_codes.storage(matrix, clips=len(base)),
    }
