import csv
import fractions

import pytest

from stvh_jax.errors import UserError
from stvh_jax.video.cut_lists import write_chapters, write_csv, write_edl
from stvh_jax.video.pieces import Piece
from tests.helpers.numbered_videos import write_video


def test_an_edit_list_as_computed_by_hand(tmp_path):
    video = write_video(tmp_path / "match.mp4", 2)
    write_edl(
        tmp_path / "a.edl",
        [Piece(video, 751.48, 753.0, "r_spike", "m"), Piece(video, 3661.04, 3662.0)],
        title="Spikes\nof today",
    )
    assert (tmp_path / "a.edl").read_text() == (
        "TITLE: Spikes of today\n"
        "FCM: NON-DROP FRAME\n"
        "\n"
        "001  AX       V     C        00:12:31:12 00:12:33:00 01:00:00:00 01:00:01:13\n"
        "* FROM CLIP NAME: match.mp4\n"
        "* COMMENT: m r_spike\n"
        "002  AX       V     C        01:01:01:01 01:01:02:00 01:00:01:13 01:00:02:12\n"
        "* FROM CLIP NAME: match.mp4\n"
    )


def test_29_97_frames_a_second_are_counted_in_30(tmp_path):
    video = write_video(tmp_path / "a.mp4", 5, rate=fractions.Fraction(30000, 1001))
    write_edl(tmp_path / "a.edl", [Piece(video, 1001.0, 1002.001)])
    assert "00:16:40:00 00:16:41:00 01:00:00:00" in (tmp_path / "a.edl").read_text()


def test_videos_of_several_rates_and_too_many_events_are_refused(tmp_path):
    one, other = write_video(tmp_path / "a.mp4", 2), write_video(tmp_path / "b.mp4", 2, rate=50)
    with pytest.raises(UserError, match="50 frames a second.*a.mp4 has 25"):
        write_edl(tmp_path / "a.edl", [Piece(one, 0, 1), Piece(other, 0, 1)])
    with pytest.raises(UserError, match="999 pieces at most, not 1000"):
        write_edl(tmp_path / "a.edl", [Piece(one, 0, 1)] * 1000)


def test_a_table_is_safe_for_spreadsheets(tmp_path):
    pieces = [
        Piece("/v/a.mp4", 751.25, 3662, "r_spike", "m", 3),
        Piece("=b.mp4", 0, 1, " \t=1+1", "-m;@x"),
    ]
    write_csv(tmp_path / "a.csv", pieces)
    with (tmp_path / "a.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first == {
        "rank": "1",
        "match": "m",
        "media": "/v/a.mp4",
        "start": "0:12:31.250",
        "stop": "1:01:02.000",
        "start_seconds": "751.25",
        "stop_seconds": "3662.0",
        "label": "r_spike",
        "distance": "3.0",
    }
    assert (second["media"], second["label"]) == ("'=b.mp4", "'=1+1")
    assert (second["match"], second["distance"]) == ("'-m;@x", "")


def test_chapters_begin_where_the_pieces_do(tmp_path):
    lengths = [12.5, 1200, 3600, 1]
    pieces = [Piece("a.mp4", 60, 60 + length, f"<{length}>", "m") for length in lengths]
    write_chapters(tmp_path / "a.txt", pieces)
    assert (tmp_path / "a.txt").read_text() == (
        "0:00 1. m 0:01:00 ‹12.5›\n"
        "0:12 2. m 0:01:00 ‹1200›\n"
        "20:12 3. m 0:01:00 ‹3600›\n"
        "1:20:12 4. m 0:01:00 ‹1›\n"
    )


def test_lists_that_cannot_be_written_say_so_in_a_line(tmp_path):
    for write in (write_csv, write_chapters):
        with pytest.raises(UserError, match="cannot write"):
            write(tmp_path / "no folder" / "a", [Piece("a", 0, 1)])
