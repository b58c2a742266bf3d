"""Tracks in this library's own format: a Parquet file of boxes, with the video's size."""

import json
import os
from typing import Any

import numpy as np
from etils import epath

from stvh_jax import files
from stvh_jax.errors import Damaged, UserError
from stvh_jax.video.rows import Rows, check_count
from stvh_jax.video.tracks import Tracks

MAGIC = b"PAR1"

_BOX = ("y_min", "x_min", "y_max", "x_max")
_COLUMNS = ("frame", "person", *_BOX, "confidence")
_METADATA = b"stvh_jax.tracks"


def read(content: bytes) -> Rows:
    """Reads columns of frame (from 0), person, y_min, x_min, y_max, x_max (0..1) and confidence.

    Files of others with these columns are read, too; theirs need not say how large the video is.

    Raises:
      Damaged: it is malformed, or has other columns.
      ModuleNotFoundError: pyarrow is not installed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with files.reading("it", "a readable Parquet file"):
        file = pq.ParquetFile(pa.BufferReader(content))
        count = file.metadata.num_rows
        schema = file.schema_arrow
    missing = [name for name in _COLUMNS[:-1] if name not in schema.names]
    if missing:
        raise Damaged(f"no column is called {missing[0]}; expected {', '.join(_COLUMNS)}")
    for name in set(_COLUMNS) & set(schema.names):
        kind = schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise Damaged(f"its column {name} has the type {kind}, not numbers")
        if name in ("frame", "person") and not pa.types.is_integer(kind):
            raise Damaged(f"its column {name} has the type {kind}, not whole numbers")
    check_count(count)
    size, num_frames = _video((schema.metadata or {}).get(_METADATA))
    names = [name for name in _COLUMNS if name in schema.names]
    with files.reading("it", "a readable Parquet file"):
        table = file.read(names)
        if len(table) != count or any(column.null_count for column in table.columns):
            raise ValueError("cells are missing")
        columns = {name: table[name].to_numpy() for name in names}
    frames = columns["frame"].astype(np.int64)
    if (frames < 0).any():
        raise Damaged("it has frames below 0")
    return Rows(
        frames=frames,
        people=columns["person"].astype(np.int64),
        boxes=np.stack([columns[name].astype(np.float64) for name in _BOX], axis=1),
        confidences=columns.get("confidence", np.full(count, np.nan)).astype(np.float64),
        places=np.arange(1, count + 1),
        where=_where,
        first_frame=0,
        in_pixels=False,
        size=size,
        num_frames=num_frames,
    )


def write_tracks(
    path: os.PathLike | str, tracks: Tracks, *, width: int, height: int, num_frames: int
) -> None:
    """Writes tracks to a Parquet file, whole or not at all; `read_tracks` reads it.

    Args:
      path: the file, which is replaced if it is there.
      tracks: the boxes.
      width: of the video, in pixels as it is displayed.
      height: likewise.
      num_frames: how many frames the video has.

    Raises:
      UserError: it cannot be written, or the tracks are of frames that the video does not have.
      ModuleNotFoundError: pyarrow is not installed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if len(tracks) and not 0 <= tracks.frames.min() <= tracks.frames.max() < num_frames:
        raise UserError(
            f"the tracks go from frame {tracks.frames.min()} to {tracks.frames.max()}, but the "
            f"video has {num_frames} frames, numbered from 0"
        )
    video = {"width": width, "height": height, "num_frames": num_frames}
    table = pa.table(
        [tracks.frames, tracks.people, *tracks.boxes.T, tracks.confidences],
        names=list(_COLUMNS),
        metadata={_METADATA: json.dumps(video).encode()},
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    target: epath.Path = files.output(path)
    with files.writing(target):
        files.write(target, sink.getvalue().to_pybytes())


def _where(place: int) -> str:
    return f"row {place}"


def _video(metadata: bytes | None) -> tuple[tuple[int, int] | None, int | None]:
    """Reads the size of the video and how many frames it has."""
    if metadata is None:
        return None, None
    with files.reading("it", "a file of tracks"):
        values: dict[str, Any] = json.loads(metadata)
        numbers = [values[name] for name in ("width", "height", "num_frames")]
    if not all(isinstance(number, int) and number > 0 for number in numbers):
        raise Damaged("it does not say how large its video is")
    width, height, num_frames = numbers
    return (width, height), num_frames
