import math

import pytest

from stvh_jax.errors import NotFound, UserError
from stvh_jax.video.pieces import Piece, caption, check_pieces, file_name


def test_names_of_files_are_safe_on_every_system():
    piece = Piece("a.mp4", 751.5, 753, 'r<>:"/\\|?*\0\n\u202espike. ', "../match")
    name = file_name(1, piece, 7)
    assert name == "001 _match 0-12-31 r_________ spike.mp4"
    assert file_name(12, Piece("a", 0, 1), 1234) == "0012 0-00-00.mp4"
    long = file_name(1, Piece("a", 0, 1, "é" * 500, "字" * 500), 1)
    assert len(long.encode()) <= 255


def test_a_caption_is_one_line():
    assert (
        caption(3, Piece("a", 751, 752, "two\nlines\x1b", "m")) == "3  m  0:12:31  two lines\\x1b"
    )


@pytest.mark.parametrize(
    "times", [(-1, 2), (2, 2), (3, 2), (math.nan, 2), (0, math.inf), (0, 1e300)]
)
def test_impossible_times_are_refused(times):
    with pytest.raises(UserError, match="piece 1 goes from"):
        check_pieces([Piece(__file__, *times)])


def test_missing_videos_and_no_pieces_are_refused(tmp_path):
    with pytest.raises(NotFound, match=r"piece 2.*gone\.mp4"):
        check_pieces([Piece(__file__, 0, 1), Piece(tmp_path / "gone.mp4", 0, 1)])
    with pytest.raises(UserError, match="no piece"):
        check_pieces([])
