"""A page that plays the pieces that a search found: one HTML file with everything in it."""

import base64
import dataclasses
import fractions
import hashlib
import html
import io
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import IO

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from stvh_jax import files
from stvh_jax.errors import UserError
from stvh_jax.times import clock_seconds
from stvh_jax.video.containers import load_av
from stvh_jax.video.piece_frames import (
    BT_709,
    even,
    opened,
    shown_frames,
    upright,
    upright_size,
)
from stvh_jax.video.pieces import Piece, check_pieces, one_line
from stvh_jax.video.player_page import SCRIPT, STYLE
from stvh_jax.video.video_files import Encoded, encoder, new_mp4

# Clips are small, so that many fit into a page.
_HEIGHT, _WIDTH, _MOST_RATE = 240, 640, 30
# Baseline H.264 plays in every browser.
_CLIP = {"crf": "30", "preset": "medium", "profile": "baseline"}
_TICK = fractions.Fraction(1, 60000)
# A page holds so many seconds of a piece.
_MOST_SECONDS = 30.0
_POSTER_QUALITY = 55
# Boxes are written as whole numbers of this part of the frame.
_BOX_UNITS = 10_000


@dataclasses.dataclass(frozen=True)
class MovingBoxes:
    """Boxes of people in a piece over time.

    Attributes:
      times: when they are where, in seconds from the beginning of the video, increasing.
      boxes: `[y_min, x_min, y_max, x_max]` in 0..1 of the frame at these times, NaN where a person
        is not seen.
    """

    times: Float[np.ndarray, "T"]
    boxes: Float[np.ndarray, "T N 4"]


@dataclasses.dataclass(frozen=True)
class _Clip:
    """A piece as it stands in a page: its size, its video and its first picture."""

    width: int
    height: int
    video: bytes
    poster: bytes


def write_player(
    path: os.PathLike | str,
    pieces: Sequence[Piece],
    boxes: Sequence[MovingBoxes | None] | None = None,
    *,
    title: str,
    report: Callable[[str], None] | None = None,
) -> None:
    """Writes a page that plays pieces in a grid, in order, each in a silent loop.

    It is one file that loads nothing from anywhere: clips are encoded anew, 240 pixels high, in the
    H.264 that every browser plays, and take about 120 kB for two seconds. Only what is in view
    plays, and nothing by itself where the system asks for little motion; the page can be used
    without a mouse, and shows the clips without its script, too. Of a longer piece it has the first
    30 seconds.

    Args:
      path: the file to write, `.html`.
      pieces: what to show.
      boxes: for each piece the people to draw over it, or None.
      title: the heading.
      report: called with a line for each piece that is encoded, and with one for the page.

    Raises:
      UserError: there is no piece, or it is beyond the end of its video, or the boxes do not fit
        the pieces, or a file cannot be read or written.
      NotFound: a video is missing.
      Damaged: a file is no video.
    """
    check_pieces(pieces)
    drawn = _checked(boxes, len(pieces))
    if encoder() != "libx264":
        raise UserError("this build of PyAV cannot encode H.264, which pages need; pip install av")
    path = files.output(path)
    with (
        files.writing(path),
        files.replacing(path) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        file.write(_head(one_line(title), pieces, boxed=any(drawn)))
        for rank, (piece, people) in enumerate(zip(pieces, drawn), start=1):
            _write_card(file, rank, piece, _clip(piece), people)
            if report:
                report(f"clip {rank} of {len(pieces)}")
        file.write(f"</ol>\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n")
        size = file.tell()
    if report:
        report(f"{path}: {len(pieces)} clips, {size / 1e6:.1f} MB; without sound")


def _checked(
    boxes: Sequence[MovingBoxes | None] | None, count: int
) -> Sequence[MovingBoxes | None]:
    if boxes is None:
        return [None] * count
    if len(boxes) != count:
        raise UserError(f"boxes are given for {len(boxes)} pieces, but there are {count}")
    for rank, people in enumerate(boxes, start=1):
        if people is None:
            continue
        times, known = people.times, people.boxes[np.isfinite(people.boxes)]
        if people.boxes.shape != (len(times), people.boxes.shape[1], 4):
            raise UserError(
                f"piece {rank} has {len(times)} times and boxes {people.boxes.shape}; give boxes "
                "[times, people, 4]"
            )
        if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
            raise UserError(f"the times of the boxes of piece {rank} do not increase")
        if np.isinf(people.boxes).any() or (np.abs(known - 0.5) > 1.5).any():
            raise UserError(
                f"piece {rank} has boxes beyond the frame; give y_min, x_min, y_max, x_max in 0..1"
            )
    return boxes


def _clip(piece: Piece) -> _Clip:
    """Encodes a piece small."""
    if piece.length > _MOST_SECONDS:
        piece = dataclasses.replace(piece, stop=piece.start + _MOST_SECONDS)
    video, poster, size, due = None, b"", (0, 0), 0.0
    with tempfile.TemporaryDirectory() as folder, opened(piece.media) as footage:
        path = pathlib.Path(folder) / "clip.mp4"
        with new_mp4(path) as container:
            for shown in shown_frames(footage, piece):
                # Every second frame of 50 or 60 is left out.
                if shown.at < due:
                    continue
                due = shown.at + 0.9 / _MOST_RATE
                if video is None:
                    size = _small(upright_size(footage, shown.frame.rotation))
                    rate = min(footage.rate, fractions.Fraction(_MOST_RATE))
                    video = Encoded(container, size, rate, _TICK, options=_CLIP)
                    for name in ("colorspace", "color_primaries", "color_trc"):
                        setattr(video.context, name, BT_709)
                planes = upright(shown.frame, size, high_definition=True)
                poster = poster or _poster(planes)
                video.put(planes, shown.at, shown.lasts)
            if video is not None:
                video.finish()
        return _Clip(*size, path.read_bytes(), poster)


def _small(size: tuple[int, int]) -> tuple[int, int]:
    """Gives the size of a clip, as the video is or smaller."""
    scale = min(1.0, _HEIGHT / size[1], _WIDTH / size[0])
    return even(size[0] * scale), even(size[1] * scale)


def _poster(planes: UInt8[np.ndarray, "R W"]) -> bytes:
    """Gives a picture as JPEG."""
    frame = load_av().VideoFrame.from_ndarray(planes, format="yuv420p")
    pixels = frame.to_ndarray(format="rgb24", src_colorspace=BT_709, src_color_range=1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_POSTER_QUALITY)
    return buffer.getvalue()


def _hash(text: str) -> str:
    """Names a script or style, so that the browser runs this one and no other."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def _head(title: str, pieces: Sequence[Piece], *, boxed: bool) -> str:
    policy = (
        f"default-src 'none'; img-src data:; media-src data: blob:; style-src {_hash(STYLE)}; "
        f"script-src {_hash(SCRIPT)}; base-uri 'none'; form-action 'none'"
    )
    matches = len({piece.match or str(piece.media) for piece in pieces})
    counted = f"{_many(len(pieces), 'piece')} of {_many(matches, 'video')}"
    button = "<button type=button id=boxes aria-pressed=true>Boxes</button>" if boxed else ""
    return (
        "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        f'<meta http-equiv=Content-Security-Policy content="{policy}">\n'
        "<meta name=referrer content=no-referrer>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header><div><h1>{html.escape(title)}</h1>\n<p>{counted}</p></div>\n"
        "<div id=controls hidden><span id=keys><kbd>j</kbd> <kbd>k</kbd> move "
        "<kbd>space</kbd> plays</span>"
        f"{button}<button type=button id=all>Pause all</button></div></header>\n<main>\n<ol>\n"
    )


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _write_card(
    file: IO[str], rank: int, piece: Piece, clip: _Clip, people: MovingBoxes | None
) -> None:
    match, label = html.escape(one_line(piece.match)), html.escape(one_line(piece.label))
    time = clock_seconds(piece.start)
    name = " ".join(filter(None, [str(rank), match, time, label]))
    distance = ""
    if piece.distance is not None:
        distance = f"{piece.distance:.4g} bit{'' if piece.distance == 1 else 's'}"
    cut_off = f" (first {_MOST_SECONDS:.0f} s)" if piece.length > _MOST_SECONDS else ""
    file.write(
        f"<li><div class=stage>"
        f'<video muted loop playsinline controls preload=none aria-label="{name}" '
        f"width={clip.width} height={clip.height} "
        f'poster="data:image/jpeg;base64,{base64.b64encode(clip.poster).decode()}" '
        f'src="data:video/mp4;base64,'
    )
    file.write(base64.b64encode(clip.video).decode())
    file.write(
        f'"></video><svg viewBox="0 0 {clip.width} {clip.height}" aria-hidden=true></svg>'
        f'<button type=button class=toggle aria-label="Play {name}" hidden></button></div>\n'
        f"<div class=facts><b class=rank>{rank}</b><span class=match>{match}</span>"
        f"<span class=time>{time}{cut_off}</span>"
        f"<span class=label>{label}</span><span class=distance>{distance}</span></div>\n"
    )
    if people is not None:
        # A data block, which no browser runs; and no text of the user's is in it.
        data = json.dumps(_box_data(piece, people), separators=(",", ":"))
        file.write(f"<script type=application/json>{data}</script>\n")
    file.write("</li>\n")


def _box_data(piece: Piece, people: MovingBoxes) -> dict[str, list]:
    """Gives the boxes for the script: milliseconds from the start, and who is seen then."""
    near = (people.times >= piece.start - 1) & (people.times <= piece.stop + 1)
    boxes = []
    for frame in people.boxes[near]:
        seen = frame[np.isfinite(frame).all(axis=-1)]
        boxes.append(np.rint(seen * _BOX_UNITS).astype(int).ravel().tolist())
    times = np.rint((people.times[near] - piece.start) * 1000).astype(int)
    return {"times": times.tolist(), "boxes": boxes}
