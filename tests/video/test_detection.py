import pathlib

import numpy as np
import pytest

from stvh_jax import images
from stvh_jax.errors import Damaged, UserError
from stvh_jax.video import boxes as geometry
from stvh_jax.video import yolox
from stvh_jax.video.detection import Detector
from tests.helpers.blob_model import BlobModel, frame_with
from tests.helpers.volleyball_files import REAL as VOLLEYBALL

REAL = pathlib.Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "detector"
MODEL = REAL / "yolox_nano.onnx"
real_data = pytest.mark.skipif(not MODEL.exists(), reason="real data not present")


def in_pixels(boxes, height, width):
    """Sorts boxes by place, in pixels."""
    found = boxes * np.array([height, width, height, width], np.float32)
    return found[np.lexsort(found.T[::-1])]


@pytest.mark.parametrize("decoded", [False, True])
@pytest.mark.parametrize("height, width", [(64, 96), (640, 960), (300, 900), (900, 300)])
def test_boxes_come_back_where_they_were_painted(decoded, height, width):
    model = BlobModel(decoded=decoded, least=1)
    detector = Detector.of_session(model, name="blobs")
    assert (detector.decoded, detector.strides) == (decoded, (8, 16, 32))
    cell = max(height / 64, width / 96)  # pixels of the frame in one of the input
    painted = [(0.1, 0.1, 0.5, 0.2), (0.3, 0.5, 0.8, 0.7)]
    painted = (np.array(painted) * [height, width, height, width]).astype(int)
    boxes, scores = detector.detect(frame_with(painted, height, width))
    found = in_pixels(boxes, height, width)
    np.testing.assert_allclose(found, painted, atol=1.5 * cell)
    np.testing.assert_allclose(scores, [0.9, 0.9 * 0.99], rtol=1e-5)
    assert boxes.dtype == scores.dtype == np.float32


def test_weak_and_low_boxes_are_left_out():
    detector = Detector.of_session(BlobModel(), name="blobs")
    frame = frame_with([(8, 8, 24, 24), (8, 40, 40, 56)], 64, 96)
    assert len(detector.detect(frame)[0]) == 2
    assert len(detector.detect(frame, threshold=0.895)[0]) == 1
    assert len(detector.detect(frame, least_height=0.4)[0]) == 1
    assert len(detector.detect(frame, threshold=0.95)[0]) == 0
    boxes, scores = detector.detect(frame_with([], 64, 96), tiles=(2, 2))
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_other_classes_are_not_read(monkeypatch):
    model = BlobModel()
    run = model.run

    def as_cars(*arguments):
        (output,) = run(*arguments)
        output[0, :, [5, 7]] = output[0, :, [7, 5]]
        return [output]

    monkeypatch.setattr(model, "run", as_cars)
    detector = Detector.of_session(model, name="blobs")
    assert len(detector.detect(frame_with([(8, 8, 24, 24)], 64, 96))[0]) == 0


def test_tiles_find_small_people_once():
    """What is 16 pixels of 640 is under 2 of the input's 64, and 4 in tiles of a third."""
    height, width = 640, 960
    painted = [(y, x, y + 18, x + 18) for y in range(31, 600, 97) for x in range(43, 900, 101)]
    frame = frame_with(painted, height, width)
    detector = Detector.of_session(BlobModel(), name="blobs")
    assert len(detector.detect(frame)[0]) == 0
    boxes, _ = detector.detect(frame, tiles=(3, 3))
    found = in_pixels(boxes, height, width)
    np.testing.assert_allclose(found, np.array(painted), atol=6)


def test_a_person_cut_by_a_tile_is_left_to_the_neighbour_or_the_whole_frame():
    height, width = 640, 960
    # One of them is wider than two tiles overlap, around the middle; one narrower.
    painted = [(100, 380, 220, 600), (400, 470, 480, 500)]
    boxes, _ = Detector.of_session(BlobModel(), name="blobs").detect(
        frame_with(painted, height, width), tiles=(1, 2), most_overlap=0.9
    )
    found = in_pixels(boxes, height, width)
    alike = geometry.overlaps(found, np.array(painted, np.float32))
    assert (alike.max(axis=1) > 0.6).all() and (alike.max(axis=0) > 0.6).all()


def test_each_tile_is_seen_at_the_full_size_of_the_input():
    model = BlobModel()
    detector = Detector.of_session(model, name="blobs")
    model.seen.clear()
    detector.detect(np.zeros((128, 192, 3), np.uint8), tiles=(2, 3), tile_overlap=0.25)
    assert len(model.seen) == 7
    model.seen.clear()
    detector.detect(np.zeros((128, 192, 3), np.uint8), tiles=(1, 1))
    assert len(model.seen) == 1


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((64, 96, 3), np.float32),
        np.zeros((64, 96), np.uint8),
        np.zeros((64, 96, 4), np.uint8),
        np.zeros((0, 96, 3), np.uint8),
    ],
)
def test_frames_of_another_kind_are_refused(frame):
    with pytest.raises(UserError, match="a frame has the"):
        Detector.of_session(BlobModel(), name="blobs").detect(frame)


@pytest.mark.parametrize(
    "settings",
    [
        {"threshold": 2},
        {"threshold": float("nan")},
        {"most_overlap": -0.1},
        {"least_height": 5},
        {"tiles": (0, 1)},
        {"tiles": (1, 1000)},
        {"tiles": (2, 2), "tile_overlap": 1},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    detector = Detector.of_session(BlobModel(), name="blobs")
    with pytest.raises(UserError, match="; give "):
        detector.detect(np.zeros((64, 96, 3), np.uint8), **settings)


def test_numbers_that_are_none_are_no_boxes(monkeypatch):
    model = BlobModel()
    detector = Detector.of_session(model, name="blobs")

    def broken(*_):
        output = np.full((1, 126, 85), np.nan, np.float32)
        output[0, :3, 4:6] = 1
        output[0, 1, :4] = 0, 0, 500, 3e38
        output[0, 2, :4] = 3e38, 1, 1, 1
        return [output]

    monkeypatch.setattr(model, "run", broken)
    boxes, scores = detector.detect(np.zeros((64, 96, 3), np.uint8))
    assert np.isfinite(boxes).all() and len(boxes) == len(scores)


def test_a_model_that_does_not_run_is_named(monkeypatch):
    model = BlobModel()

    def fails(*_):
        raise RuntimeError("no such\nthing")

    monkeypatch.setattr(model, "run", fails)
    with pytest.raises(UserError, match="blobs cannot be run on one frame .no such thing."):
        Detector.of_session(model, name="blobs")


def test_threads_are_counted_from_one():
    with pytest.raises(UserError, match="threads is 0"):
        Detector.load("x.onnx", threads=0)


def key_frames():
    """Reads the real key frames: pixels, and the boxes of the players."""
    for video, clip in (("39", "29885"), ("39", "29905"), ("41", "19560"), ("13", "34085")):
        frame = images.read_image(VOLLEYBALL / "videos" / video / clip / f"{clip}.jpg")
        lines = (VOLLEYBALL / "videos" / video / "annotations.txt").read_text().splitlines()
        (line,) = [line.split() for line in lines if line.startswith(f"{clip}.jpg")]
        players = np.array(line[2:]).reshape(-1, 5)[:, :4].astype(np.float32)
        x, y, width, height = players.T
        players = np.stack([y, x, y + height, x + width], axis=1)
        yield frame, players / np.array(frame.shape[:2] * 2, np.float32)


@real_data
def test_most_players_of_real_frames_are_found():
    detector = Detector.load(MODEL)
    assert (detector.height, detector.width, detector.decoded) == (416, 416, False)
    for tiles, least in ((None, 7), ((2, 3), 10)):
        for frame, players in key_frames():
            boxes, scores = detector.detect(frame, tiles=tiles)
            assert (geometry.overlaps(players, boxes).max(axis=1) >= 0.5).sum() >= least
            assert (scores[:-1] >= scores[1:]).all() and scores[-1] >= 0.1


@real_data
def test_a_real_model_that_decodes_finds_the_same():
    """The export with --decode_in_inference adds the cells itself."""
    plain = Detector.load(MODEL)
    cells, strides = yolox.grid(416, 416, (8, 16, 32))

    class Decoding:
        get_inputs = plain.session.get_inputs

        def run(self, *arguments):
            (output,) = plain.session.run(*arguments)
            output[..., :2] = (output[..., :2] + cells) * strides
            output[..., 2:4] = np.exp(output[..., 2:4]) * strides
            return [output]

    decoding = Detector.of_session(Decoding(), name="decoding")
    assert decoding.decoded
    frame, _ = next(key_frames())
    for one, other in zip(plain.detect(frame), decoding.detect(frame), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@real_data
def test_a_real_model_that_is_cut_or_changed_ends_in_one_line(tmp_path):
    whole = MODEL.read_bytes()
    for number, content in enumerate((whole[:1000], whole[:-1000], b"\0" * 100 + whole[100:])):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(content)
        with pytest.raises(Damaged, match="is not a readable ONNX file") as caught:
            Detector.load(path)
        assert "\n" not in str(caught.value)
