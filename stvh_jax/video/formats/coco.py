"""COCO's and COCO-VID's JSON: images, annotations with boxes, and the tracks they belong to."""

import dataclasses
import pathlib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from stvh_jax.errors import Damaged, NotFound, UserError, shown
from stvh_jax.video.formats.classes import listed, others_than_people
from stvh_jax.video.formats.mot import OTHERS
from stvh_jax.video.formats.named_columns import numbered_from
from stvh_jax.video.rows import Rows, Where, frame_numbers, lowest, people_of_names

CROWD = "crowds"

_FRAMES = ("frame_id", "frame_index", "frame_number", "frame")
_PEOPLE = ("track_id", "instance_id", "tracking_id", "tracker_id")
_NOTHING: Mapping[str, Any] = {}


@dataclasses.dataclass(frozen=True)
class _Images:
    """The images of one video: the frame of each by its id, and what they say of the video."""

    frames: Mapping[Any, int]
    first_frame: int
    size: tuple[int, int] | None
    note: str


def fits(content: Mapping[str, Any]) -> bool:
    """Says whether a JSON object is of this format."""
    return isinstance(content.get("annotations"), list) and isinstance(content.get("images"), list)


def videos_in(content: Mapping[str, Any]) -> list[str]:
    """Names the videos of a file.

    Raises:
      Damaged: an entry is malformed.
    """
    return list(_names(_objects(content, "videos")).values())


def read(
    content: Mapping[str, Any],
    classes: Collection[str] | None,
    video: str | None = None,
    stem: str = "",
) -> Rows:
    """Reads the boxes of one video.

    A frame's number is its image's `frame_id` or `frame_index`, else the last digits in its
    `file_name`, else its place in the list. A person is the annotation's `track_id` or
    `instance_id`, its own or among its `attributes`.

    Args:
      content: the JSON object.
      classes: the names or numbers of the categories that are people.
      video: the name of the video, where there are several.
      stem: of the file's name, taken for `video` where that is None.

    Raises:
      NotFound: there is no such video.
      Damaged: an entry is malformed.
      UserError: there are several videos, and it is not clear which is meant.
    """
    everything = _objects(content, "images")
    chosen, note = _of_video(everything, _objects(content, "videos"), video, stem)
    images = _images(chosen)
    known = {_key(image) for image in everything}
    kept, places = [], []
    for place, annotation in enumerate(_objects(content, "annotations"), start=1):
        image = _hashable(annotation.get("image_id"))
        if image not in known:
            raise Damaged(f"{_where(place)}: there is no image with the id {shown(image, 40)}")
        if image in images.frames:
            kept.append(annotation)
            places.append(place)
    places = np.array(places, np.int64)
    frames = [images.frames[_hashable(annotation["image_id"])] for annotation in kept]
    people, named = people_of_names([_person(annotation) for annotation in kept], places, _where)
    rows = Rows(
        frames=np.array(frames, np.int64),
        people=people,
        boxes=_boxes(kept, places),
        confidences=_scores(kept, places),
        places=places,
        where=_where,
        first_frame=images.first_frame,
        size=images.size,
    ).noting(note, images.note, named)
    return _people_alone(rows, kept, content, classes)


def _where(place: int) -> str:
    return f"annotation {place}"


def _objects(content: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    objects = content.get(name, [])
    if not isinstance(objects, list) or not all(isinstance(entry, dict) for entry in objects):
        raise Damaged(f"{name} is not a list of objects")
    return objects


def _hashable(value: Any) -> Any:
    if not isinstance(value, str | int):
        raise Damaged(f"{shown(value, 40)} is not an id")
    return value


def _key(image: Mapping[str, Any]) -> Any:
    return _hashable(image.get("id"))


def _names(videos: Sequence[dict[str, Any]]) -> dict[Any, str]:
    """Names the videos, by their ids."""
    names = {}
    for entry in videos:
        name = entry.get("name", entry.get("file_name"))
        names[_key(entry)] = str(_key(entry) if name is None else name)
    return names


def _of_video(
    images: Sequence[dict[str, Any]],
    videos: Sequence[dict[str, Any]],
    video: str | None,
    stem: str,
) -> tuple[Sequence[dict[str, Any]], str]:
    """Chooses the images of one video, and says which, where there are several."""
    names = _names(videos)
    if len(names) < 2:
        return images, ""
    wanted = stem if video is None else video
    found = [key for key, name in names.items() if wanted in (name, pathlib.PurePath(name).stem)]
    found = found or [key for key in names if str(key) == wanted and video is not None]
    if len(found) != 1:
        there = f"it has the videos {listed(list(names.values()))}"
        if video is None or len(found) > 1:
            raise UserError(f"{there}; choose one with video=")
        raise NotFound(f"it has no video {video!r}; {there}")
    chosen = [image for image in images if image.get("video_id") == found[0]]
    return chosen, f"the video is {names[found[0]]!r}, one of {len(names)}"


def _images(images: Sequence[dict[str, Any]]) -> _Images:
    """Reads the numbers of the frames."""
    if not images:
        raise UserError("it has no images of this video")
    keys = [_key(image) for image in images]
    places = np.arange(1, len(images) + 1)
    name = next((name for name in _FRAMES if all(name in image for image in images)), None)
    digits = [re.findall(r"[0-9]{1,15}", str(image.get("file_name", ""))) for image in images]
    note = ""
    if name is not None:
        values = _floats([image[name] for image in images], name, places, _image)
        frames = frame_numbers(values, places, _image)
    elif all(digits) and len({int(found[-1]) for found in digits}) == len(images):
        frames = np.array([int(found[-1]) for found in digits], np.int64)
        note = "the numbers of the frames are taken from the names of the images"
    else:
        frames = np.arange(len(images))
        note = "no image says which frame it is, so they are taken in their order"
    first_frame = lowest(frames)
    note = "; ".join(filter(None, [note, numbered_from(first_frame)]))
    return _Images(dict(zip(keys, frames.tolist())), first_frame, _size(images), note)


def _size(images: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """Gives width and height, where all images say the same."""
    sizes = {(str(image.get("width")), str(image.get("height"))) for image in images}
    width, height = next(iter(sizes))
    if len(sizes) > 1 or not (width + height).isdecimal() or len(width + height) > 20:
        return None
    return int(width), int(height)


def _image(place: int) -> str:
    return f"image {place}"


def _person(annotation: Mapping[str, Any]) -> Any:
    attributes = annotation.get("attributes")
    for source in (annotation, attributes if isinstance(attributes, dict) else _NOTHING):
        for name in _PEOPLE:
            if source.get(name) is not None:
                return source[name]
    return None


def _boxes(
    annotations: Sequence[Mapping[str, Any]], places: Int64[np.ndarray, "M"]
) -> Float64[np.ndarray, "M 4"]:
    boxes = np.zeros((len(annotations), 4))
    for row, annotation in enumerate(annotations):
        box = annotation.get("bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise Damaged(f"{_where(int(places[row]))}: bbox {shown(box, 60)} is not x, y, w, h")
        boxes[row] = box
    left, top, width, height = boxes.T
    with np.errstate(over="ignore", invalid="ignore"):
        return np.stack([top, left, top + height, left + width], axis=1)


def _scores(
    annotations: Sequence[Mapping[str, Any]], places: Int64[np.ndarray, "M"]
) -> Float64[np.ndarray, "M"]:
    scores = [entry.get("score", entry.get("confidence")) for entry in annotations]
    scores = [np.nan if score is None else score for score in scores]
    return _floats(scores, "score", places, _where)


def _floats(
    values: Sequence[Any], what: str, places: Int64[np.ndarray, "M"], where: Where
) -> np.ndarray:
    for place, value in zip(places.tolist(), values):
        if not _is_number(value):
            raise Damaged(f"{where(place)}: {what} {shown(value, 40)} is not a number")
    return np.array(values, np.float64)


def _is_number(value: Any) -> bool:
    # Whole numbers beyond all floats are none either.
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 1 << 1000
    return isinstance(value, float)


def _people_alone(
    rows: Rows,
    annotations: Sequence[Mapping[str, Any]],
    content: Mapping[str, Any],
    classes: Collection[str] | None,
) -> Rows:
    crowds = np.array([bool(entry.get("iscrowd")) for entry in annotations], bool)
    rows = rows.without(crowds, CROWD)
    categories = _objects(content, "categories")
    names = {_key(entry): str(entry.get("name", _key(entry))) for entry in categories}
    numbers = [
        _hashable(entry.get("category_id", 0))
        for entry, crowd in zip(annotations, crowds.tolist())
        if not crowd
    ]
    if not numbers or not names:
        return rows
    labels = [names.get(number, str(number)) for number in numbers]
    others, note = others_than_people(labels, classes)
    return rows.noting(note).without(others, OTHERS)
