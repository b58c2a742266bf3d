"""Codes with the names of their clips as files that other programs read and write.

    .npz      NumPy: `match` and `clip`, texts [M], and `codes`, uint8 [M, bytes], with their
              `focus`; of several foci `codes_0`, `codes_3`, ...
    .parquet  the record of each clip, the user's own columns too, and its codes as `code_0`, ...
    .faiss    FAISS: an `IndexBinaryFlat`; the names are beside it, in FILE.faiss.npz

Read are these, `.npy` arrays of codes alone, and an `IndexBinaryFlat` of any origin. A file is
known by its content.
"""

import io
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from etils import epath
from jaxtyping import Shaped, UInt8

from stvh_jax import digests, files
from stvh_jax.errors import UserError
from stvh_jax.retrieval import code_files
from stvh_jax.retrieval.clip_table import codes_of_table, stored_codes, to_table
from stvh_jax.retrieval.engine import Engine
from stvh_jax.retrieval.hits import check_output
from stvh_jax.retrieval.index_info import Number, listed
from stvh_jax.retrieval.record import ADAPTATION, NAMES, code_column

Arrays = Mapping[str, Shaped[np.ndarray, "..."]]

_WHAT = "a readable file of codes"
_CURE = "give a whole file of NumPy (.npz, .npy), Parquet or FAISS (IndexBinaryFlat)"


class StoredCodes(NamedTuple):
    """The codes of some clips.

    Attributes:
      codes: packed codes by focus; under None those of a file that does not say their focus.
      record: what is said of the clips, by the fields of the record; nothing if that is not known.
      adaptation: the number of the adaptation that made the visual bits; None if it is not known.
    """

    codes: dict[int | None, Shaped[np.ndarray, "..."]]
    record: Mapping[str, Any]
    adaptation: int | None

    @property
    def foci(self) -> str:
        """Lists the foci, for a message."""
        return listed("unknown" if focus is None else focus for focus in self.codes)


def export_codes(
    engine: Engine,
    path: epath.PathLike | None,
    *,
    focus: str | Number | None,
    where: str | None,
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Gives codes and names as arrays, and writes them, too; see `Index.export_codes`."""
    info = engine.info
    checked = None if path is None else check_output(path, EXPORTS)
    foci = info.stored_foci if focus is None else (info.whole_focus(focus),)
    clips = engine.snapshot().list_clips(where, codes=True)
    stored = codes_of_table(info, clips)
    codes: dict[int | None, Any] = {each: info.codes_of(each, stored) for each in foci}
    adaptation = None
    if info.bit_weights is not None:
        adaptation = clips[ADAPTATION.name][0].as_py() if len(clips) else 0
    record = clips.select(info.fields.names)
    arrays = _as_arrays(codes, record, adaptation)
    if checked is not None:
        with files.writing(checked):
            EXPORTS[checked.suffix](checked, arrays, record)
    return arrays


def import_codes(
    engine: Engine,
    path: epath.PathLike | Mapping[int, epath.PathLike],
    record: Mapping[str, Any],
) -> int:
    """Adds the clips of a file, or of one for each focus; see `Index.import_codes`."""
    info = engine.info
    if isinstance(path, Mapping):
        read, place = read_foci(path), listed(path.values())
    else:
        read, place = read_codes(path), str(path)
    record = {**read.record, **record}
    if not record.keys() >= set(NAMES):
        raise UserError(f"{place} has codes without names of clips; give match= and clip=")
    if read.adaptation is not None and info.bit_weights is not None:
        own = engine.adaptation()
        if read.adaptation != (0 if own is None else own.number):
            raise UserError(
                f"{place} has visual bits of another adaptation than this index, which cannot be "
                "compared; encode its clips with model.adapted(index.adaptation)"
            )
    codes: Any = read.codes.get(None, read.codes)
    stored = stored_codes(info, codes, what=place)
    try:
        table = to_table(info, stored, record)
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
    engine.add(table)
    return len(table)


def read_codes(path: epath.PathLike) -> StoredCodes:
    """Reads a file of codes, and the names of their clips if they are there.

    Raises:
      NotFound: there is no such file.
      UserError: the system does not let it be read.
      Damaged: it is cut, changed or of another kind, or its names are those of other codes.
    """
    content = files.read_bytes(path, _WHAT, most=code_files.MOST_BYTES, cure=_CURE)
    with files.reading(path, _WHAT, _CURE):
        if content.startswith(b"PAR1"):
            by_focus, record = code_files.parquet_clips(content)
            arrays = {f"codes_{focus}": values for focus, values in by_focus.items()}
            numbers = record.pop(ADAPTATION.name, [])
            if len(set(numbers)) == 1:
                arrays["adaptation"] = np.array(numbers[0])
        else:
            arrays = _arrays_of(epath.Path(path), content)
            record = {name: arrays[name] for name in NAMES if name in arrays}
        codes = _by_focus(arrays)
        if not codes:
            raise ValueError(f"it has no codes, only {listed(sorted([*arrays, *record]))}")
        return StoredCodes(codes, record, _whole(arrays, "adaptation"))


def read_foci(paths: Mapping[int, epath.PathLike]) -> StoredCodes:
    """Reads a file of codes for each focus, of the same clips.

    Raises:
      UserError: as `read_codes`, or a file has other clips or codes of other foci.
    """
    codes: dict[int | None, Any] = {}
    record, first, adaptation = {}, None, None
    for focus, path in paths.items():
        read = read_codes(path)
        known = [each for each in (focus, None) if each in read.codes]
        if not known:
            raise UserError(f"{path} has codes of focus {read.foci}, and not of {focus}")
        same = (np.array_equal(read.record.get(name, ()), record.get(name, ())) for name in NAMES)
        if record and read.record and not all(same):
            raise UserError(f"{path} has other clips than {first}; export both again")
        codes[focus] = read.codes[known[0]]
        if not record:
            record, first = read.record, path
        adaptation = adaptation if read.adaptation is None else read.adaptation
    return StoredCodes(codes, record, adaptation)


def _as_arrays(
    codes: Mapping[int | None, UInt8[np.ndarray, "M bytes"]],
    record: pa.Table,
    adaptation: int | None,
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Gives the arrays of an `.npz` file; `_by_focus` and `_whole` read them."""
    arrays: dict[str, Any] = {name: np.array(record[name].to_pylist(), np.str_) for name in NAMES}
    if len(codes) == 1:
        (focus, values), *_ = codes.items()
        arrays |= {"codes": values, "focus": np.array(focus)}
    else:
        arrays |= {f"codes_{focus}": values for focus, values in codes.items()}
    if adaptation is not None:
        arrays["adaptation"] = np.array(adaptation)
    return arrays


def _by_focus(arrays: Arrays) -> dict[int | None, Shaped[np.ndarray, "..."]]:
    """Finds the codes among the arrays of a file; under None those of an unknown focus."""
    codes: dict[int | None, Any] = {
        int(name[6:]): array
        for name, array in arrays.items()
        if re.fullmatch(r"codes_[0-9]{1,3}", name)
    }
    if "codes" in arrays:
        codes[_whole(arrays, "focus")] = arrays["codes"]
    return codes


def _whole(arrays: Arrays, name: str) -> int | None:
    """Reads a whole number among the arrays of a file; None if it is not there.

    Raises:
      ValueError: it is something else.
    """
    if name not in arrays:
        return None
    if arrays[name].ndim or arrays[name].dtype.kind not in "iu":
        raise ValueError(f"its {name} is {arrays[name].dtype} {arrays[name].shape}")
    return int(arrays[name])


def _arrays_of(path: epath.Path, content: bytes) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Reads the arrays of a file of NumPy or FAISS, with the names beside the latter.

    Raises:
      ValueError: it is of another kind, or they cannot be read.
    """
    if content.startswith(b"PK\x03\x04"):
        return code_files.arrays_of(content)
    if content.startswith(b"\x93NUMPY"):
        return {"codes": code_files.array_of(content)}
    if content.startswith(code_files.FAISS_KIND):
        codes = code_files.faiss_codes(content)
        beside = _names_beside(path)
        return {"codes": codes} | (_read_names(beside, codes) if beside.exists() else {})
    if kind := re.match(rb"I[A-Za-z][A-Za-z0-9]{2}", content):
        raise ValueError(f"it is a FAISS index of kind {kind[0].decode()}, not IndexBinaryFlat")
    raise ValueError("it is of no kind that holds codes")


def _names_beside(path: epath.Path) -> epath.Path:
    """Names the file of the names that belong to a file of FAISS."""
    return path.with_name(f"{path.name}.npz")


def _read_names(
    path: epath.Path, codes: UInt8[np.ndarray, "M bytes"]
) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Reads the names beside a file of FAISS.

    Raises:
      Damaged: they are those of other codes, or cannot be read.
    """
    what = "a readable file of the names of codes"
    content = files.read_bytes(path, what, most=code_files.MOST_BYTES, cure=_CURE)
    with files.reading(path, what, "export the codes again, or move it away and give the names"):
        names = code_files.arrays_of(content)
        if str(names.get("digest")) != digests.of_array(codes):
            raise ValueError("they are those of other codes")
    return {name: names[name] for name in (*NAMES, "focus", "adaptation") if name in names}


def _write_npz(path: epath.Path, arrays: Arrays, record: pa.Table) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    files.write(path, buffer.getvalue())


def _write_parquet(path: epath.Path, arrays: Arrays, record: pa.Table) -> None:
    import pyarrow.parquet as pq  # slow to import, and most searches write no such file

    for focus, codes in _by_focus(arrays).items():
        assert focus is not None  # an index knows the foci of its codes
        lists = pa.FixedSizeListArray.from_arrays(pa.array(codes.ravel()), codes.shape[1])
        record = record.append_column(code_column(focus), lists)
    if "adaptation" in arrays:
        numbers = pa.array(np.full(len(record), arrays["adaptation"], np.int64))
        record = record.append_column(ADAPTATION, numbers)
    buffer = io.BytesIO()
    pq.write_table(record.replace_schema_metadata(), buffer)
    files.write(path, buffer.getvalue())


def _write_faiss(path: epath.Path, arrays: Arrays, record: pa.Table) -> None:
    import faiss

    if "codes" not in arrays:
        raise UserError(
            f"{path}: an IndexBinaryFlat holds the codes of one focus, and these are of "
            f"{listed(_by_focus(arrays))}; give focus="
        )
    codes = np.ascontiguousarray(arrays["codes"])
    index = faiss.IndexBinaryFlat(8 * codes.shape[1])
    index.add(codes)  # pyright: ignore[reportCallIssue]
    names = {name: array for name, array in arrays.items() if name != "codes"}
    # It shows whether the two files belong together.
    names["digest"] = np.array(digests.of_array(codes))
    _write_npz(_names_beside(path), names, record)
    files.write(path, faiss.serialize_index_binary(index).tobytes())


# How codes are written, by the ending of the file.
EXPORTS = {".npz": _write_npz, ".parquet": _write_parquet, ".faiss": _write_faiss}
