"""Reads arrays, codes and records from the content of files that anybody may have made.

Nothing in a file is run, and its sizes are checked before they are believed. What cannot be read
raises a `ValueError`, or whatever a parser raises; callers wrap it in `files.reading`.
"""

import io
import math
import re
import struct
import zipfile
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Shaped, UInt8

# The most bytes of a file, and of what it unpacks to.
MOST_BYTES = 4 << 30

# An IndexBinaryFlat: what it begins with, then bits, bytes of a code, codes, whether it is trained,
# the metric, and the number of the bytes that follow.
FAISS_KIND, _FAISS_HEADER = b"IBxF", struct.Struct("<4siiq?iQ")

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def array_of(content: bytes) -> Shaped[np.ndarray, "..."]:
    """Reads one array of NumPy's format: numbers, bools or texts.

    Raises:
      ValueError: it holds something else, or its size is not that of its header.
    """
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"NumPy's format {version}, which no plain array needs")
    shape, in_columns, dtype = _HEADERS[version](stream)
    if dtype.kind not in "biufU" or not dtype.itemsize or min(shape, default=0) < 0:
        raise ValueError(f"an array in it is {dtype} {shape}")
    size = len(content) - stream.tell()
    if math.prod(shape) * dtype.itemsize != size:
        raise ValueError(f"an array in it is {dtype} {shape} in {size} bytes")
    if not size:
        return np.empty(shape, dtype)
    order = "F" if in_columns else "C"
    return np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape, order=order)


def arrays_of(content: bytes) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Reads the arrays of an `.npz` archive.

    Raises:
      ValueError: it unpacks to too much, has an array twice, or one cannot be read.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        # No member gives more bytes than it announces.
        if sum(member.file_size for member in members) > MOST_BYTES:
            raise ValueError(f"it unpacks to more than {MOST_BYTES >> 30} GiB")
        arrays = {
            member.filename.removesuffix(".npy"): array_of(archive.read(member))
            for member in members
        }
    if len(arrays) < len(members):
        raise ValueError("it has an array twice")
    return arrays


def faiss_codes(content: bytes) -> UInt8[np.ndarray, "M bytes"]:
    """Reads the codes of an IndexBinaryFlat, without FAISS, which believes what a header says.

    Raises:
      ValueError: its sizes do not fit.
    """
    if len(content) < _FAISS_HEADER.size:
        raise ValueError("it ends within its header")
    _, bits, size, count, _, _, total = _FAISS_HEADER.unpack_from(content)
    if size < 1 or bits != 8 * size or count < 0 or total != size * count:
        raise ValueError(f"its header says {count} codes of {bits} bits in {total} bytes")
    there = len(content) - _FAISS_HEADER.size
    if there != total:
        raise ValueError(f"it has {there} bytes of codes, and its header says {total}")
    if not there:
        return np.empty((0, size), np.uint8)
    return np.frombuffer(content, np.uint8, offset=_FAISS_HEADER.size).reshape(count, size)


def parquet_clips(content: bytes) -> tuple[dict[int, UInt8[np.ndarray, "M bytes"]], dict[str, Any]]:
    """Reads the codes of clips, by focus, and the other columns of a Parquet file.

    Raises:
      ValueError: it unpacks to too much, or its codes are not lists of bytes.
    """
    import pyarrow.parquet as pq  # slow to import, and most searches read no such file

    file = pq.ParquetFile(pa.BufferReader(content))
    groups = range(file.metadata.num_row_groups)
    size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
    if size > MOST_BYTES:
        raise ValueError(f"it unpacks to more than {MOST_BYTES >> 30} GiB")
    table = file.read()
    codes, record = {}, {}
    for name in table.column_names:
        if re.fullmatch(r"code_[0-9]{1,3}", name):
            codes[int(name[5:])] = _code_array(name, table[name])
        else:
            record[name] = table[name].to_pylist()
    return codes, record


def _code_array(name: str, column: pa.ChunkedArray) -> UInt8[np.ndarray, "M bytes"]:
    """Gives the codes of a column.

    Raises:
      ValueError: it is something else.
    """
    kind = column.type
    if not (pa.types.is_fixed_size_list(kind) and kind.value_type == pa.uint8()):
        raise ValueError(f"its {name} is {kind}, not as many bytes for every clip")
    chunks = [chunk.flatten() for chunk in column.chunks]
    if column.null_count or any(chunk.null_count for chunk in chunks):
        raise ValueError(f"a clip lacks bytes of its {name}")
    flat = np.concatenate([np.empty(0, np.uint8), *(chunk.to_numpy() for chunk in chunks)])
    return flat.reshape(len(column), kind.list_size)
