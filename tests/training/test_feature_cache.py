"""The cache of a frozen backbone's features: the same run, sooner; and what it finds out."""

import dataclasses
import fcntl
import json
import pathlib
import shutil
import threading
import time

import jax
import numpy as np
import pytest
from etils import epath

from stvh_jax.dataset import Dataset
from stvh_jax.errors import UserError
from stvh_jax.runs.history import read_history
from stvh_jax.training.checks import check_config
from stvh_jax.training.feature_cache import CachedDataset, digests
from stvh_jax.training.trainer import open_run, train
from tests.helpers.fakes import FakeDataset, frames_config, frames_dataset

pytestmark = pytest.mark.slow


def config_with(cache="", **fields):
    # The model that compiles soonest; the cache knows nothing of what reads it.
    config = frames_config(name="frame_classifier", freeze_backbone=True)
    config.data.flip = True
    config.train.feature_cache = str(cache)
    config.update_from_flattened_dict(fields)
    return config


def losses(folder):
    lines = read_history(epath.Path(folder))
    return [value for line in lines for name, value in line.items() if name.endswith("loss")]


class WithoutFrames(FakeDataset):
    """The data set of `frames_dataset`, whose pixels may not be read."""

    def __init__(self):
        super().__init__()
        self.clips = frames_dataset().clips
        self.key_frame = 1

    def training_batches(self, *arguments, frames=True, **options):
        assert not frames
        return super().training_batches(*arguments, frames=False, **options)

    def evaluation_batches(self, *arguments, frames=True, **options):
        assert not frames
        return super().evaluation_batches(*arguments, frames=False, **options)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Trains without a cache and with one; returns the folder of both runs and of the cache."""
    folder = tmp_path_factory.mktemp("cached")
    train(config_with(), frames_dataset(), folder / "plain")
    train(config_with(folder / "cache"), frames_dataset(), folder / "cached")
    return folder


def copy_of_cache(runs, folder):
    return pathlib.Path(shutil.copytree(runs / "cache", folder))


def test_a_run_from_the_cache_equals_one_from_frames(runs):
    plain, cached = losses(runs / "plain"), losses(runs / "cached")
    assert len(plain) == 6  # four steps, two validations
    np.testing.assert_allclose(cached, plain, rtol=1e-5)
    states = [
        open_run(config_with(), frames_dataset(), runs / name).initial_state()
        for name in ("plain", "cached")
    ]
    for one, other in zip(*(jax.tree.leaves(state.variables) for state in states)):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_whole_cache_is_read_and_no_frame_is(runs, tmp_path):
    train(config_with(runs / "cache"), WithoutFrames(), tmp_path)
    assert losses(tmp_path) == losses(runs / "cached")


def test_the_backbone_stays_as_it_was(runs):
    first = open_run(config_with(), frames_dataset(), runs / "new").steps.create_state()
    last = open_run(config_with(), frames_dataset(), runs / "plain").initial_state()
    moved = jax.tree.map_with_path(
        lambda path, one, other: (
            "backbone" in jax.tree_util.keystr(path),
            bool((one != other).any()),
        ),
        first.params,
        last.params,
    )
    moved = jax.tree.leaves(moved, is_leaf=lambda pair: isinstance(pair, tuple))
    assert not any(changed for frozen, changed in moved if frozen)
    assert sum(changed for frozen, changed in moved if not frozen) > 4
    # Nor does the optimizer keep moments for it.
    sizes = [
        sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (last.params, last.opt_state)
    ]
    backbone = sum(
        leaf.size
        for path, leaf in jax.tree.leaves_with_path(last.params)
        if "backbone" in jax.tree_util.keystr(path)
    )
    assert backbone > 0
    assert sizes[1] < 2 * (sizes[0] - backbone) + 10


@pytest.mark.parametrize("keep", [0.6, 0.3, None])
@pytest.mark.parametrize("cut", ["features", "digests", "both"])
def test_a_cache_cut_short_is_gone_on_with(cut, keep, runs, tmp_path):
    cache = copy_of_cache(runs, tmp_path / "cache")
    whole = {path.name: path.read_bytes() for path in cache.iterdir()}
    for end in ("features", "digests"):
        if cut in (end, "both"):
            path = cache / f"train.{end}"
            whole_bytes = path.read_bytes()
            path.unlink()
            if keep:
                path.write_bytes(whole_bytes[: int(keep * len(whole_bytes)) + 7])
    trainer = open_run(config_with(cache), frames_dataset(), tmp_path / "run")
    trainer.open_feature_cache(trainer.initial_state())
    again = {path.name: path.read_bytes() for path in cache.iterdir()}
    assert again == whole


def test_a_whole_cache_may_be_read_only_and_a_part_of_one_not_be_written(runs, tmp_path):
    cache = copy_of_cache(runs, tmp_path / "cache")
    trainer = open_run(config_with(cache), frames_dataset(), tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    trainer.open_feature_cache(trainer.initial_state())
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == before

    names = (cache / "train.digests").read_bytes()
    (cache / "train.digests").write_bytes(names[:-1])
    cached = trainer.dataset

    def no_compute(clips):
        pytest.fail("computed what may not be written")

    with pytest.raises(
        UserError, match="train.features is not complete, and several processes would"
    ):
        cached.fill("train", no_compute, mirrored=False, batch_size=4, may_write=False)
    assert (cache / "train.digests").read_bytes() == names[:-1]


def test_a_cache_is_filled_by_one_run_at_a_time(runs, tmp_path, capsys):
    cache = copy_of_cache(runs, tmp_path / "cache")
    (cache / "train.digests").unlink()
    trainer = open_run(config_with(cache), frames_dataset(), tmp_path / "run")
    state = trainer.initial_state()
    filling = threading.Thread(target=trainer.open_feature_cache, args=(state,))
    with open(cache / "lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        filling.start()
        deadline, said = time.monotonic() + 60, ""
        while "waiting for another run that fills" not in said:
            assert filling.is_alive() and time.monotonic() < deadline, said
            time.sleep(0.02)
            said += capsys.readouterr().out
        assert not (cache / "train.digests").exists()
    filling.join(timeout=60)
    assert (cache / "train.digests").read_bytes() == (runs / "cache/train.digests").read_bytes()


def test_a_cache_of_other_boxes_is_stale(runs, tmp_path):
    dataset = frames_dataset()
    dataset.clips["validation"].boxes[2] += 0.001
    with pytest.raises(UserError, match=r"validation.features is stale: .*other boxes.* delete"):
        train(config_with(runs / "cache"), dataset, tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("model.roi_size", 4, "roi_size=3, not 4"),
        ("data.image_size", (24, 40), r"image_size=\[24, 32\], not \[24, 40\]"),
        ("seed", 1, "weights_sha256="),
    ],
)
def test_a_cache_made_of_other_things_is_stale(field, value, named, runs, tmp_path):
    config = config_with(runs / "cache", **{field: value})
    with pytest.raises(UserError, match=f"is stale: it was made with {named}"):
        train(config, frames_dataset(), tmp_path)


def test_a_cache_that_cannot_be_used(tmp_path):
    (tmp_path / "made_of.json").write_text("{")
    with pytest.raises(UserError, match="^cannot use the feature cache .* delete it or give"):
        train(config_with(tmp_path), frames_dataset(), tmp_path / "run")
    with pytest.raises(UserError, match="is not a local folder"):
        train(config_with("gs://bucket/cache"), frames_dataset(), tmp_path / "run2")


def test_features_too_large_for_half_precision_are_found(tmp_path):
    trainer = open_run(config_with(tmp_path / "cache"), frames_dataset(), tmp_path / "run")
    state = trainer.initial_state()
    params = jax.tree.map_with_path(
        lambda path, leaf: leaf * 1e6 if "norm_1" in jax.tree_util.keystr(path) else leaf,
        state.params,
    )
    with pytest.raises(UserError, match="half precision cannot hold; check its weights"):
        trainer.open_feature_cache(state.replace(params=params))


def test_only_a_frozen_backbone_has_a_cache():
    config = config_with("cache", **{"model.freeze_backbone": False})
    with pytest.raises(
        UserError, match="feature_cache stores the features that a frozen backbone makes"
    ):
        check_config(config, frames_dataset(), devices=1)


def test_digests_tell_clips_apart_and_ignore_padding():
    clips = frames_dataset().clips["train"]
    assert len(set(digests(clips))) == len(clips.match)
    noise = np.where(clips.actor_mask[:, None, :, None], clips.boxes, np.nan)
    assert digests(dataclasses.replace(clips, boxes=noise)) == digests(clips)


def test_a_cached_data_set_has_all_that_a_data_set_has(tmp_path):
    dataset = frames_dataset()
    cached = CachedDataset(dataset, tmp_path, made_of={}, shape=(2, 5, 3, 3, 4))
    assert isinstance(cached, Dataset)
    for name in ("activity_names", "action_names", "key_frame", "splits", "has_frames"):
        assert getattr(cached, name) == getattr(dataset, name)
    assert cached.untracked_share("train") == dataset.untracked_share("train")
    cached.fill(
        "train",
        lambda clips: np.ones((len(clips.boxes), 2, 5, 3, 3, 4)),
        mirrored=False,
        batch_size=4,
    )
    options = {"batch_size": 4, "seed": 1}
    for frames in (False, True):
        clips = next(cached.training_batches("train", **options, start_step=2, frames=frames))
        plain = next(dataset.training_batches("train", **options, start_step=2, frames=False))
        assert (clips.roi_features is not None) == frames and clips.frames is None
        np.testing.assert_array_equal(clips.boxes, plain.boxes)
        np.testing.assert_array_equal(clips.clip, plain.clip)
    name = (str(plain.match[0]), str(plain.clip[0]))
    images = cached.key_frame_images("train", {name})
    np.testing.assert_array_equal(
        images[name], dataset.clips["train"].frames[int(plain.frame[0]) // 100, 1]
    )


def test_digests_of_named_clips_are_those_of_numbers():
    """What a clip is called does not change with the type of its name."""
    clips = frames_dataset().clips["train"]
    numbers = dataclasses.replace(clips, match=clips.match.astype(int), clip=clips.clip.astype(int))
    assert digests(numbers) == digests(clips)


def test_what_a_cache_was_made_of_is_written_in_clear(runs):
    made_of = json.loads(pathlib.Path(runs / "cache" / "made_of.json").read_text())
    assert made_of["backbone"] == {"name": "small", "features": [4, 6]}
    assert made_of["image_size"] == [24, 32]
    assert len(made_of["weights_sha256"]) == 64
