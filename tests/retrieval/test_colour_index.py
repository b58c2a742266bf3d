"""Indexes whose visual bits are colours, of a model of boxes: same team, same hall."""

import dataclasses

import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.inference.colour_encoder import with_colours
from stvh_jax.inference.encoder import load
from stvh_jax.retrieval import encoded_queries, queries, video_indexing
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.indexing import index_split
from stvh_jax.retrieval.video_indexing import Cutting, Footage
from stvh_jax.video.footage import open_video
from stvh_jax.video.tracks import Tracks
from tests.helpers import videos
from tests.helpers.fakes import FakeDataset

CUTTING = Cutting(every=0.2)
SIZE = (96, 160)
TEAMS = {"red": ((200, 40, 40), (60, 120, 170)), "green": ((40, 170, 60), (190, 120, 70))}


def tracks_of(rng, frames):
    """Lets five people stand somewhere."""
    low = np.stack([rng.uniform(0.35, 0.6, 5), rng.uniform(0.05, 0.85, 5)], 1)
    boxes = np.tile(np.concatenate([low, low + [0.3, 0.1]], 1), (frames, 1)).astype(np.float32)
    numbers, people = np.divmod(np.arange(5 * frames), 5)
    return Tracks(numbers, people, boxes, np.ones(len(boxes), np.float32))


def make_footage(folder, name, seed, monkeypatch, frames=30):
    """Makes a video of one team in its hall; the name says which."""
    tracks = tracks_of(np.random.default_rng(seed), frames)
    shirt, floor = TEAMS[name.split("_")[0]]

    def drawn(number, size):
        picture = np.full((*size, 3), 60, np.uint8)
        picture[size[0] // 3 :] = floor
        for top, left, bottom, right in tracks.boxes[:5] * [*size, *size]:
            picture[int(top) : int(bottom), int(left) : int(right)] = shirt
        return picture

    with monkeypatch.context() as patched:
        patched.setattr(videos, "drawn", drawn)
        path = videos.make_video(folder / f"{name}.mp4", frames, size=SIZE)
    return Footage(open_video(path), tracks, name)


def test_videos_of_the_same_team_are_near(graded, tmp_path, monkeypatch):
    plain, encoder = load(graded), with_colours(load(graded))
    names = ("red_1", "red_2", "green_1", "green_2")
    made = [make_footage(tmp_path, name, seed, monkeypatch) for seed, name in enumerate(names)]
    archive = video_indexing.Archive(graded, encoder, tmp_path / "index", CUTTING)
    for footage in made:
        done = video_indexing.index_video(archive, footage, CUTTING)
        assert done.added == done.windows == 6
    index = archive.made()
    # A moment is encoded as it was indexed, by the model as it is loaded.
    query = encoded_queries.moment_query(index, lambda: plain, made[0], 0.4)
    stored, _ = index.get([("red_1", "400")])
    np.testing.assert_array_equal(query.codes[1], stored[1])
    assert query.image.shape == (180, 320, 3)
    (hits,) = index.search(query.codes, focus="visual", k=24)
    distances = {team: [h.distance for h in hits if h.match.startswith(team)] for team in TEAMS}
    assert len(distances["red"]) == len(distances["green"]) == 12
    assert max(distances["red"]) < min(distances["green"])
    # Activity alone says nothing of it.
    boxes_alone = video_indexing.Archive(graded, plain, tmp_path / "boxes", CUTTING)
    for footage in made:
        video_indexing.index_video(boxes_alone, footage, CUTTING)
    assert index.clips().equals(boxes_alone.made().clips())


def test_indexes_of_other_visual_bits_are_refused(graded, tmp_path):
    plain, encoder = load(graded), with_colours(load(graded))
    video_indexing.Archive(graded, encoder, tmp_path / "colours", CUTTING).made()
    with pytest.raises(UserError, match="are of colours; give --visual colour, or"):
        video_indexing.Archive(graded, plain, tmp_path / "colours", CUTTING)
    video_indexing.Archive(graded, plain, tmp_path / "boxes", CUTTING).made()
    with pytest.raises(UserError, match="are those of its model; leave out --visual colour, or"):
        video_indexing.Archive(graded, encoder, tmp_path / "boxes", CUTTING)


def test_prepared_sets_with_frames_have_colours(graded, tmp_path):
    plain, encoder = load(graded), with_colours(load(graded))
    dataset = FakeDataset(sizes=(8, 5, 4), pixels=(24, 32))
    dataset.clips["test"] = dataclasses.replace(
        dataset.clips["test"], match=np.array(["11", "12", "13", "14"])
    )
    index = index_split(graded, encoder, dataset, tmp_path / "index", split="test", adapt=True)
    name = ("12", str(dataset.clips["test"].clip[1]))
    stored, _ = index.get([name])
    query = queries.clips_query(index, [name], lambda: (plain, dataset), encode=True)
    np.testing.assert_array_equal(query.codes[1], stored[1])
    clips = dataset.clips["test"]
    given = clips.boxes[1], clips.actor_mask[1]
    query = encoded_queries.files_query(index, plain, clips.frames[1], *given)
    np.testing.assert_array_equal(query.codes[1], stored[1])
    with pytest.raises(UserError, match="this one has no pixels; give its frames"):
        encoded_queries.files_query(index, plain, None, *given)
    with pytest.raises(UserError, match="are of colours; give --visual colour"):
        index_split(graded, plain, dataset, tmp_path / "index", split="test")
    with pytest.raises(UserError, match="no pixels.*or prepare the set with frames"):
        index_split(graded, encoder, FakeDataset(), tmp_path / "other", split="test")


def test_clips_of_an_older_version_of_colours_are_refused(graded, tmp_path):
    encoder = with_colours(load(graded))
    index = video_indexing.Archive(graded, encoder, tmp_path / "index", CUTTING).made()
    info = index.info
    origin = {**info.origin, "checkpoint": "2-0123456789ab"}
    older = dataclasses.replace(info, origin=origin)
    other = Index.create(
        tmp_path / "older",
        bits=older.bits,
        stored_foci=older.stored_foci,
        bit_weights=older.bit_weights,
        origin=older.origin,
    )
    with pytest.raises(UserError, match="was made with checkpoint 2-0123456789ab"):
        encoded_queries.encoder_of(other, load(graded))
