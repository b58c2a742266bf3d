"""Cuts pieces out of videos, each into a file of its own."""

import itertools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from stvh_jax import files
from stvh_jax.errors import Exists, UserError
from stvh_jax.video.piece_frames import (
    CLOSE,
    Footage,
    even,
    opened,
    shown_frames,
    upright,
)
from stvh_jax.video.pieces import Piece, check_pieces, file_name
from stvh_jax.video.video_files import Encoded, local_path, new_mp4, usable_time_base

# What may stand in an MP4 file so that common players show it; other streams are encoded anew.
_COPIED = {"h264", "hevc", "av1"}
# So many frames are stored before one that is shown earlier, at most.
_MOST_UNTIMED = 16
# A copy may begin so many seconds before its piece, whatever the margin.
_EARLY = 0.1


def cut(
    pieces: Sequence[Piece],
    folder: os.PathLike | str,
    *,
    margin: float | int = 0.0,
    report: Callable[[str], None] | None = None,
) -> list[pathlib.Path]:
    """Cuts each piece into an MP4 file of its own, `001 match 0-12-31 r_spike.mp4`.

    Where a key frame is at most 0.1 s before the start of a piece, or within the margin, the
    video stream is copied as it is, at once and without loss: the file then begins at that key
    frame, keeps the video's rotation, and may end a few frames late, where frames are stored out of
    order. Else the piece is encoded anew, in H.264 of 8 bits, or in MPEG-4 where this PyAV cannot:
    it then shows exactly what is on display from the start to the stop, with the times of the
    frames, upright. Sound is left out.

    Args:
      pieces: what to cut, in order.
      folder: where the files go; it is new or empty.
      margin: how many seconds early a copy may begin.
      report: called with a line for each file, which says whether it was copied, and at the end
        with one for all.

    Returns:
      The paths of the files. Each is written whole or not at all; after an error those before stay.

    Raises:
      UserError: there is no piece, or it is beyond the end of its video, or a file cannot be read
        or written.
      NotFound: a video is missing.
      Damaged: a file is no video.
      Exists: the folder is not empty.
    """
    check_pieces(pieces)
    if not 0 <= margin < float("inf"):
        raise UserError(f"the margin is {margin}; give seconds, 0 or more")
    folder = _empty_folder(folder)
    tell = report or (lambda line: None)
    paths, copies = [], 0
    for rank, piece in enumerate(pieces, start=1):
        path = folder / file_name(rank, piece, len(pieces))
        with opened(piece.media) as footage:
            copied = _copy(footage, piece, path, max(_EARLY, float(margin)))
            if not copied:
                _encode(footage, piece, path)
        tell(f"{path.name}: {'copied' if copied else 'encoded anew'}")
        copies += copied
        paths.append(path)
    many = f"{len(paths)} file{'' if len(paths) == 1 else 's'}"
    tell(f"{many}: {copies} copied, {len(paths) - copies} encoded anew; without sound")
    return paths


def _empty_folder(folder: os.PathLike | str) -> pathlib.Path:
    path = local_path(folder)
    with files.writing(path):
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise Exists(f"{path} is not empty; give a new folder for the pieces")
    return path


def _copy(footage: Footage, piece: Piece, path: pathlib.Path, early: float) -> bool:
    """Copies a piece; says whether it could be done, and writes nothing if not."""
    known = footage.stream.codec_context.codec.name in _COPIED
    if not known or footage.container.format.name == "avi":  # which does not say when a frame is
        return False
    with files.reading(footage.path, "a readable video"):
        key = _key_frame(footage, piece.start)
    if key is None or footage.time_of(key) < piece.start - early - CLOSE:
        return False
    try:
        with new_mp4(path) as container:
            return _copy_packets(footage, piece, key, container)
    except _NotCopied:
        return False


class _NotCopied(UserError):
    """A stream cannot be copied, so that the file begun is dropped."""


def _key_frame(footage: Footage, start: float | int) -> int | None:
    """Finds the time stamp of the last key frame at the start of a piece or before it."""
    key = None
    for packet in footage.packets(start):
        if packet.dts is not None and footage.time_of(packet.dts) > start + CLOSE:
            break
        early = packet.pts is not None and footage.time_of(packet.pts) <= start + CLOSE
        if packet.is_keyframe and early:
            key = packet.pts
    return key


def _copy_packets(footage: Footage, piece: Piece, key: int, container: Any) -> bool:
    stream = container.add_stream_from_template(footage.stream)
    if footage.stream.codec_context.codec.name == "hevc":
        stream.codec_context.codec_tag = "hvc1"  # Apple's players know it by no other
    end = None
    for packet in _needed(footage, piece, key):
        end = max(end or 0, packet.pts + packet.duration)
        packet.pts, packet.dts = packet.pts - key, packet.dts - key
        packet.stream = stream
        container.mux(packet)
    # Decoding says best what is wrong with a piece beyond the end.
    if end is None or footage.time_of(end) < piece.stop - 1:
        raise _NotCopied
    return True


def _needed(footage: Footage, piece: Piece, key: int) -> Iterator[Any]:
    """Gives the packets of a piece in the order in which they are decoded.

    What is shown after the piece is among them where a frame of the piece is decoded from it, and
    then all that is shown before that, so that no frame is missing in between.
    """
    begun, end = False, key  # all that is shown before this is needed
    held = []  # packets of later frames, which may be needed
    with files.reading(footage.path, "a readable video"):
        for packet in _with_times(footage.packets(piece.start)):
            begun = begun or (packet.is_keyframe and packet.pts == key)
            if not begun or packet.pts < key:  # these are shown, and decoded, before the key frame
                continue
            held.append(packet)
            if packet.pts < end or footage.time_of(packet.pts) < piece.stop - CLOSE:
                end = max(end, *(needed.pts for needed in held))
                yield from held
                held = []
            elif packet.dts >= end and footage.time_of(packet.dts) >= piece.stop - CLOSE:
                return


def _with_times(packets: Iterator[Any]) -> Iterator[Any]:
    """Says of packets when they are decoded, where Matroska leaves it out: of the first few."""
    untimed = []
    for packet in packets:
        if packet.size == 0:  # the end
            break
        if packet.pts is None or packet.is_corrupt or len(untimed) > _MOST_UNTIMED:
            raise _NotCopied
        untimed.append(packet)
        if packet.dts is not None:
            for before, after in itertools.pairwise(reversed(untimed)):
                after.dts = before.dts - max(1, after.duration or 0)
            yield from untimed
            untimed = []
    if untimed:
        raise _NotCopied


def _encode(footage: Footage, piece: Piece, path: pathlib.Path) -> None:
    """Encodes what is on display in a piece."""
    video = None
    time_base = usable_time_base(footage.stream.time_base)
    with new_mp4(path) as container:
        size = (0, 0)
        for shown in shown_frames(footage, piece):
            frame = shown.frame
            if video is None:
                turned = frame.rotation % 180
                width, height = even(frame.width), even(frame.height)
                size = (height, width) if turned else (width, height)
                video = Encoded(container, size, footage.rate, time_base)
                _describe(video, footage, frame, bool(turned))
            video.put(upright(frame, size), shown.at, shown.lasts)
        if video is not None:
            video.finish()


def _describe(video: Encoded, footage: Footage, frame: Any, turned: bool) -> None:
    """Passes on what the pixels mean: their shape and their colours."""
    ratio = footage.stream.sample_aspect_ratio
    if ratio:
        video.context.sample_aspect_ratio = 1 / ratio if turned else ratio
    for name in ("colorspace", "color_primaries", "color_trc"):
        setattr(video.context, name, int(getattr(frame, name)))
