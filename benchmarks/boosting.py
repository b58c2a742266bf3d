"""Gradient boosting on the boxes of a data set: what a code's classifier has to beat.

python -m benchmarks.boosting --config=configs/cad_boxes.py
python -m benchmarks.boosting --config=configs/cad_boxes.py --config.data.still_boxes=True

It reads exactly the boxes and masks that the config's model reads. A clip is described by numbers
that depend neither on the order of the actors nor on the content of padded slots: statistics over
the actors of their places, sizes, distances from each other, movements, and how close they are to
standing in a line. It is fitted to the train split; the size and the number of the trees are chosen
on the validation split; it is judged on the test split, once for every seed.
"""

import itertools

import numpy as np
from absl import flags
from ml_collections import config_flags
from sklearn.ensemble import HistGradientBoostingClassifier

from data.prepared.pipeline import open_dataset
from stvh_jax.cli import parsing

LEAVES = (4, 8, 16, 32)
MOST_TREES = 300
LEARNING_RATE = 0.05
# The share of columns that each split of a tree may choose from: the only use of the seed.
COLUMN_SHARE = 0.3
QUANTILES = (0, 0.25, 0.5, 0.75, 1)


def describe_clip(boxes, mask):
    """Describes a clip by numbers.

    Args:
      boxes: `[T, N, 4]`, `[y_min, x_min, y_max, x_max]`.
      mask: `[N]`, true where an actor stands.

    Returns:
      A vector of the same length for every clip.
    """
    boxes = boxes[:, mask].astype(np.float64)
    centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    size = np.maximum(size, 1e-3)
    where, large = centre.mean(axis=0), size.mean(axis=0)
    # Motion from the first half to the second and from frame to frame, in sizes of the actor.
    half = (len(boxes) + 1) // 2
    travel = (centre[half:].mean(axis=0) - centre[:half].mean(axis=0)) if len(boxes) > 1 else 0
    travel = travel / large * np.ones_like(where)
    steps = np.diff(centre, axis=0, prepend=centre[:1]) / large
    growth = np.log(size[-1] / size[0])
    own = np.concatenate(
        [
            where,
            large,
            large[:, :1] / large[:, 1:],
            travel,
            np.abs(travel),
            travel - np.median(travel, axis=0),
            steps.std(axis=0),
            growth,
        ],
        axis=1,
    )
    apart = np.abs(where[:, None] - where[None]) / large[:, None]
    away = np.hypot(*np.moveaxis(apart, -1, 0)) + np.where(np.eye(len(where)), np.inf, 0)
    pairs = away[np.isfinite(away)] if len(where) > 1 else np.full(1, 99.0)
    nearest = np.minimum(away.min(axis=1), 99.0)
    spread = np.linalg.svd(where - where.mean(axis=0), compute_uv=False)
    line = [spread[1] / max(spread[0], 1e-9) if len(spread) > 1 else 0.0, spread[0]]
    tables = [own, nearest[:, None], pairs[:, None]]
    statistics = [
        np.concatenate([np.quantile(table, QUANTILES, axis=0).ravel(), table.std(axis=0)])
        for table in tables
    ]
    return np.concatenate([[len(where)], line, *statistics])


def read(dataset, split):
    """Reads a split: descriptions `[M, F]` and activities `[M]`."""
    rows, labels = [], []
    for clips in dataset.evaluation_batches(split, batch_size=256, frames=False):
        for place in np.flatnonzero(clips.clip_mask):
            rows.append(describe_clip(clips.boxes[place], clips.actor_mask[place]))
            labels.append(clips.activity[place])
    return np.array(rows), np.array(labels)


def classifier(leaves, seed):
    """Makes a classifier that does not stop early."""
    return HistGradientBoostingClassifier(
        learning_rate=LEARNING_RATE,
        max_iter=MOST_TREES,
        max_leaf_nodes=leaves,
        max_features=COLUMN_SHARE,
        early_stopping=False,
        random_state=seed,
    )


def choose(train, validation, seed):
    """Chooses the number of leaves and trees by validation accuracy, at ties the fewest.

    Returns:
      The accuracy, the leaves, the trees, and the model, which has all MOST_TREES of them.
    """
    best = None
    for leaves in LEAVES:
        model = classifier(leaves, seed).fit(*train)
        for trees, predicted in enumerate(model.staged_predict(validation[0]), start=1):
            accuracy = (predicted == validation[1]).mean()
            if best is None or accuracy > best[0]:
                best = (accuracy, leaves, trees, model)
    return best


def predict(model, trees, rows):
    """Predicts with the first trees of a model only."""
    return next(itertools.islice(model.staged_predict(rows), trees - 1, None))


def report(dataset, seeds):
    """Fits and judges the classifier; prints one line per seed and their mean."""
    parts = {split: read(dataset, split) for split in ("train", "validation", "test")}
    rows, labels = parts["test"]
    results = []
    for seed in range(seeds):
        chosen, leaves, trees, model = choose(parts["train"], parts["validation"], seed)
        predicted = predict(model, trees, rows)
        recalls = [(predicted[labels == kind] == kind).mean() for kind in np.unique(labels)]
        results.append(((predicted == labels).mean(), np.mean(recalls)))
        print(
            f"seed {seed}: validation {chosen:.1%} ({trees} trees of {leaves} leaves), "
            f"test {results[-1][0]:.1%}, MPCA {results[-1][1]:.1%}",
            flush=True,
        )
    (accuracy, mpca), spread = np.mean(results, axis=0), np.std(results, axis=0, ddof=1)
    print(f"test {accuracy:.1%} ± {spread[0]:.1%}, MPCA {mpca:.1%} ± {spread[1]:.1%}")


if __name__ == "__main__":
    CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment.")
    SEEDS = flags.DEFINE_integer("seeds", 3, "How many seeds.", lower_bound=2)
    parsing.run_flags(
        lambda _: report(open_dataset(CONFIG.value.data), SEEDS.value), required=("config",)
    )
