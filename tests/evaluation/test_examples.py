"""The example queries, what is nearest to them, and the pictures of both."""

import dataclasses

import numpy as np

from stvh_jax.evaluation.examples import example_queries, nearest, picture_hits
from stvh_jax.unknown import UNKNOWN
from tests.helpers.encoded import encoded
from tests.helpers.fakes import FakeDataset


def test_the_nearest_of_a_query_are_others_in_a_fixed_order():
    clips = encoded([0b0, 0b1, 0b0, 0b11, 0b100], [0] * 5)
    assert nearest(clips, 0, clips, focus=1, k=3) == [(2, 0), (1, 1), (4, 1)]
    assert nearest(clips, 3, clips, focus=1, k=9) == [(1, 1), (0, 2), (2, 2), (4, 3)]


def test_equal_distances_are_in_the_natural_order_of_names():
    names = [("seq10", "9"), ("seq2", "10"), ("seq2", "9"), ("b", "1"), ("seq2", "a")]
    match, clip = np.array(names).T
    clips = encoded([0] * 5, [0] * 5, match=match, clip=clip)
    expected = ["b/1", "seq2/9", "seq2/10", "seq2/a", "seq10/9"]
    for query in range(5):
        found = ["/".join(names[hit]) for hit, _ in nearest(clips, query, clips, focus=1, k=9)]
        # Only the query itself is left out, not the clip of its name in another match.
        assert found == [name for name in expected if name != "/".join(names[query])]


def test_examples_are_the_first_of_each_activity():
    clips = encoded([0] * 5, [1, UNKNOWN, 0, 1, 3])
    assert example_queries(clips, count=4) == [2, 0, 4]
    assert example_queries(clips, count=2) == [2, 0]


def test_pictures_are_of_the_clips_that_were_found():
    class Pictured(FakeDataset):
        def key_frame_images(self, split, clips):
            known = self.clips[split]
            assert set(clips) <= set(zip(known.match.tolist(), known.clip.tolist()))
            place = self.splits.index(split)
            return {
                name: np.array([[[place, int(name[0]), int(name[1]) // 100]]], np.uint8)
                for name in clips
            }

    dataset = Pictured(sizes=(4, 3, 2))
    random, parts = np.random.default_rng(1), []
    for split in dataset.splits:
        clips = dataset.clips[split]
        codes = random.integers(0, 256, len(clips.frame))
        # Names that no other split has, as in a real data set.
        frame = clips.frame + 1000 * dataset.splits.index(split)
        clip = frame.astype(str)
        dataset.clips[split] = dataclasses.replace(clips, clip=clip, frame=frame)
        parts.append(encoded(codes, clips.activity, clips.match, clip=clip, frame=frame))
    everything = type(parts[0]).concatenate(parts)
    splits = np.repeat(dataset.splits, [4, 3, 2]).tolist()
    rows = picture_hits(dataset, parts[2], everything, splits, focus=1, count=9, k=8)
    assert len(rows) == len(set(parts[2].activity))
    for row, query in zip(rows, example_queries(parts[2], count=9)):
        assert [picture.distance is None for picture in row] == [True] + 8 * [False]
        bits = np.unpackbits(everything.codes[1] ^ parts[2].codes[1][query], axis=1).sum(axis=1)
        assert [picture.distance for picture in row[1:]] == sorted(np.delete(bits, 7 + query))
        shown = {tuple(picture.image[0, 0].tolist()) for picture in row}
        assert len(shown) == 9
        for picture in row:
            place, match, number = picture.image[0, 0].tolist()
            split = dataset.splits[place]
            assert picture.match == str(match)
            clips = dataset.clips[split]
            (index,) = np.flatnonzero(clips.frame == 100 * number)
            assert picture.activity == dataset.activity_names[clips.activity[index]]
