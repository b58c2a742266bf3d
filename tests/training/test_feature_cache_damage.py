"""A cache of features whose files were changed, or whose clips have other pixels now."""

import json
import pathlib

import numpy as np
import pytest

from stvh_jax.errors import Damaged, UserError
from stvh_jax.training.feature_cache import ENTRY_BYTES, CachedDataset
from tests.helpers.fakes import frames_dataset

SHAPE = (2, 5, 3, 3, 4)
ROW_BYTES = 2 * int(np.prod(SHAPE))


def features_of(clips):
    """Gives every clip features of its own, as a backbone would."""
    numbers = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 50
    return numbers + np.asarray(clips.frames, int).sum(axis=(1, 2, 3, 4))[:, None, None, None,
        None, None] % 999  # fmt: skip


def open_cache(folder, *, content_digest=None, compute=features_of):
    dataset = frames_dataset()
    if content_digest is not None:
        dataset.content_digest = content_digest
    cached = CachedDataset(dataset, folder, made_of={"weights": "w"}, shape=SHAPE)
    cached.fill("train", compute, mirrored=False, batch_size=4)
    return cached


def read(cached):
    batches = cached.evaluation_batches("train", batch_size=4)
    return np.concatenate([clips.roi_features[clips.clip_mask] for clips in batches])


def never(clips):
    pytest.fail("computed what is there")


@pytest.fixture
def cache(tmp_path):
    open_cache(tmp_path / "cache")
    return pathlib.Path(tmp_path / "cache")


def flip(path, place, bit=1):
    content = bytearray(path.read_bytes())
    content[place] ^= bit
    path.write_bytes(content)


def test_a_sound_cache_is_read_as_it_was_made(cache):
    (clips,) = frames_dataset().evaluation_batches("train", batch_size=100)
    expected = features_of(clips)[clips.clip_mask]
    np.testing.assert_array_equal(read(open_cache(cache, compute=never)), expected)


def test_a_flipped_bit_is_found_when_its_clip_is_read(cache):
    flip(cache / "train.features", 5 * ROW_BYTES + 17)
    cached = open_cache(cache, compute=never)
    batches = cached.evaluation_batches("train", batch_size=4)
    next(batches)
    (clips,) = frames_dataset().evaluation_batches("train", batch_size=100)
    name = f"{clips.match[5]}/{clips.clip[5]}"
    message = f"train.features is damaged: the features of clip {name} are not those .*; delete"
    with pytest.raises(Damaged, match=message):
        next(batches)


@pytest.mark.parametrize("place", [0, 31, 32, 63, 5 * ENTRY_BYTES, 6 * ENTRY_BYTES - 1])
def test_a_flipped_bit_of_the_digests_is_found(place, cache):
    flip(cache / "train.digests", place, 128)
    with pytest.raises(UserError, match="is (stale|damaged): .*; delete"):
        read(open_cache(cache, compute=never))


def test_the_features_of_one_clip_are_checked_once(cache, monkeypatch):
    cached = open_cache(cache, compute=never)
    first = read(cached)
    monkeypatch.setattr("stvh_jax.training.feature_cache._sum", never)
    np.testing.assert_array_equal(read(cached), first)


def test_features_of_other_pixels_are_found(tmp_path):
    open_cache(tmp_path, content_digest="a" * 64)
    open_cache(tmp_path, content_digest="a" * 64, compute=never)
    for other in ("b" * 64, None):
        with pytest.raises(UserError, match="is stale: it was made with content_digest='aaa"):
            open_cache(tmp_path, content_digest=other)


def test_a_cache_of_an_earlier_version_is_stale(cache):
    made_of = json.loads((cache / "made_of.json").read_text())
    del made_of["format"], made_of["content_digest"]
    (cache / "made_of.json").write_text(json.dumps(made_of))
    with pytest.raises(UserError, match="is stale: it was made by another version .*; delete it"):
        open_cache(cache, compute=never)


@pytest.mark.parametrize(
    "garbage", ["{", "null", "[" * 10**5, "\0", "", "7", " " * (2 << 20), "\udcff"]
)
def test_what_a_cache_was_made_of_may_be_garbage(garbage, cache):
    (cache / "made_of.json").write_text(garbage, errors="surrogateescape")
    with pytest.raises(UserError, match="^cannot use the feature cache .*; delete it or") as caught:
        open_cache(cache)
    assert "\n" not in str(caught.value)


def test_long_garbage_is_not_echoed(cache):
    made_of = json.loads((cache / "made_of.json").read_text())
    (cache / "made_of.json").write_text(json.dumps({**made_of, "a" * 9999: ["x" * 9999]}))
    with pytest.raises(UserError, match="is stale: it was made with aaa") as caught:
        open_cache(cache)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("end", ["features", "digests"])
@pytest.mark.parametrize("size", [0, 1, 777])
def test_what_is_cut_is_computed_again(end, size, cache):
    whole = {path.name: path.read_bytes() for path in cache.iterdir()}
    (cache / f"train.{end}").write_bytes(whole[f"train.{end}"][:size])
    open_cache(cache)
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == whole
