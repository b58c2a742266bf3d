"""Pictures of hits: their key frames, from the prepared set or from the videos themselves."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import UInt8

from stvh_jax import files
from stvh_jax.errors import UserError
from stvh_jax.reporting import pages
from stvh_jax.retrieval import moved_videos
from stvh_jax.retrieval.asking import Asked
from stvh_jax.retrieval.groups import Groups
from stvh_jax.retrieval.hits import GRIDS, Hits, check_output
from stvh_jax.retrieval.moments import Moment
from stvh_jax.times import clock_tenths
from stvh_jax.video.footage import VideoFile, open_video
from stvh_jax.video.frames import read_frames

# The height of a picture from a video, in pixels.
_HEIGHT = 360

Image = UInt8[np.ndarray, "H W 3"]

# Gives the key frames of some clips of a split, by the prepared set's own (match, clip).
KeyFrames = Callable[[str, set[tuple]], dict[tuple, Image]]


def write_grid(
    path: epath.PathLike,
    asked: Asked,
    found: Hits | Sequence[Moment],
    key_frames: Callable[[], KeyFrames],
    *,
    focus: str | float,
) -> list[epath.Path]:
    """Draws the query's clip, if it has one, and what was found, twenty pictures a page.

    Args:
      path: the PNG or SVG file to write; further pages are `-2`, `-3` and so on.
      asked: what was searched for; the first of several clips is shown.
      found: hits, or moments, of which each shows its nearest hit.
      key_frames: opens the prepared set, where a picture is in it.
      focus: the focus searched.

    Returns:
      The files.

    Raises:
      UserError: the file has another ending or cannot be written, a clip has no picture, or
        Matplotlib is not installed.
    """
    checked = check_output(path, GRIDS)
    plots = pages.load_plots()
    hits = [each.best if isinstance(each, Moment) else each for each in found]
    records = [{"match": hit.match, "clip": hit.clip, **hit.record} for hit in hits]
    distances: list[float | None] = [hit.distance for hit in hits]
    clips, given = asked.clips, []
    if clips is not None and clips.image is None and clips.records[0]["match"] is None:
        clips = None  # boxes without frames have no picture
    if clips is not None:
        records, distances = [clips.records[0], *records], [None, *distances]
        given = [] if clips.image is None else [clips.image]
    images = [*given, *_images(records[len(given) :], key_frames)]
    pictures = [
        _found(plots, record, image, distance)
        for record, image, distance in zip(records, images, distances)
    ]
    query = None if clips is None else pictures.pop(0)
    compares_match = str(focus) in ("visual", "0", "0.0")
    title = f"Like {asked.title} at focus {focus}"
    figures = plots.hit_pages(query, pictures, title=title, compares_match=compares_match)
    return _written(plots, checked, figures)


def write_groups(
    path: epath.PathLike,
    groups: Groups,
    key_frames: Callable[[], KeyFrames],
    *,
    focus: str | float,
) -> list[epath.Path]:
    """Draws the clips that stand for each group, one group a row, four a page.

    Args:
      path: as for `write_grid`.
      groups: at least one.
      key_frames: opens the prepared set, where a picture is in it.
      focus: the focus of the groups.

    Returns:
      The files.

    Raises:
      UserError: as `write_grid`.
    """
    checked = check_output(path, GRIDS)
    plots = pages.load_plots()
    shown = [[group.representative, *group.others] for group in groups]
    images = iter(_images([record for records in shown for record in records], key_frames))
    rows = [
        (
            f"{group.name or f'group {group.number}'}, {len(group)} clips",
            [_found(plots, record, next(images)) for record in records],
        )
        for group, records in zip(groups, shown)
    ]
    title = f"{len(groups)} groups of {groups.clips} clips at focus {focus}"
    return _written(plots, checked, plots.group_pages(rows, title=title))


def _found(plots: Any, record: dict, image: Image, distance: float | None = None) -> Any:
    """Gives a clip as it is drawn."""
    return plots.Found(
        image,
        record["activity"] or record["predicted"] or "unknown",
        record["match"] or "–",
        "" if record["start"] is None else clock_tenths(record["start"]),
        distance,
    )


def _written(plots: Any, path: epath.Path, figures: Sequence[Any]) -> list[epath.Path]:
    """Writes pages, the second as `-2` and so on, and names the files."""
    written = []
    for number, figure in enumerate(figures, start=1):
        name = path.name if number == 1 else f"{path.stem}-{number}{path.suffix}"
        page = path.parent / name
        with files.writing(page):
            files.write(page, plots.render(figure, kind=path.suffix[1:]))
        written.append(page)
    return written


def _images(records: Sequence[dict], key_frames: Callable[[], KeyFrames]) -> list[Image]:
    """Gives the key frame of each clip, reading each split and each video once."""
    images: dict[tuple, Image] = {}
    of_splits = [record for record in records if record["split"] is not None]
    names = [(record["split"], _name(record)) for record in of_splits]
    for split in dict.fromkeys(split for split, _ in names):
        wanted = {name for other, name in names if other == split}
        images |= key_frames()(split, wanted)
    of_videos: dict[str, list[dict]] = {}
    for record in records:
        if record["split"] is None:
            of_videos.setdefault(_media(record), []).append(record)
    for media, own in of_videos.items():
        images |= video_images(open_video(media), own)
    return [images[_name(record)] for record in records]


def _name(record: dict) -> tuple[str, str]:
    return record["match"], record["clip"]


def _media(record: dict) -> str:
    """Names the video of a clip.

    Raises:
      UserError: there is none, so that there is no picture of it.
    """
    media = record.get("media")
    if not media or record["start"] is None:
        raise UserError(
            f"clip {record['match']}/{record['clip']} is neither in a prepared set nor of a video, "
            "so there is no picture of it"
        )
    if not pathlib.Path(media).is_file():
        raise moved_videos.not_there(media)
    return media


def video_images(video: VideoFile, records: Sequence[dict]) -> dict[tuple, Image]:
    """Reads the middle frame of each of some clips of a video, at most 360 pixels high.

    Raises:
      UserError: one cannot be decoded.
    """
    middles = [(record["start"] + (record["stop"] or record["start"])) / 2 for record in records]
    numbers = [int(np.abs(video.times - middle).argmin()) for middle in middles]
    scale = min(1.0, _HEIGHT / video.height)
    size = max(2, round(video.height * scale)), max(2, round(video.width * scale))
    pictures = dict(read_frames(video, sorted(set(numbers)), size=size))
    missing = [record for record, number in zip(records, numbers) if number not in pictures]
    if missing:
        raise UserError(f"{video.path} cannot be decoded at {clock_tenths(missing[0]['start'])}")
    return {_name(record): pictures[number] for record, number in zip(records, numbers)}
