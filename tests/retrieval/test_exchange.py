"""What is stored, as a table and as files of other programs, and back: against plain NumPy."""

import io
import os
import struct
import zipfile

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stvh_jax.codes.bit_weights import laid_out
from stvh_jax.errors import Damaged, Exists, NotFound, UserError
from stvh_jax.names import natural_key
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.record import RECORD
from tests.helpers.indexed_clips import BITS, listed, random_codes, random_matrix, random_record

CLIPS = 120
OWN = {"player": "text", "rating": "number", "jersey": "integer", "starred": "bool"}


def own(clips):
    return {
        "player": [("Ana", None, "Zoë")[place % 3] for place in range(clips)],
        "rating": [None if place % 7 == 0 else place / 8 for place in range(clips)],
        "jersey": np.arange(clips),
        "starred": [place % 2 == 0 for place in range(clips)],
    }


def make(folder, *, stored_foci=(0, 3), matrix=True, **options):
    given = {"bits": BITS, "stored_foci": stored_foci, "columns": OWN}
    given["filter_matrix"] = random_matrix() if matrix else None
    return Index.create(folder, **given | options)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Gives an index made in three writes, its codes and record in the natural order; read only."""
    index = make(tmp_path_factory.mktemp("exchange") / "index")
    codes, record = random_codes(CLIPS), random_record(CLIPS) | own(CLIPS)
    for rows in (slice(0, 50), slice(50, 51), slice(51, None)):
        part = {focus: values[rows] for focus, values in codes.items()}
        index.add(part, **{name: values[rows] for name, values in record.items()})
    keys = [
        (natural_key(match), natural_key(str(clip)))
        for match, clip in zip(record["match"], record["clip"])
    ]
    order = sorted(range(CLIPS), key=keys.__getitem__)
    record = {name: [values[place] for place in order] for name, values in record.items()}
    record["clip"] = [str(clip) for clip in record["clip"]]
    return index, {focus: values[order] for focus, values in codes.items()}, record


def found(index, queries):
    """Searches at every focus, with records."""
    return [
        (listed(hits), [hit.record for hit in hits], hits.ties_at_k)
        for focus in index.foci
        for hits in index.search(queries, focus=focus, k=20)
    ]


def test_clips_are_a_table_in_the_natural_order(filled):
    index, _, record = filled
    table = index.clips()
    assert table.schema.names == [*RECORD.names, *OWN]
    assert table.to_pydict() == record


def test_pandas_reads_them(filled, tmp_path):
    pandas = pytest.importorskip("pandas")
    index, _, record = filled
    frame = index.clips().to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["rating"].isna().sum() == record["rating"].count(None) > 0
    index.export_codes(tmp_path / "codes.parquet")
    read = pandas.read_parquet(tmp_path / "codes.parquet")
    assert list(read) == [*RECORD.names, *OWN, "code_0", "code_3"]
    assert read["clip"].tolist() == record["clip"]


def test_clips_that_meet_a_condition(filled, unchecked_shapes):
    index, _, record = filled
    kept = [
        place
        for place in range(CLIPS)
        if record["player"][place] == "Ana" and record["start"][place] >= 10
    ]
    table = index.clips("player = 'Ana' AND start >= 10")
    assert 0 < len(kept) < CLIPS
    assert table.to_pydict() == {
        name: [values[place] for place in kept] for name, values in record.items()
    }
    assert len(index.clips("match = 'nowhere'")) == 0
    with pytest.raises(UserError, match="where 7: give a text"):
        index.clips(7)
    with pytest.raises(UserError, match="there is no field 'x'; the fields are match"):
        index.clips("x = 1")


def test_clips_are_those_of_the_version_that_is_open(tmp_path):
    index = make(tmp_path / "index")
    assert len(index.clips()) == 0 and index.clips().schema.names == [*RECORD.names, *OWN]
    codes = random_codes(2)
    index.add(codes, match="a", clip=["10", "9"])
    reader = Index.open(tmp_path / "index")
    assert reader.clips()["clip"].to_pylist() == ["9", "10"]
    index.delete("clip = '9'")
    assert reader.clips()["clip"].to_pylist() == ["9", "10"]
    reader.refresh()
    assert reader.clips()["clip"].to_pylist() == ["10"]


def test_what_is_stored_as_arrays(filled, tmp_path):
    index, codes, record = filled
    arrays = index.export_codes(tmp_path / "codes.npz")
    with np.load(tmp_path / "codes.npz", allow_pickle=False) as written:
        assert set(written) == set(arrays) == {"match", "clip", "codes_0", "codes_3"}
        for name in written:
            np.testing.assert_array_equal(written[name], arrays[name])
    for focus in (0, 3):
        np.testing.assert_array_equal(arrays[f"codes_{focus}"], codes[focus])
        assert arrays[f"codes_{focus}"].dtype == np.uint8
    assert arrays["match"].tolist() == record["match"]
    assert arrays["clip"].tolist() == record["clip"]
    assert index.export_codes().keys() == arrays.keys()


@pytest.mark.parametrize("focus", [0, 1, 2, 3, "visual", "activity"])
def test_one_focus_stored_or_derived(filled, tmp_path, focus):
    index, codes, record = filled
    number = {"visual": 0, "activity": 3}.get(focus, focus)
    expected = codes[number] if number in (0, 3) else random_matrix().derive(codes[3], number)
    rows = np.array(record["match"]) == "2"
    arrays = index.export_codes(tmp_path / "codes.npz", focus=focus, where="match = '2'")
    assert set(arrays) == {"match", "clip", "codes", "focus"}
    np.testing.assert_array_equal(arrays["codes"], expected[rows])
    assert (arrays["focus"], arrays["match"].tolist()) == (number, ["2"] * rows.sum())
    # FAISS reads the same, and its clips are those of the archive beside.
    index.export_codes(tmp_path / "codes.faiss", focus=focus, where="match = '2'")
    flat = faiss.read_index_binary(str(tmp_path / "codes.faiss"))
    assert isinstance(flat, faiss.IndexBinaryFlat) and (flat.d, flat.ntotal) == (BITS, rows.sum())
    held = faiss.vector_to_array(flat.xb).reshape(flat.ntotal, -1)
    np.testing.assert_array_equal(held, expected[rows])
    with np.load(tmp_path / "codes.faiss.npz", allow_pickle=False) as names:
        assert names["clip"].tolist() == arrays["clip"].tolist()


def test_parquet_has_the_whole_record(filled, tmp_path):
    index, codes, record = filled
    index.export_codes(tmp_path / "codes.parquet")
    table = pq.read_table(tmp_path / "codes.parquet")
    assert table.select([*RECORD.names, *OWN]).to_pydict() == record
    for focus in (0, 3):
        np.testing.assert_array_equal(table[f"code_{focus}"].to_pylist(), codes[focus])
    index.export_codes(tmp_path / "one.parquet", focus=2)
    assert pq.read_table(tmp_path / "one.parquet").schema.names[-1] == "code_2"


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_what_was_exported_is_imported_with_equal_search_results(filled, tmp_path, ending):
    index, codes, record = filled
    index.export_codes(tmp_path / f"codes.{ending}")
    again = make(tmp_path / "again")
    version = again.version
    given = {} if ending == "parquet" else {n: v for n, v in record.items() if n not in NAMES}
    assert again.import_codes(tmp_path / f"codes.{ending}", **given) == CLIPS
    assert again.version == version + 1  # one write
    queries = {focus: values[:5] for focus, values in codes.items()}
    assert found(again, queries) == found(index, queries)
    assert again.clips().equals(index.clips())


NAMES = ("match", "clip")


def test_a_file_for_each_focus(filled, tmp_path):
    index, codes, _ = filled
    files = {}
    for focus in index.info.stored_foci:
        files[focus] = tmp_path / f"{focus}.faiss"
        index.export_codes(files[focus], focus=focus)
    again = make(tmp_path / "again")
    assert again.import_codes(files) == CLIPS
    assert again.export_codes()["codes_0"].tolist() == codes[0].tolist()
    assert again.export_codes()["codes_3"].tolist() == codes[3].tolist()
    index.export_codes(tmp_path / "fewer.faiss", focus=0, where="match = '2'")
    with pytest.raises(UserError, match="3.faiss has other clips than .*fewer.faiss; export both"):
        again.import_codes(files | {0: tmp_path / "fewer.faiss"})
    with pytest.raises(UserError, match="3.faiss has codes of focus 3, and not of 0"):
        again.import_codes({0: files[3], 3: files[3]})
    with pytest.raises(UserError, match="codes of focus 3 are missing; this index stores those"):
        again.import_codes(files[0])
    assert len(again) == CLIPS


@pytest.fixture
def single(tmp_path):
    """Gives an index with codes of the last focus alone, of two bytes."""
    return Index.create(tmp_path / "single", bits=16, stored_foci=[3], columns={"player": "text"})


CODES = np.random.default_rng(3).integers(0, 256, (6, 2), np.uint8)


def plain_file(path, codes=CODES):
    """Writes codes as programs other than this one would."""
    if path.suffix == ".npy":
        np.save(path, codes)
    elif path.suffix == ".npz":
        np.savez(path, codes=codes)
    else:
        index = faiss.IndexBinaryFlat(codes.shape[1] * 8)
        index.add(codes)
        faiss.write_index_binary(index, str(path))
    return path


@pytest.mark.parametrize("name", ["codes.npy", "codes.npz", "codes.faiss", "codes.index"])
def test_plain_arrays_and_indexes_of_other_origin(single, tmp_path, name):
    path = plain_file(tmp_path / name)
    with pytest.raises(UserError, match=f"{name} has codes without names of clips; give match="):
        single.import_codes(path)
    count = single.import_codes(path, match="cup final", clip=np.arange(6), player="Ana")
    assert count == 6
    arrays = single.export_codes()
    np.testing.assert_array_equal(arrays["codes"], CODES)
    assert arrays["clip"].tolist() == list("012345")
    assert single.clips()["player"].to_pylist() == ["Ana"] * 6
    with pytest.raises(Exists, match="clip cup final/0 is in"):
        single.import_codes(path, match="cup final", clip=[9, 8, 7, 6, 10, 0])
    assert len(single) == 6


def test_no_clips(single, tmp_path):
    for ending in ("npz", "parquet", "faiss"):
        single.export_codes(tmp_path / f"none.{ending}")
        assert single.import_codes(tmp_path / f"none.{ending}") == 0
    flat = faiss.read_index_binary(str(tmp_path / "none.faiss"))
    assert (flat.ntotal, flat.d) == (0, 16)
    assert single.import_codes(plain_file(tmp_path / "e.npy", CODES[:0]), match=[], clip=[]) == 0


def test_transposed_and_big_endian_arrays(single, tmp_path):
    np.savez(
        tmp_path / "codes.npz",
        codes=np.asfortranarray(CODES),
        match=np.array(["é"] * 6, ">U3"),
        clip=np.arange(6, dtype=">i4"),
    )
    single.import_codes(tmp_path / "codes.npz")
    np.testing.assert_array_equal(single.export_codes()["codes"], CODES)
    assert single.holds([("é", 5)]) == [True]


def weighted(folder):
    weights = laid_out(bits=16, visual_bits=8, layers=3)
    return Index.create(folder, bits=16, stored_foci=[3], bit_weights=weights)


def test_codes_with_bit_weights_and_their_adaptation(tmp_path):
    index, again = weighted(tmp_path / "index"), weighted(tmp_path / "again")
    names = {"match": "m", "clip": np.arange(6)}
    index.add(CODES, **names)
    for focus in (None, 0, 1.0, "activity"):
        arrays = index.export_codes(tmp_path / "codes.npz", focus=focus)
        assert (arrays["focus"], arrays["adaptation"]) == (3, 0)
        np.testing.assert_array_equal(arrays["codes"], CODES)
    again.import_codes(tmp_path / "codes.npz")
    assert found(again, CODES[:2]) == found(index, CODES[:2])
    index.adapt(np.random.default_rng(1).normal(size=(6, 12)).astype(np.float32), **names)
    for ending in ("npz", "parquet", "faiss"):
        path = tmp_path / f"adapted.{ending}"
        index.export_codes(path, where="match = 'm'")
        with pytest.raises(UserError, match="has visual bits of another adaptation than this"):
            again.import_codes(path, match="n")
        assert index.import_codes(path, match=f"copy {ending}") == 6
    assert len(again) == 6


def npz(**arrays):
    content = io.BytesIO()
    np.savez(content, allow_pickle=True, **arrays)
    return content.getvalue()


def npy(array, **changes):
    """Writes an array whose header says something else."""
    content = io.BytesIO()
    np.save(content, array, allow_pickle=True)
    content = content.getvalue()
    for old, new in changes.values():
        content = content.replace(old, new)
    return content


def flat(bits=16, size=2, count=6, total=12, codes=CODES, kind=b"IBxF"):
    return struct.pack("<4siiq?iQ", kind, bits, size, count, True, 1, total) + codes.tobytes()


def bomb():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("codes.npy", bytes(1 << 20))
    whole = content.getvalue()
    return whole.replace(struct.pack("<I", 1 << 20), struct.pack("<I", (1 << 32) - 2))


def parquet(**columns):
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    return content.getvalue()


NAMED = {"match": np.array(["m"] * 6), "clip": np.arange(6)}
PICKLED = np.array([{}], object)
BAD = {
    "empty": (b"", "is not a readable file of codes .it is of no kind that holds codes.; give a"),
    "text": (b"match,clip\n", "is not a readable file of codes"),
    "pickle": (b"\x80\x04K\x01.", "is not a readable file of codes"),
    "pickled array": (npy(PICKLED), "an array in it is object"),
    "pickled in an archive": (npz(codes=CODES, match=PICKLED), "an array in it is object"),
    "structured": (npy(np.zeros(2, "u1,u1")), "an array in it is"),
    "cut array": (npy(CODES)[:-3], r"uint8 \(6, 2\) in 9 bytes"),
    "longer array": (npy(CODES) + b"1", r"uint8 \(6, 2\) in 13 bytes"),
    "header only": (npy(CODES)[:50], "is not a readable file of codes"),
    "huge shape": (npy(CODES, s=(b"(6, 2), ", b"(9**9,),")), "is not a readable file of codes"),
    "negative": (npy(CODES, s=(b"(6, 2)", b"(-6,-2)"[:6])), "is not a readable file of codes"),
    "cut archive": (npz(codes=CODES, **NAMED)[:-30], "is not a readable file of codes"),
    "bomb": (bomb(), "is not a readable file of codes"),
    "flipped archive": (
        npz(codes=CODES, **NAMED).replace(CODES.tobytes(), bytes(12)),
        "Bad CRC-32",
    ),
    "other arrays": (npz(x=CODES, y=CODES), "it has no codes, only x, y"),
    "focus of text": (npz(codes=CODES, focus=np.array("3"), **NAMED), "its focus is <U1"),
    "foci": (npz(codes=CODES, focus=np.arange(2), **NAMED), r"its focus is int64 \(2,\)"),
    "adaptation": (npz(codes=CODES, adaptation=np.array(1.5), **NAMED), "its adaptation is float"),
    "faiss kind": (flat(kind=b"IBwF"), "a FAISS index of kind IBwF, not IndexBinaryFlat"),
    "faiss floats": (flat(kind=b"IxFI"), "a FAISS index of kind IxFI, not IndexBinaryFlat"),
    "faiss header": (flat()[:20], "it ends within its header"),
    "faiss cut": (flat()[:-1], "it has 11 bytes of codes, and its header says 12"),
    "faiss longer": (flat() + b"1", "it has 13 bytes of codes, and its header says 12"),
    "faiss count": (flat(count=2**62, total=2**63), "it has 12 bytes of codes, and its header"),
    "faiss fewer": (flat(count=5), "its header says 5 codes of 16 bits in 12 bytes"),
    "faiss below": (flat(count=-6), "its header says -6 codes"),
    "faiss no bits": (flat(bits=0, size=0), "its header says 6 codes of 0 bits"),
    "faiss bits": (flat(bits=15), "its header says 6 codes of 15 bits"),
    "parquet cut": (parquet(match=["m"])[:-9], "is not a readable file of codes"),
    "parquet of others": (parquet(match=["m"], clip=["1"]), "it has no codes, only clip, match"),
    "parquet lists": (parquet(match=["m"], code_3=[[1, 2]]), "its code_3 is list.*int64"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line_and_changes_nothing(single, tmp_path, name):
    content, message = BAD[name]
    (tmp_path / "codes").write_bytes(content)
    with pytest.raises(Damaged, match=message) as error:
        single.import_codes(tmp_path / "codes", match="m", clip=range(6))
    assert str(error.value).startswith(f"{tmp_path / 'codes'} is not a readable file of codes (")
    assert "\n" not in str(error.value)
    assert (len(single), single.version) == (0, 1)


UNFIT = {
    "bits": (npz(codes=CODES[:, :1], **NAMED), "codes have 8 bits, this index has 16"),
    "type": (npz(codes=CODES.astype(int), **NAMED), r"codes are int64 \(6, 2\); give packed"),
    "axes": (npz(codes=CODES[None], **NAMED), r"codes are uint8 \(1, 6, 2\); give packed codes"),
    "names": (npz(codes=CODES, match=NAMED["match"][:5], clip=np.arange(6)), "5 values of 'match'"),
    "real names": (npz(codes=CODES, match=NAMED["match"], clip=np.ones(6)), "'clip' of the clips"),
    "table of names": (npz(codes=CODES, match=CODES, clip=np.arange(6)), "'match' of the clips"),
    "no clip": (npz(codes=CODES, match=NAMED["match"]), "has codes without names of clips"),
    "twice": (npz(codes=CODES, match=NAMED["match"], clip=np.zeros(6, int)), "m/0 is given twice"),
    "focus": (npz(codes=CODES, focus=np.array(1), **NAMED), "codes of focus 3 are missing"),
    "surrogates": (npz(codes=CODES, match=np.array(["\ud800"] * 6), clip=np.arange(6)), "'match'"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_codes_or_names_that_do_not_fit(single, tmp_path, name, unchecked_shapes):
    content, message = UNFIT[name]
    (tmp_path / "codes.npz").write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        single.import_codes(tmp_path / "codes.npz")
    assert str(error.value).startswith(f"{tmp_path / 'codes.npz'}") and "\n" not in str(error.value)
    assert (len(single), single.version) == (0, 1)


def test_mistakes_of_files(filled, single, tmp_path):
    index, _, _ = filled
    with pytest.raises(NotFound, match="nowhere.npz: no such file"):
        single.import_codes(tmp_path / "nowhere.npz")
    with pytest.raises(UserError, match="cannot read .*Is a directory"):
        single.import_codes(tmp_path)
    with pytest.raises(UserError, match="must end in .npz, .parquet, .faiss"):
        index.export_codes(tmp_path / "codes.csv")
    with pytest.raises(UserError, match="holds the codes of one focus, and these are of 0, 3; giv"):
        index.export_codes(tmp_path / "codes.faiss")
    with pytest.raises(UserError, match="focus 2.3 is between two, which have codes; give one"):
        index.export_codes(focus=2.3)
    with pytest.raises(UserError, match="focus 7 cannot be searched"):
        index.export_codes(focus=7)
    with pytest.raises(UserError, match="there is no folder"):
        index.export_codes(tmp_path / "nowhere" / "codes.npz")
    assert not [name for name in os.listdir(tmp_path) if name.startswith("codes")]


def test_names_beside_other_codes(filled, single, tmp_path):
    index, _, _ = filled
    for place, focus in enumerate((0, 3)):
        index.export_codes(tmp_path / f"{place}.faiss", focus=focus)
    (tmp_path / "0.faiss.npz").write_bytes((tmp_path / "1.faiss.npz").read_bytes())
    with pytest.raises(Damaged, match="0.faiss.npz is not a .*they are those of other codes"):
        single.import_codes(tmp_path / "0.faiss")
    (tmp_path / "0.faiss.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(Damaged, match="0.faiss.npz is not a readable file of the names"):
        single.import_codes(tmp_path / "0.faiss")
