"""An index of clips, searched by their codes at any focus: `stvh_jax.Index.open(uri)`.

Hits are in the order of (distance, match, clip), names in their natural order, whatever the engine:
LanceDB and FAISS for a folder or a bucket, a Milvus server for a URI that begins with http.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np
import pyarrow as pa
from etils import epath
from jaxtyping import Shaped, UInt8
from numpy.typing import ArrayLike

from stvh_jax.codes.bit_weights import BitWeights
from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.codes.linear_query import LinearQuery
from stvh_jax.codes.readout import Readout
from stvh_jax.codes.visual_maps import Adaptation, fit_adaptation
from stvh_jax.errors import NotFound, UserError, shown
from stvh_jax.names import printable
from stvh_jax.retrieval import exchange, merging, searches
from stvh_jax.retrieval.checks import (
    ClipName,
    check_chosen,
    check_limits,
    check_version,
    check_where,
    engine_kind,
    names_of,
)
from stvh_jax.retrieval.clip_table import Codes, Values, names_table, to_table
from stvh_jax.retrieval.engine import Engine, check_adaptable
from stvh_jax.retrieval.hits import Hits, codes_and_records
from stvh_jax.retrieval.index_info import IndexInfo, Number, is_whole, listed
from stvh_jax.retrieval.named_clips import NamedClips
from stvh_jax.retrieval.surroundings import Surroundings


class Index(NamedClips):
    """Clips that can be searched.

    Attributes:
      info: the codes stored, the filter matrix or the bit weights, where the clips came from.
      engine: where they are.
    """

    def __init__(self, engine: Engine):
        """Wraps an engine; use `Index.open` or `Index.create`."""
        self.engine = engine

    @classmethod
    def create(
        cls,
        uri: epath.PathLike,
        *,
        bits: int,
        stored_foci: Sequence[int],
        filter_matrix: FilterMatrix | None = None,
        bit_weights: BitWeights | None = None,
        readout: Readout | None = None,
        columns: Mapping[str, str] | None = None,
        origin: Mapping[str, Any] | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> "Index":
        """Makes an empty index.

        Args:
          uri: a folder, a bucket's URI (`s3://...`), or a Milvus server's
            (`http://HOST:PORT/COLLECTION`).
          bits: K.
          stored_foci: the foci whose own codes are stored, in order; the last of all among them.
          filter_matrix: derives the other foci; None if there are none.
          bit_weights: what the bits of one code, stored as that of the last focus, weigh at every
            focus; None where foci have codes of their own.
          readout: reads activities from the codes of the last focus, so that clips of an activity
            can be searched for by its name; None if it is not known.
          columns: columns of your own beside the record of every clip, `text`, `number`, `integer`
            or `bool` by their names: `{"player": "text"}`. A folder or a bucket takes them.
          origin: the run and the data that the codes come from; plain values.
          storage_options: credentials and the like, for a bucket.

        Raises:
          Exists: there is an index already.
          UserError: the parts do not fit, or it cannot be written there.
        """
        if isinstance(stored_foci, str) or not isinstance(stored_foci, Iterable):
            raise UserError(f"stored foci {shown(stored_foci)}; give whole numbers, in order")
        info = IndexInfo(
            bits=int(bits) if is_whole(bits) else bits,
            stored_foci=tuple(int(focus) if is_whole(focus) else focus for focus in stored_foci),
            filter_matrix=filter_matrix,
            name=uuid.uuid4().hex,
            origin={} if origin is None else origin,
            bit_weights=bit_weights,
            readout=readout,
            columns={} if columns is None else columns,
        )
        return cls(engine_kind(uri).create(str(uri), info, storage_options=storage_options))

    @classmethod
    def open(
        cls,
        uri: epath.PathLike,
        *,
        version: int | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> "Index":
        """Opens an index, as it is now or was at a version.

        Raises:
          NotFound: there is no index, or no such version.
          Damaged: it cannot be read, or is a store of something else.
        """
        if version is not None:
            check_version(version)
            version = int(version)
        return cls(
            engine_kind(uri).open(str(uri), version=version, storage_options=storage_options)
        )

    @classmethod
    def exists(
        cls, uri: epath.PathLike, *, storage_options: Mapping[str, str] | None = None
    ) -> bool:
        """Says whether there is an index at a URI."""
        return engine_kind(uri).exists(str(uri), storage_options=storage_options)

    def __len__(self) -> int:
        """Counts the clips."""
        return self.engine.count()

    def __repr__(self) -> str:
        try:
            clips = str(len(self))
        except UserError:  # a store that is gone
            clips = "unreadable"
        info = self.info
        return f"Index({self.uri!r}, {clips} clips, {info.bits} bits, foci {listed(self.foci)})"

    @property
    def uri(self) -> str:
        """Where the index is."""
        return self.engine.uri

    @property
    def foci(self) -> tuple[int, ...]:
        """The foci that can be searched."""
        return self.info.foci

    @property
    def version(self) -> int | None:
        """The version searched; every write makes a new one. None on Milvus, which keeps none."""
        return self.engine.version

    def versions(self) -> list[dict[str, Any]]:
        """Lists the versions: number, time, clips."""
        return self.engine.versions()

    def restore(self, version: int) -> None:
        """Makes an older version the newest again.

        Raises:
          NotFound: there is no such version.
        """
        check_version(version)
        self.engine.restore(int(version))

    def refresh(self) -> None:
        """Goes on to the newest version, which another process may have written."""
        self.engine.refresh()

    def compact(self) -> None:
        """Joins the files of many small writes."""
        self.engine.compact()

    def count(self, where: str | None = None) -> int:
        """Counts the clips that meet a condition, see `search`; all if there is none.

        Raises:
          UserError: the condition cannot be read.
        """
        if where is not None:
            check_where(where)
        return self.engine.count(where)

    def add(self, codes: Codes, **record: Values) -> None:
        """Adds clips; when it returns they are kept, and either all of them or none.

        Args:
          codes: packed codes, `[M, bytes]`, by focus (`Encoding.codes`); an array if only the
            last focus is stored.
          **record: `match=` and `clip=`, which name the clips, texts or whole numbers; `start=`,
            `stop=` in seconds, `activity=`, `predicted=`, `confidence=`, `split=`, `media=` and
            the index's own columns, as far as known. One value stands for all clips of the call.

        Raises:
          Exists: a clip is in the index already.
          UserError: the codes or the record do not fit.
        """
        self.engine.add(to_table(self.info, codes, record))

    def upsert(self, codes: Codes, **record: Values) -> None:
        """Adds clips as `add` does, in place of those of the same match and clip.

        Those that have a name keep it, unless `name=` is given.
        """
        self.engine.upsert(to_table(self.info, codes, record))

    def clips(self, where: str | None = None) -> pa.Table:
        """Gives the records of the clips that meet a condition, see `search`; all if there is none.

        Returns:
          A row for each clip: `match`, `clip`, `start`, `stop`, `activity`, `predicted`,
          `confidence`, `split`, `media` and the index's own columns; in the natural order of
          (match, clip).

        Raises:
          UserError: the condition cannot be read.
        """
        check_chosen(where, ())
        return self.engine.snapshot().list_clips(where).cast(self.info.fields)

    def export_codes(
        self,
        path: epath.PathLike | None = None,
        *,
        focus: str | Number | None = None,
        where: str | None = None,
    ) -> dict[str, Shaped[np.ndarray, "..."]]:
        """Writes codes with the names of their clips, in the order of `clips`.

        Args:
          path: `.npz` of NumPy; `.parquet`, with the whole record; or `.faiss`, an
            `IndexBinaryFlat` of one focus, with the names in FILE.faiss.npz. None for no file.
          focus: `activity`, `visual` or a whole number, stored or derived; None for all that is
            stored, which `import_codes` takes. With bit weights, all foci have one code.
          where: as for `clips`.

        Returns:
          `match` and `clip`, texts `[M]`, and `codes`, uint8 `[M, bytes]`, with their `focus`; of
          several foci `codes_0`, `codes_3`, ... With bit weights, `adaptation` is the number of
          that which made the visual bits, or 0.

        Raises:
          UserError: there is no such focus or file, or the condition cannot be read.
        """
        check_chosen(where, ())
        return exchange.export_codes(self.engine, path, focus=focus, where=where)

    def import_codes(
        self, path: epath.PathLike | Mapping[int, epath.PathLike], **record: Values
    ) -> int:
        """Adds the clips of a file of codes, all of them or none, and counts them.

        Args:
          path: what `export_codes` wrote; or an `.npy` or `.npz` array `codes`, uint8 `[M, bytes]`,
            or an `IndexBinaryFlat` of FAISS, which are codes of the last focus unless the file says
            otherwise; or a file for each stored focus: `{0: "visual.npy", 3: "activity.npy"}`.
          **record: as for `add`, in place of what the file says; `match=` and `clip=` at least of a
            file without names.

        Raises:
          NotFound: there is no such file.
          Damaged: it cannot be read.
          Exists: a clip is in the index already.
          UserError: the codes or names do not fit, or there are no names.
        """
        return exchange.import_codes(self.engine, path, record)

    def add_from(self, other: "Index") -> int:
        """Adds the clips of another index of the same model that are not there yet; counts them.

        Raises:
          UserError: it has other codes, or a match of the same name from another video.
        """
        return merging.add_from(self.engine, other.engine)

    @property
    def adaptation(self) -> Adaptation | None:
        """What made the visual bits, if they were adapted; new codes need `Encoder.adapted`."""
        return self.engine.adaptation()

    def adapt(self, embedded: ArrayLike, *, match: Values, clip: Values) -> Adaptation:
        """Fits the visual bits to the clips of the index, without labels, and replaces them.

        Args:
          embedded: `[M, E]`, what the model has whitened of what each clip shows, see `Encoding`.
          match: with `clip` the names of all clips of the index, once each, in the same order.
          clip: see there.

        Raises:
          UserError: there are no visual bits, they are on a Milvus server, or a clip is missing,
            given twice, or not in the index.
        """
        weights = self.info.bit_weights
        check_adaptable("the index", weights, adapts=engine_kind(self.uri).adapts)
        assert weights is not None  # or it could not be adapted
        adaptation = fit_adaptation(embedded, len(weights.visual))
        bits = adaptation.bits_of(np.asarray(embedded))
        self.engine.adapt(adaptation, names_table(match, clip, len(bits)), bits)
        return adaptation

    def delete(self, where: str) -> int:
        """Deletes the clips that meet a condition, see `search`, and counts them.

        Raises:
          UserError: the condition cannot be read.
        """
        check_where(where)
        return self.engine.delete(where)

    def search(
        self,
        codes: Codes | None = None,
        *,
        query: LinearQuery | None = None,
        focus: str | Number | None = None,
        scale: Number | None = None,
        k: SupportsIndex | None = 10,
        radius: Number | None = None,
        where: str | None = None,
        without: Sequence[Surroundings] = (),
        together: bool = False,
    ) -> list[Hits]:
        """Finds the clips nearest to each query.

        Args:
          codes: packed codes of Q queries, as for `add`; of one also without the first axis.
          query: in place of codes a linear query, which weighs every bit; see `stvh_jax.queries`.
          focus: `activity` (if None), `visual`, a number, or one between two neighbours: 2.3 is the
            sum of 0.7 times the distance at focus 2 and 0.3 times that at focus 3.
          scale: the focus in place of its number: from 0, focus 0, to 1, the last one.
          k: how many; None, with a radius, for all within it.
          radius: the largest distance in bits, itself included; None for any.
          where: a condition on the record in SQL: `match = '13' AND start >= 60`.
          without: clips left out.
          together: the queries are one: the mean of their distances counts.

        Returns:
          The hits of each query; of all of them in one list, together.

        Raises:
          UserError: the codes, the focus or scale, k, the radius or the condition make no sense.
        """
        check_limits(k, radius, self.info.bits)
        check_chosen(where, without)
        limits: Any = {
            "k": None if k is None else int(k),
            "radius": radius,
            "where": where,
            "without": without,
        }
        weights = self.info.weights(self.info.focus_asked(focus, scale))
        if query is None:
            return searches.by_codes(self.engine, codes, weights, limits, together=together)
        if codes is not None or together:
            raise UserError("a search has codes or one linear query; give one of the two")
        return [searches.by_linear_query(self.engine, query, weights, limits)]

    def holds(self, clips: Sequence[ClipName]) -> list[bool]:
        """Says of each of some clips, by (match, clip), whether it is in the index."""
        return [row is not None for row in self.engine.snapshot().find(names_of(clips))]

    def get(
        self, clips: Sequence[ClipName]
    ) -> tuple[dict[int, UInt8[np.ndarray, "Q bytes"]], list[dict[str, Any]]]:
        """Gives the stored codes and the records of some clips.

        Args:
          clips: (match, clip) of each.

        Raises:
          NotFound: a clip is not in the index.
        """
        names, snapshot = names_of(clips), self.engine.snapshot()
        rows = []
        for (match, clip), row in zip(names, snapshot.find(names)):
            if row is None:
                raise NotFound(f"clip {printable(f'{match}/{clip}')} is not in the index")
            rows.append(row)
        return codes_and_records(snapshot, self.info, np.array(rows, np.int64))
