"""An index whose visual bits are fitted to its clips: all of them at once, versioned, one line."""

import shutil

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from stvh_jax.codes.bit_weights import laid_out
from stvh_jax.codes.packing import pack, unpack
from stvh_jax.codes.visual_maps import Adaptation, fit_adaptation
from stvh_jax.errors import Damaged, UserError
from stvh_jax.retrieval.index import Index
from tests.helpers.indexed_clips import random_record

CLIPS, LAYERS, BITS, VISUAL, FEATURES = 60, 3, 32, 8, 12
WEIGHTS = laid_out(bits=BITS, visual_bits=VISUAL, layers=LAYERS)
RANDOM = np.random.RandomState(3)
SIGNS = RANDOM.rand(CLIPS, BITS) < 0.5
EMBEDDED = RANDOM.randn(CLIPS, FEATURES).astype(np.float32)
RECORD = random_record(CLIPS)
NAMES = {"match": RECORD["match"], "clip": RECORD["clip"]}


@pytest.fixture
def index(tmp_path):
    index = Index.create(
        tmp_path / "index", bits=BITS, stored_foci=(LAYERS,), bit_weights=WEIGHTS, origin={}
    )
    index.add(pack(SIGNS), **RECORD)
    return index


def stored(index):
    """Gives the signs of all clips, in the order of `RECORD`."""
    codes, _ = index.get(list(zip(*NAMES.values())))
    return unpack(codes[LAYERS]) > 0


def visual_of(embedded, adaptation):
    return embedded @ adaptation.projection + adaptation.offset >= 0


def test_all_visual_bits_are_replaced_and_no_other(index, tmp_path):
    assert index.adaptation is None
    before = index.version
    adaptation = index.adapt(EMBEDDED, **NAMES)
    assert index.version == before + 1
    for opened in (index, Index.open(tmp_path / "index")):
        signs = stored(opened)
        np.testing.assert_array_equal(signs[:, :-VISUAL], SIGNS[:, :-VISUAL])
        np.testing.assert_array_equal(signs[:, -VISUAL:], visual_of(EMBEDDED, adaptation))
        assert opened.adaptation.number == adaptation.number
        np.testing.assert_array_equal(opened.adaptation.projection, adaptation.projection)
        assert opened.count("split = 'train'") == index.count("split = 'train'")


def test_it_is_searched_by_the_new_bits(index):
    adaptation = index.adapt(EMBEDDED, **NAMES)
    visual = visual_of(EMBEDDED, adaptation)
    query = pack(np.concatenate([SIGNS[:1, :-VISUAL], visual[:1]], axis=1))
    (hits,) = index.search(query, scale=0, k=CLIPS)
    expected = np.sort((visual != visual[0]).sum(axis=1)) * (BITS / VISUAL)
    np.testing.assert_allclose(hits.distances, expected)


def test_the_order_of_the_clips_does_not_matter(index):
    order = np.random.RandomState(0).permutation(CLIPS)
    names = {name: np.asarray(values)[order] for name, values in NAMES.items()}
    adaptation = index.adapt(EMBEDDED[order], **names)
    assert (stored(index)[:, -VISUAL:] == visual_of(EMBEDDED, adaptation)).all()


def test_an_older_version_has_its_own_adaptation(index, tmp_path):
    one = index.adapt(EMBEDDED, **NAMES)
    first = index.version
    other = index.adapt(EMBEDDED[:, ::-1] ** 3, **NAMES)
    assert one.number != other.number
    assert Index.open(tmp_path / "index", version=first).adaptation.number == one.number
    assert Index.open(tmp_path / "index", version=first - 1).adaptation is None
    index.restore(first)
    assert index.adaptation.number == one.number
    again = index.adapt(EMBEDDED, **NAMES)
    assert again.number == one.number  # for the same clips the same


def test_clips_added_later_are_of_the_same_adaptation(index, tmp_path):
    adaptation = index.adapt(EMBEDDED, **NAMES)
    index.upsert(pack(SIGNS[:1]), match=["new"], clip=["1"])
    index.add(pack(SIGNS[:1]), match=["new"], clip=["2"])
    assert Index.open(tmp_path / "index").adaptation.number == adaptation.number
    index.delete("match = 'new'")
    index.compact()
    assert len(index.search(pack(SIGNS[:1]), k=5)[0]) == 5


def test_a_writer_that_opened_it_before_is_refused(index, tmp_path):
    other = Index.open(tmp_path / "index")
    index.adapt(EMBEDDED, **NAMES)
    for write in (other.add, other.upsert):
        with pytest.raises(UserError, match="was adapted to its clips since it was opened"):
            write(pack(SIGNS[:1]), match=["new"], clip=["1"])
    other.refresh()
    other.add(pack(SIGNS[:1]), match=["new"], clip=["1"])
    # The other way: one that knows of an adaptation that was taken back.
    index.refresh()
    Index.open(tmp_path / "index").restore(2)
    with pytest.raises(UserError, match="was adapted to its clips since"):
        index.upsert(pack(SIGNS[:1]), match=["new"], clip=["1"])
    assert len(Index.open(tmp_path / "index").search(pack(SIGNS[:1]), k=100)[0]) == CLIPS


@pytest.mark.parametrize(
    ("embedded", "names", "message"),
    [
        (EMBEDDED[1:], {name: values[1:] for name, values in NAMES.items()}, "60 clips and 59"),
        (EMBEDDED, {**NAMES, "clip": ["0", *NAMES["clip"][1:]]}, "is not in"),
        (
            EMBEDDED[[0, *range(CLIPS)]],
            {name: [values[0], *values] for name, values in NAMES.items()},
            "in 61 rows",
        ),
        (EMBEDDED[1:], NAMES, "60 values of 'match' for 59 clips"),
        (EMBEDDED * np.nan, NAMES, "has NaN"),
        (EMBEDDED.astype(int), NAMES, "what the clips show is int64"),
        (EMBEDDED[0], NAMES, "what the clips show is float32"),
        ([], {"match": [], "clip": []}, "what the clips show is float64"),
    ],
)
def test_what_does_not_fit_changes_nothing(index, embedded, names, message):
    with pytest.raises(UserError, match=message):
        index.adapt(embedded, **names)
    assert index.version == 2
    assert (stored(index) == SIGNS).all()


def test_an_index_without_visual_bits_is_not_adapted(tmp_path):
    index = Index.create(tmp_path / "own", bits=32, stored_foci=(0, 3))
    with pytest.raises(UserError, match="only one code for all foci"):
        index.adapt(EMBEDDED, **NAMES)
    assert index.adaptation is None


def test_a_damaged_or_missing_adaptation_is_one_line(index, tmp_path):
    index.adapt(EMBEDDED, **NAMES)
    folder = tmp_path / "index" / "adaptations.lance"
    kept = tmp_path / "kept"
    shutil.copytree(folder, kept)
    (data,) = (folder / "data").iterdir()
    content = bytearray(data.read_bytes())
    content[len(content) // 4] ^= 1
    data.write_bytes(content)
    with pytest.raises(Damaged, match="adaptation|cannot be read as an index"):
        _ = Index.open(tmp_path / "index").adaptation
    shutil.rmtree(folder)
    with pytest.raises(Damaged, match="of its visual bits is missing"):
        _ = Index.open(tmp_path / "index").adaptation
    shutil.copytree(kept, folder)
    assert Index.open(tmp_path / "index").adaptation is not None


def test_any_flipped_bit_of_an_adaptation_is_one_line_or_harmless(index, tmp_path):
    right = index.adapt(EMBEDDED, **NAMES).number
    damaged = 0
    for path in sorted((tmp_path / "index" / "adaptations.lance").rglob("*.*")):
        content = path.read_bytes()
        for place in range(0, len(content), max(1, len(content) // 25)):
            path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
            try:
                assert Index.open(tmp_path / "index").adaptation.number == right
            except UserError as error:
                assert str(error).count("\n") == 0
                damaged += 1
        path.write_bytes(content)
    assert damaged > 20


def test_half_an_adaptation_that_a_killed_write_left_is_no_hindrance(index, tmp_path):
    (tmp_path / "index" / "adaptations.lance" / "data").mkdir(parents=True)
    adaptation = index.adapt(EMBEDDED, **NAMES)
    assert Index.open(tmp_path / "index").adaptation.number == adaptation.number


def test_codes_of_two_adaptations_are_never_compared(index, tmp_path):
    index.adapt(EMBEDDED, **NAMES)
    table = lancedb.connect(tmp_path / "index").open_table("clips")
    row = table.search().limit(1).to_arrow().to_pylist()[0] | {"clip": "other", "adaptation": 7}
    table.add(pa.Table.from_pylist([row], schema=table.schema))
    with pytest.raises(Damaged, match="visual bits of 2 adaptations"):
        Index.open(tmp_path / "index").search(pack(SIGNS[:1]))


def test_an_adaptation_is_read_as_it_was_written():
    one = fit_adaptation(EMBEDDED, 4)
    other = Adaptation.from_bytes(one.to_bytes(), where="here", cure="restore it")
    assert other.number == one.number
    assert 0 < one.number < 2**63
    np.testing.assert_array_equal(one.bits_of(EMBEDDED), other.bits_of(EMBEDDED))
    for content in (b"", one.to_bytes()[:-9], b"PK" + bytes(40)):
        with pytest.raises(Damaged, match="here is not a readable adaptation"):
            Adaptation.from_bytes(content, where="here", cure="restore it")
    with pytest.raises(UserError, match="takes 12 features"):
        one.bits_of(EMBEDDED[:, 1:])
