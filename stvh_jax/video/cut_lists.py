"""Lists of pieces for other programs: cutting desks, spreadsheets, video sites."""

import csv
import io
import os
import pathlib
import re
from collections.abc import Sequence

from stvh_jax import files
from stvh_jax.errors import UserError
from stvh_jax.times import clock_milliseconds, clock_seconds
from stvh_jax.video.piece_frames import opened
from stvh_jax.video.pieces import Piece, check_pieces, one_line

# An edit list of this kind numbers its events with three digits, and its clock has 24 hours.
_MOST_EVENTS, _DAY = 999, 24 * 3600
_LONGEST_TITLE = 70
_TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)")
# With one of these at its beginning a spreadsheet takes a text for a formula and computes it.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
_COLUMNS = (
    *("rank", "match", "media", "start", "stop", "start_seconds", "stop_seconds"),
    *("label", "distance"),
)


def write_edl(
    path: os.PathLike | str, pieces: Sequence[Piece], *, title: str = "Search results"
) -> None:
    """Writes an edit decision list, CMX 3600, which cutting programs turn into a timeline.

    Times of the source count the frames of the video, from its own time code if it has one. All
    time codes are without dropped frames, of 30 frames a second for 29.97. On the timeline the
    pieces follow one another from 01:00:00:00 on.

    Args:
      path: the file to write, `.edl`.
      pieces: the events, 999 at most, of videos of one frame rate.
      title: of the timeline.

    Raises:
      UserError: there is no piece or there are too many, or the videos have several rates, or a
        file cannot be read or written.
      NotFound: a video is missing.
      Damaged: a file is no video.
    """
    check_pieces(pieces)
    if len(pieces) > _MOST_EVENTS:
        raise UserError(
            f"an edit list holds {_MOST_EVENTS} pieces at most, not {len(pieces)}; write several "
            "lists"
        )
    clocks = _clocks(pieces)
    nominal = next(iter(clocks.values()))[1]
    lines = [f"TITLE: {one_line(title)[:_LONGEST_TITLE]}", "FCM: NON-DROP FRAME", ""]
    record = 3600 * nominal
    for number, piece in enumerate(pieces, start=1):
        rate, _, first = clocks[str(piece.media)]
        start = round(piece.start * rate)
        count = max(1, round(piece.stop * rate) - start)
        times = (first + start, first + start + count, record, record + count)
        record += count
        codes = " ".join(_time_code(frames, nominal) for frames in times)
        lines.append(f"{number:03d}  AX       V     C        {codes}")
        lines.append(f"* FROM CLIP NAME: {one_line(pathlib.Path(piece.media).name)}")
        comment = " ".join(filter(None, [one_line(piece.match), one_line(piece.label)]))
        lines += [f"* COMMENT: {comment}"] if comment else []
    with files.writing(path):
        files.write(path, "\n".join(lines) + "\n")


def write_csv(path: os.PathLike | str, pieces: Sequence[Piece]) -> None:
    """Writes a table: rank, match, media, start and stop twice over, label, distance.

    `start` and `stop` are h:mm:ss.mmm, `start_seconds` and `stop_seconds` numbers. A text that a
    spreadsheet would take for a formula has an apostrophe before it.

    Raises:
      UserError: there is no piece, or the file cannot be written.
    """
    check_pieces(pieces, on_disk=False)
    text = io.StringIO()
    # Quoted, a text stays one cell in spreadsheets that separate cells by something else, too.
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for rank, piece in enumerate(pieces, start=1):
        times = (piece.start, piece.stop)
        writer.writerow(
            [
                rank,
                _cell(piece.match),
                _cell(os.fspath(piece.media)),
                *map(clock_milliseconds, times),
                *(round(float(time), 6) for time in times),
                _cell(piece.label),
                "" if piece.distance is None else float(piece.distance),
            ]
        )
    with files.writing(path):
        files.write(path, text.getvalue())


def write_chapters(path: os.PathLike | str, pieces: Sequence[Piece]) -> None:
    """Writes the chapters of a reel of these pieces, lines of a YouTube description: `0:00 label`.

    The times are those at which `reel` shows the pieces. YouTube makes chapters of them only if
    there are three at least, each of ten seconds or more; of shorter pieces the lines are true all
    the same, and readers can click them.

    Raises:
      UserError: there is no piece, or the file cannot be written.
    """
    check_pieces(pieces, on_disk=False)
    lines, elapsed = [], 0.0
    for rank, piece in enumerate(pieces, start=1):
        # YouTube takes no angle brackets.
        words = [one_line(piece.match), clock_seconds(piece.start), one_line(piece.label)]
        text = " ".join(filter(None, words)).replace("<", "‹").replace(">", "›")
        lines.append(f"{_minutes(elapsed)} {rank}. {text}")
        elapsed += piece.length
    with files.writing(path):
        files.write(path, "\n".join(lines) + "\n")


def _clocks(pieces: Sequence[Piece]) -> dict[str, tuple[float, int, int]]:
    """Gives of each video its rate, that of its time code, and the frame of its beginning."""
    clocks = {}
    for piece in pieces:
        if str(piece.media) in clocks:
            continue
        with opened(piece.media) as footage:
            nominal = max(1, round(footage.rate))
            known = footage.stream.metadata | footage.container.metadata
            first = _frame_of(known.get("timecode", ""), nominal)
            clocks[str(piece.media)] = (float(footage.rate), nominal, first)
        before = next(iter(clocks.values()))[1]
        if nominal != before:
            raise UserError(
                f"{piece.media} has {nominal} frames a second, and {pieces[0].media} has {before}; "
                "an edit list has one frame rate: write a list for each rate"
            )
    return clocks


def _frame_of(timecode: str, nominal: int) -> int:
    """Gives the frame that a time code names, 0 for none."""
    match = _TIMECODE.fullmatch(timecode)
    if match is None:
        return 0
    hours, minutes, seconds, frames = (int(match[place]) for place in (1, 2, 3, 5))
    minutes += 60 * hours
    # Dropped are the names of two frames at 30 in each minute but every tenth.
    dropped = 0 if match[4] == ":" else round(nominal / 15) * (minutes - minutes // 10)
    return (60 * minutes + seconds) * nominal + frames - dropped


def _time_code(frames: int, nominal: int) -> str:
    seconds, frame = divmod(frames, nominal)
    minutes, second = divmod(seconds % _DAY, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}:{frame:02d}"


def _minutes(seconds: float) -> str:
    """Writes a time as YouTube does: 0:00, 12:31, 1:02:17."""
    text = clock_seconds(seconds + 1e-6)  # sums of tenths fall short of whole seconds
    return text.removeprefix("0:").removeprefix("0") if text.startswith("0:") else text


def _cell(text: str) -> str:
    text = "".join(c if c >= " " or c in "\t\r\n" else " " for c in text)
    return f"'{one_line(text)}" if text.lstrip(" ").startswith(_FORMULA) else one_line(text)
