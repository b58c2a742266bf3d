"""What an index holds of encoded clips beside their codes."""

import dataclasses

import numpy as np
import pytest

from stvh_jax.codes.visual_maps import Adaptation, fit_adaptation
from stvh_jax.errors import UserError
from stvh_jax.inference.encoded_clips import encode_split
from stvh_jax.inference.encoder import load
from stvh_jax.retrieval import encoded_queries, queries
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.indexing import index_split, record_of
from stvh_jax.retrieval.origin import DATA_DIGESTS
from stvh_jax.unknown import UNKNOWN
from tests.helpers.fakes import FakeDataset


def test_a_clip_whose_frame_is_unknown_has_no_times(trained):
    encoder, dataset = load(trained()), FakeDataset()
    encoded = encode_split(encoder, dataset, "test")
    frame = np.array(encoded.frame)
    frame[1:] = 100
    frame[0] = UNKNOWN
    encoded = dataclasses.replace(encoded, frame=frame)
    record = record_of(encoder, dataset, encoded, split="test", frames_per_second=25.0)
    duration = encoder.config.model.num_frames / 25
    assert record["start"][:2] == [None, (100 - dataset.key_frame) / 25]
    assert record["stop"][:2] == [None, (100 - dataset.key_frame) / 25 + duration]
    record = record_of(encoder, dataset, encoded, split="test", frames_per_second=None)
    assert set(record["start"]) | set(record["stop"]) == {None}


def test_another_prepared_set_of_the_same_names_is_refused(trained, tmp_path):
    """Its clips were taken for those that were there, and left out without a word."""
    run, folder = trained(), tmp_path / "index"
    encoder, dataset = load(run), FakeDataset()
    index_split(run, encoder, dataset, folder, split="test")
    assert len(index_split(run, encoder, FakeDataset(), folder, split="test")) == 23
    version = Index.open(folder).version
    for field in ("boxes", "activity", "frame"):
        other = FakeDataset()
        clips = other.clips["test"]
        values = np.array(getattr(clips, field))
        values[3] = 1 - values[3]
        other.clips["test"] = dataclasses.replace(clips, **{field: values})
        with pytest.raises(UserError, match="an index of another prepared set, whose split 'test'"):
            index_split(run, encoder, other, folder, split="train+test")
    with pytest.raises(UserError, match="clips of split 'train' have the names of clips that are"):
        index_split(run, encoder, dataset, folder, split="train")
    assert Index.open(folder).version == version


def test_an_index_of_an_earlier_version_goes_on(trained, tmp_path, monkeypatch):
    """Its origin has no digests of the prepared set."""
    run, folder = trained(), tmp_path / "index"
    encoder, dataset = load(run), FakeDataset()

    def create(*arguments, origin, **options):
        origin = {name: value for name, value in origin.items() if name != DATA_DIGESTS}
        return original(*arguments, origin=origin, **options)

    original = Index.create
    with monkeypatch.context() as patched:
        patched.setattr(Index, "create", create)
        index_split(run, encoder, dataset, folder, split="test")
    assert len(index_split(run, encoder, dataset, folder, split="test")) == 23


def two_sets():
    """Gives data whose splits have clips of different names."""
    dataset = FakeDataset()
    clips = dataset.clips["test"]
    matches = (clips.match.astype(int) + 10).astype(str)
    dataset.clips["test"] = dataclasses.replace(clips, match=matches)
    return dataset


def test_an_index_is_adapted_to_all_its_clips(graded, tmp_path):
    encoder, folder = load(graded), tmp_path / "index"
    plain = index_split(graded, encoder, two_sets(), folder, split="train")
    assert plain.adaptation is None
    adapted = index_split(graded, encoder, two_sets(), folder, split="train", adapt=True)
    one = adapted.adaptation
    train_clips = encode_split(encoder, two_sets(), "train")
    assert one.number == fit_adaptation(train_clips.embedded, 8).number
    own = encode_split(encoder.adapted(one), two_sets(), "train").codes[1]
    names = list(zip(train_clips.match, train_clips.clip))
    there = adapted.get(names)[0][1]
    assert (np.unpackbits(own ^ there)).mean() < 0.01  # but for what rounding turns
    assert (own[:, :2] == there[:, :2]).all()
    # More clips are added by the same adaptation, and then it is fitted again to all of them.
    both = index_split(graded, encoder, two_sets(), folder, split="train+test")
    assert both.adaptation.number == one.number
    test_clips = encode_split(encoder.adapted(one), two_sets(), "test")
    held = both.get(list(zip(test_clips.match, test_clips.clip)))[0][1]
    np.testing.assert_array_equal(held, test_clips.codes[1])
    again = index_split(graded, encoder, two_sets(), folder, split="train", adapt=True)
    everything = np.concatenate([train_clips.embedded, test_clips.embedded])
    assert again.adaptation.number == fit_adaptation(everything, 8).number != one.number
    assert len(again) == 48 + 23


def test_a_query_is_encoded_as_the_index_is_adapted(graded, tmp_path):
    encoder = load(graded)
    index = index_split(
        graded, encoder, two_sets(), tmp_path / "index", split="train", adapt=True
    )  # fmt: skip
    own = encoder.adapted(index.adaptation)
    test_clips = encode_split(own, two_sets(), "test")
    name = str(test_clips.match[5]), str(test_clips.clip[5])
    query = queries.clips_query(index, [name], lambda: (encoder, two_sets()))
    np.testing.assert_array_equal(query.codes[1], test_clips.codes[1][5:6])
    boxes = two_sets().clips["test"].boxes[5]
    mask = two_sets().clips["test"].actor_mask[5]
    query = encoded_queries.files_query(index, encoder, None, boxes, mask)
    np.testing.assert_array_equal(query.codes[1], own.encode(None, boxes, mask).codes[1])
    trained = encode_split(encoder, two_sets(), "test")
    assert (trained.codes[1] != test_clips.codes[1]).any()


def test_a_model_with_a_code_for_each_focus_is_not_adapted(trained, tmp_path):
    with pytest.raises(UserError, match="this model has a code for each focus; only one code"):
        index_split(
            trained(), load(trained()), two_sets(), tmp_path / "index", split="train", adapt=True
        )
    assert not Index.exists(tmp_path / "index")


def test_an_adaptation_of_another_model_is_refused(graded):
    encoder = load(graded)
    for projection, offset in ((np.zeros((3, 8)), np.zeros(8)), (np.zeros((3, 4)), np.zeros(4))):
        with pytest.raises(UserError, match="fitted to what another model makes of clips"):
            encoder.adapted(Adaptation(projection, offset))
