import numpy as np
import pytest

from stvh_jax import images
from stvh_jax.errors import UserError
from stvh_jax.video.detection import Detector
from stvh_jax.video.finding import filled_in, find_people
from stvh_jax.video.tracks import UNTRACKED, Tracks
from tests.helpers.blob_model import BlobModel, frame_with
from tests.helpers.volleyball_files import REAL as VOLLEYBALL
from tests.video.test_detection import MODEL, real_data

pytest.importorskip("trackers", reason="the extra detect is not installed")


def moving(count):
    """Gives every third frame of two rectangles that move, and one that is there but once."""
    for place in range(count):
        boxes = [(10, 10 + 2 * place, 40, 22 + 2 * place), (24, 70 - place, 60, 80 - place)]
        yield 3 * place, frame_with(boxes + [(50, 5, 60, 20)] * (place == 5), 64, 96)


def test_people_are_found_and_followed_frame_by_frame():
    done = []
    tracks = find_people(
        moving(12), Detector.of_session(BlobModel(), name="blobs"), rate=10, progress=done.append
    )
    assert done == list(range(1, 13))
    np.testing.assert_array_equal(tracks.frames, np.repeat(np.arange(0, 36, 3), 2))
    for person in (0, 1):
        left = tracks.boxes[tracks.people == person][:, 1] * 96
        steps = np.diff(left)
        assert len(left) == 12 and (np.all(steps > 0) or np.all(steps < 0))


def test_one_frame_is_held_at_a_time():
    model = BlobModel()
    detector = Detector.of_session(model, name="blobs")
    read = []

    def frames():
        for number, frame in moving(5):
            assert len(model.seen) == 1 + len(read)  # all before have been searched
            read.append(number)
            yield number, frame

    find_people(frames(), detector, rate=10)
    assert read == [0, 3, 6, 9, 12]


def test_what_is_wrong_with_a_frame_reaches_the_caller():
    detector = Detector.of_session(BlobModel(), name="blobs")
    with pytest.raises(UserError, match="a frame has the type float32"):
        find_people([(0, np.zeros((4, 4, 3), np.float32))], detector, rate=10)
    assert len(find_people([], detector, rate=10)) == 0


@real_data
def test_players_of_a_real_clip_are_followed():
    folder = VOLLEYBALL / "videos" / "13" / "34085"
    paths = sorted(folder.glob("*.jpg"), key=lambda path: int(path.stem))[::4]
    frames = ((int(path.stem), images.read_image(path)) for path in paths)
    tracks = find_people(frames, Detector.load(MODEL), rate=25 / 4, least_height=0.1, tiles=(1, 2))
    lengths = np.bincount(tracks.people)
    assert (lengths >= 2).all()
    assert 8 <= (lengths >= len(paths) // 2).sum() <= 24


def test_gaps_of_a_person_are_filled_in():
    frames, people = np.array([0, 0, 3, 4, 20, 20]), np.array([7, UNTRACKED, 7, 2, 7, UNTRACKED])
    boxes = np.zeros((6, 4), np.float32)
    boxes[[0, 2], 1] = 0.1, 0.4
    tracks = Tracks(frames, people, boxes, np.ones(6, np.float32))
    found = filled_in(tracks, most=5)
    assert found.frames.tolist() == [0, 0, 1, 2, 3, 4, 20, 20]
    assert found.people.tolist() == [UNTRACKED, 7, 7, 7, 7, 2, UNTRACKED, 7]
    of_7 = found.boxes[found.people == 7][:4, 1]
    np.testing.assert_allclose(of_7, [0.1, 0.2, 0.3, 0.4], rtol=1e-6)
    assert len(filled_in(tracks, most=2)) == 6
