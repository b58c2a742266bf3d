"""Prepared sets of older formats: read as long as nothing is missing, or refused in one line."""

import itertools

import jax
import ml_collections
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data.prepared import pipeline
from data.volleyball.volleyball_dataset_builder import Builder
from stvh_jax.errors import NotFound
from tests.helpers.prepared_sets import prepare
from tests.helpers.volleyball_files import SIZE, write_raw

pytestmark = pytest.mark.slow

PEOPLE = [(5, 6, 7, 11, "digging"), (30, 10, 6, 12, "waiting")]
CLIPS = {video: [(key, "r_set", PEOPLE) for key in range(10, 140, 13)] for video in (1, 2, 10)}
SPLITS = {"train": [1, 10], "validation": [2], "test": []}


def open_dataset(folder, variant):
    config = {"name": "volleyball", "variant": variant, "dir": str(folder), "image_size": SIZE}
    config |= {"num_frames": 4, "num_actors": 12, "still_boxes": False}
    return pipeline.open_dataset(ml_collections.ConfigDict(config))


def equal(first, second):
    leaves = [jax.tree.leaves(clips) for clips in (first, second)]
    return all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))


class OldBuilder(Builder, skip_registration=True):
    """Writes sets as they were when matches and clips were numbers."""

    name = "volleyball"
    VERSION = tfds.core.Version("2.0.0")

    def _info(self):
        info = super()._info()
        features = dict(info.features) | dict.fromkeys(
            ("match", "clip"), tfds.features.Scalar(dtype=np.int64)
        )
        del features["frame"]
        metadata = tfds.core.MetadataDict(info.metadata)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), metadata=metadata
        )

    def _generate_examples(self, *arguments):
        for key, example in super()._generate_examples(*arguments):
            del example["frame"]
            yield key, example | {name: int(example[name]) for name in ("match", "clip")}


@pytest.mark.parametrize("variant", ["boxes_only", "frames"])
def test_a_set_with_numbers_for_names_is_still_read(tmp_path, variant):
    """Its clips have the names, the order and the pixels that a new set gives them."""
    raw = write_raw(tmp_path / "raw", CLIPS, splits=SPLITS)
    for builder in (OldBuilder, Builder):
        prepare(builder(config=variant, data_dir=tmp_path / builder.__name__), raw)
    old, new = (open_dataset(tmp_path / name, variant) for name in ("OldBuilder", "Builder"))
    options = {"batch_size": 7, "seed": 3, "flip": True}
    batches = [dataset.training_batches("train", **options) for dataset in (old, new)]
    for first, second in itertools.islice(zip(*batches), 9):
        assert first.match.dtype.kind == "U"
        assert equal(first, second)
    batches = [dataset.evaluation_batches("validation", batch_size=3) for dataset in (old, new)]
    for first, second in zip(*batches):
        assert equal(first, second)


def test_a_set_of_an_older_format_is_to_be_prepared_again(tmp_path):
    folder = tmp_path / "volleyball/frames/1.0.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{}")
    with pytest.raises(NotFound, match="frames is of an older format; run: python -m data prep"):
        open_dataset(tmp_path, "frames")
