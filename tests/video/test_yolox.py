import types

import numpy as np
import pytest

from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.video import yolox
from tests.helpers.blob_model import BlobModel, cells


def test_frames_are_resized_as_opencv_does():
    cv2 = pytest.importorskip("cv2", reason="OpenCV comes with the extra detect")
    frame = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    for height, width in [(37, 53), (20, 31), (74, 90), (1, 1), (37, 10)]:
        expected = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
        # OpenCV rounds the weights to 1/2048.
        found = yolox._resize(frame, height, width)
        assert np.abs(found - expected).max() <= 1


def test_the_input_is_bgr_at_the_upper_left_of_grey():
    frame = np.broadcast_to(np.array([10, 20, 30], np.uint8), (4, 8, 3)).copy()
    pixels = yolox.as_input(frame, 32, 32, legacy=False)
    assert pixels.shape == (1, 3, 32, 32)
    np.testing.assert_array_equal(pixels[0, :, :16].reshape(3, -1).T, [[30, 20, 10]] * 512)
    assert (pixels[0, :, 16:] == 114).all()


def test_the_older_input_is_rgb_in_units_of_imagenet():
    frame = np.broadcast_to(np.array([10, 20, 30], np.uint8), (4, 8, 3)).copy()
    pixels = yolox.as_input(frame, 32, 32, legacy=True)
    expected = [(10 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (30 / 255 - 0.406) / 0.225]
    np.testing.assert_allclose(pixels[0, :, 3, 5], expected, rtol=1e-6)
    np.testing.assert_allclose(pixels[0, 0, 30, 30], (114 / 255 - 0.485) / 0.229, rtol=1e-6)


@pytest.mark.parametrize("strides", [(8, 16, 32), (8, 16, 32, 64)])
def test_predictions_are_decoded_cell_by_cell(strides):
    height, width = 128, 192
    listed = cells(height, width, strides)
    assert yolox.strides_of(len(listed), height, width, "x") == strides
    predictions = np.random.default_rng(0).normal(size=(len(listed), 4)).astype(np.float32)
    found = yolox.decode(predictions, *yolox.grid(height, width, strides))
    for (x, y, w, h), (column, row, stride), box in zip(predictions, listed, found, strict=True):
        expected = [(x + column) * stride, (y + row) * stride, np.e**w * stride, np.e**h * stride]
        np.testing.assert_allclose(box, expected, rtol=1e-4, atol=1e-3)


def test_what_is_decoded_is_told_from_what_is_not():
    for decoded in (False, True):
        model = BlobModel(decoded=decoded)
        (output,) = model.run(None, {"images": np.zeros((1, 3, 64, 96), np.float32)})
        assert yolox.is_decoded(output[0], "x") == decoded


def changed(**columns):
    predictions = np.full((126, 85), 0.1, np.float32)
    predictions[:, :4] = -0.5
    for column, value in columns.items():
        predictions[:, slice(*map(int, column[1:].split("_")))] = value
    return predictions


@pytest.mark.parametrize(
    "predictions",
    [
        changed(c0_4=np.nan),
        changed(c4_5=1),  # no objectness
        changed(c4_85=-3),  # before the sigmoid
        changed(c0_4=0.5),  # places in 0..1
        changed(c0_2=100),  # places in pixels, sizes as logarithms
    ],
)
def test_other_numbers_are_refused(predictions):
    with pytest.raises(UserError, match="of another family, or damaged"):
        yolox.is_decoded(predictions, "x.onnx")


def inputs(*given):
    found = [types.SimpleNamespace(name="i", shape=shape, type=kind) for shape, kind in given]
    return types.SimpleNamespace(get_inputs=lambda: found)


FLOATS = "tensor(float)"


@pytest.mark.parametrize(
    "given, message",
    [
        ([], "its input is "),
        ([([1, 3, 64, 64], FLOATS), ([1, 2], FLOATS)], "its input is "),
        ([([1, 64, 64, 3], FLOATS)], "its input is "),
        ([([1, 3, 64, 64], "tensor(uint8)")], "its input is "),
        ([([4, 3, 64, 64], FLOATS)], "4 frames at a time"),
        ([([1, 3, 60, 64], FLOATS)], "multiples of 32"),
        ([([1, 3, 64, 8192], FLOATS)], "multiples of 32"),
    ],
)
def test_other_inputs_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        yolox.input_of(inputs(*given), "x.onnx")


def test_an_input_of_any_size_has_yolox_s_own():
    session = inputs((["batch", 3, "height", "width"], FLOATS))
    assert yolox.input_of(session, "x") == ("i", 640, 640)


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [np.zeros((1, 100, 4)), np.zeros((1, 100)), np.zeros((1, 100))],  # with suppression
        [np.zeros((100, 7))],
        [np.zeros((1, 100, 5))],
        [np.zeros((2, 126, 85))],
        [np.zeros((1, 126, 85), np.int64)],
    ],
)
def test_other_outputs_are_refused(outputs):
    with pytest.raises(UserError, match="other families, or with built-in non-maximum suppression"):
        yolox.output_of(outputs, "x.onnx")


@pytest.mark.parametrize("count", [84, 300, 25200, 8400])
def test_other_numbers_of_predictions_are_refused(count):
    with pytest.raises(UserError, match=f"it gives {count} predictions for 416 x 416 pixels"):
        yolox.strides_of(count, 416, 416, "x.onnx")


@pytest.mark.parametrize("content", [b"", b"no model", bytes(range(256)) * 40, b"\x08\x07" * 3])
def test_files_that_are_no_models_end_in_one_line(tmp_path, content):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(Damaged, match="is not a readable ONNX file") as caught:
        yolox.open_session(path, 1)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(NotFound, match="does not exist"):
        yolox.open_session(tmp_path / "x.onnx", 1)
    with pytest.raises(UserError, match="is not a file"):
        yolox.open_session(tmp_path, 1)
