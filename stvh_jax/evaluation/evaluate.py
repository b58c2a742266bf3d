"""Judges a trained model on a data set: classification, retrieval at every focus, codes."""

import importlib.metadata
import json
import math
import os
import time
from collections.abc import Mapping

import jax
import numpy as np
from etils import epath

from stvh_jax import files
from stvh_jax.clips import UNKNOWN
from stvh_jax.codes.packing import code_lengths, hamming_distances
from stvh_jax.evaluation import derived_codes, report
from stvh_jax.evaluation.judging import classification, derived_retrieval, retrieval
from stvh_jax.evaluation.metrics import class_distances
from stvh_jax.inference.encoded_clips import EncodedClips, check_same_classes, encode_split, join
from stvh_jax.inference.encoder import Encoder
from stvh_jax.inference.run_filter import load_or_fit
from stvh_jax.reporting import pages
from stvh_jax.runs.history import read_history


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
          dataset: an opened `data.prepared.pipeline.ClipDataset`.
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
            "filter_matrix": derived_codes.describe(matrix),
            "derived": derived_retrieval(
                matrix,
                self.queries,
                base,
                self.everything,
                exclude_within_frames=data["exclude_within_frames"],
            ),
            "storage": derived_codes.storage(matrix, clips=len(base)),
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
            return pages.load_plots().Picture(images[clip], name, clip[0], distance)

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
        with files.writing(self.run):
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
