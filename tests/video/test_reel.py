import av
import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.video.pieces import Piece
from stvh_jax.video.reel import reel
from tests.helpers.numbered_videos import read_numbers, write_video


def frames(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


def test_a_reel_shows_pieces_in_order_at_the_first_rate(tmp_path):
    first = write_video(tmp_path / "a.mp4")
    second = write_video(tmp_path / "b.mkv", 100, rate=50, size=(512, 192))
    pieces = [Piece(first, 0.2, 0.6, "r_spike", "a"), Piece(second, 1.0, 1.2), Piece(first, 0, 0.1)]
    lines = []
    reel(pieces, tmp_path / "reel.mp4", report=lines.append)
    read = read_numbers(tmp_path / "reel.mp4")
    # Of 50 frames a second every other is shown; 0.7 seconds are 17.5 frames.
    expected = [*range(5, 15), *range(50, 60, 2), *range(3)]
    assert abs(len(read) - 17.5) <= 0.5
    assert [number for number, _ in read] == expected[: len(read)]
    np.testing.assert_allclose([time for _, time in read], np.arange(len(read)) / 25)
    assert lines == ["piece 1 of 3", "piece 2 of 3", "piece 3 of 3"]


def test_other_shapes_get_black_bars_and_stay_in_the_middle(tmp_path):
    tall = write_video(tmp_path / "a.mp4", rotation=90)  # 96 x 256 as displayed
    reel([Piece(tall, 0.6, 0.8)], tmp_path / "reel.mp4", size=(320, 256))
    picture = frames(tmp_path / "reel.mp4")[0]  # number 15: the blocks at the bottom left
    assert picture.shape == (256, 320)
    assert picture[:200, :110].max() < 20 and picture[:200, 210:].max() < 20
    assert picture[150:200, 116:140].min() > 200  # three of four blocks are above the band


def test_the_label_is_drawn_on_every_frame_of_its_piece(tmp_path):
    video = write_video(tmp_path / "a.mp4", size=(640, 360))
    pieces = [Piece(video, 0, 0.2, "r_spike", "m"), Piece(video, 0, 0.2, "long " * 99, "m")]
    reel(pieces, tmp_path / "reel.mp4")
    bands = [picture[-30:].astype(int) for picture in frames(tmp_path / "reel.mp4")]
    assert all(band.max() > 200 for band in bands)
    assert np.abs(bands[0] - bands[4]).mean() < 2 < np.abs(bands[0] - bands[5]).mean()
    assert bands[0][:, 400:].max() < 60 and bands[5][:, 400:].max() > 200
    assert bands[5][:, -4:].max() < 60  # it was cut off to fit


def test_a_reel_that_cannot_be_made_leaves_what_was_there(tmp_path):
    video = write_video(tmp_path / "a.mp4")
    path = tmp_path / "reel.mp4"
    path.write_text("old")
    with pytest.raises(UserError, match="ends at"):
        reel([Piece(video, 0, 0.2), Piece(video, 5, 6)], path)
    with pytest.raises(UserError, match="2 x 2 pixels"):
        reel([Piece(video, 0, 0.2)], path, size=(2, 2))
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(UserError, match="cannot write"):
        reel([Piece(video, 0, 0.2)], tmp_path / "no folder" / "reel.mp4")
