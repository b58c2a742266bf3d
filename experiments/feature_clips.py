"""The clips of a run as features, real ones or bits, judged without the classifiers of the run."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.study import Variant, mean_and_spread
from stvh_jax.codes.packing import binarize
from stvh_jax.evaluation import few_labels, read_outs
from stvh_jax.evaluation.feature_rankings import found_first, rank_by_similarity, sorted_boxes
from stvh_jax.evaluation.judging import number_clips
from stvh_jax.inference.encoded_clips import EncodedClips, encode_split, join

# What follows the colon of a config that trains without labels.
LABEL_FREE = "label_free"
BITS = (16, 32, 64, 128)
# The changes that make codes of all these lengths in one training.
NESTED: Mapping[str, Any] = {
    "model.name": "stvh",
    "model.objective": "printed",
    "model.bits": BITS,
}
REAL = "real features"
# More numbers of the appearance would take minutes to read out, and tell no more.
_DIRECTIONS = 256
# What `Searching.judge` measures, by the names of columns.
COLUMNS = {
    "hit@1": "Hit@1",
    "hit@5": "Hit@5",
    "hit@10": "Hit@10",
    "hit@20": "Hit@20",
    "precision@10": "P@10",
    "map@10": "mAP@10",
    "linear": "linear read-out",
}

# Features of the test clips and of the base clips, `[., D]`.
Features = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Searching:
    """Which clips search which, and what is right.

    Attributes:
      query_activity: of the test clips.
      base_activity: of the clips that they search.
      base_match: the matches of these.
      itself: `[Q, M]`, which of these is the query itself.
    """

    query_activity: np.ndarray
    base_activity: np.ndarray
    base_match: np.ndarray
    itself: np.ndarray

    @classmethod
    def of(cls, queries: EncodedClips, base: EncodedClips) -> "Searching":
        """Takes the labels of encoded clips."""
        own, others = (ids[:, :2] for ids in number_clips(queries, base))
        itself = (own[:, None] == others).all(axis=2)
        return cls(queries.activity, base.activity, base.match, itself)

    def judge(
        self, features: Features, similarity: Callable = read_outs.cosine
    ) -> dict[str, float]:
        """Judges retrieval by features, and what is read of them by all labels; see `COLUMNS`."""
        ranked = rank_by_similarity(
            similarity(*features), self.query_activity, self.base_activity, left_out=self.itself
        )
        linear = few_labels.linear_accuracy(
            *features, self.query_activity, self.base_activity, groups=self.base_match
        )
        return {**found_first(ranked.groups), "linear": linear}

    def label_curve(self, features: Features) -> dict:
        """Reads the activities by few labels, see `few_labels.label_curve`."""
        return few_labels.label_curve(
            *features, self.query_activity, self.base_activity, groups=self.base_match
        )


def label_free(label: str, changes: Mapping[str, Any]) -> Variant:
    """Makes a row that is trained without labels."""
    return Variant(label, changes, options=LABEL_FREE)


def of_run(encoder, dataset, lengths: Sequence[int]) -> tuple[Searching, dict[str, Features]]:
    """Encodes the test clips of a run and those that they search.

    Args:
      encoder: a model.
      dataset: its data.
      lengths: how many first bits are judged, of nested codes several.

    Returns:
      Who searches what, and features by name: h at the last focus less its mean over the base, as
      training compares codes, and its bits; both without bits that weigh nothing there (the others
      weigh the same).
    """
    data, last = encoder.config.data, encoder.foci[-1]
    splits = f"{data.test_split}+{data.train_split}".split("+")
    parts = {part: encode_split(encoder, dataset, part, keep_relaxed=True) for part in splits}
    queries, base = join(parts, data.test_split), join(parts, data.train_split)
    weighs = np.ones(encoder.bits, bool)
    if encoder.bit_weights is not None:
        weighs = encoder.bit_weights.weights[-1] > 0
    relaxed = [clips.relaxed[last].astype(np.float64) for clips in (queries, base)]
    mean = relaxed[1].mean(axis=0)
    features = {REAL: tuple((h - mean)[:, weighs] for h in relaxed)}
    for bits in lengths:
        features[f"{bits} bits"] = tuple(binarize(h[:, :bits])[:, weighs[:bits]] for h in relaxed)
    return Searching.of(queries, base), features


def of_boxes(encoder, dataset) -> Features:
    """Describes the clips of `of_run` by their boxes alone, see `sorted_boxes`."""
    key_frame = encoder.config.model.key_frame

    def describe(clips) -> np.ndarray:
        boxes, mask = np.asarray(clips.boxes), np.asarray(clips.actor_mask)
        return sorted_boxes(boxes, mask, key_frame=key_frame)

    queries, base = _described(encoder, dataset, describe)
    return queries[0], base[0]


def of_appearance(encoder, dataset) -> Features:
    """Gives the appearance of the clips of `of_run`, the mean over time less that of the match.

    Of it, the `_DIRECTIONS` in which clips of the base differ most.
    """

    def describe(clips) -> np.ndarray:
        return np.asarray(clips.appearance, np.float64).mean(axis=1)

    queries, base = _described(encoder, dataset, describe)
    test, base = _less_mean_of_group(*queries), _less_mean_of_group(*base)
    _, directions = np.linalg.eigh(base.T @ base)
    chosen = directions[:, -_DIRECTIONS:]
    return test @ chosen, base @ chosen


def _less_mean_of_group(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    names, places = np.unique(groups, return_inverse=True)
    means = np.stack([values[places == place].mean(axis=0) for place in range(len(names))])
    return values - means[places]


def _described(encoder, dataset, describe: Callable) -> list[tuple[np.ndarray, np.ndarray]]:
    """Describes the test clips and those that they search, each with the names of their matches."""
    data = encoder.config.data
    size, found = encoder.config.train.evaluation_batch_size, []
    for split in (data.test_split, data.train_split):
        parts = [
            (describe(clips)[np.asarray(clips.clip_mask)], clips.match[np.asarray(clips.clip_mask)])
            for part in split.split("+")
            for clips in dataset.evaluation_batches(part, batch_size=size, frames=False)
        ]
        found.append(tuple(map(np.concatenate, zip(*parts))))
    return found


def beside(one: Features, other: Features) -> Features:
    """Puts two kinds of features beside each other, each as unit vectors: cosines are added."""

    def join(*both: np.ndarray) -> np.ndarray:
        lengths = [np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9) for x in both]
        return np.concatenate([x / length for x, length in zip(both, lengths)], axis=1)

    return join(one[0], other[0]), join(one[1], other[1])


def cells(of_seeds: Sequence[Mapping[str, float]]) -> list[str]:
    """Formats what `Searching.judge` measured with every seed."""
    return [mean_and_spread([100 * one[column] for one in of_seeds]) for column in COLUMNS]
