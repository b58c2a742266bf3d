"""What an index keeps in memory through writes is what a fresh opening reads."""

import itertools
import random

import numpy as np
import pyarrow as pa
import pytest

from stvh_jax.codes.bit_weights import laid_out
from stvh_jax.names import natural_key
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.lance import appending, clip_numbers
from stvh_jax.retrieval.lance.clip_numbers import ClipNumbers
from stvh_jax.retrieval.lance.columns import Insertion
from stvh_jax.retrieval.lance.manifests import fragments
from stvh_jax.retrieval.surroundings import Surroundings
from tests.helpers.indexed_clips import random_matrix

BITS, LAST = 24, 3
# Names in their natural order and not; those of one list are decimal.
NAMES = {
    "decimal": [str(number) for number in (3, 20, 100, 7, 11, 1, 250, 30, 4, 90)],
    "texts": ["a2", "a10", "7", "b", "it's", "a2b", "é", "A1", "007", "a02"],
}
WITH_ZEROS = ["3", "007", "7", "0", "00", "07", "10", "0100", "9" * 17, "0" * 16 + "9"]
CONDITIONS = (
    "activity = 'set' OR start > 4",
    "NOT (split = 'test') AND clip <> '7'",
    "match >= 'a' AND media LIKE '%1.mp4'",
    "confidence * 2 - start < 0",
    "length(match) = 2",
    "activity IS NULL OR clip IN ('7', 'b')",
)


class Writes:
    """Random writes to an index, by the one that is tested and by another."""

    def __init__(self, folder, seed, kind, weighted):
        self.random = random.Random(seed)
        self.folder, self.names = folder, NAMES[kind]
        derived = {"filter_matrix": random_matrix()}
        weights = {"bit_weights": laid_out(bits=BITS, visual_bits=11, layers=LAST)}
        options = weights if weighted else derived
        self.index = Index.create(folder, bits=BITS, stored_foci=(LAST,), **options)
        self.version = self.index.version
        self.add(self.index)

    def clips(self, names):
        count, draw = len(names), self.random
        start = [draw.choice([None, draw.random() * 9]) for _ in names]
        record = {
            "match": [match for match, _ in names],
            "clip": [clip for _, clip in names],
            "start": start,
            "stop": [None if value is None else value + 1 for value in start],
            "confidence": [draw.choice([None, draw.random()]) for _ in names],
            "activity": draw.choices(["set", "spike", None, "é"], k=count),
            "split": draw.choices(["train", "test"], k=count),
            "media": [f"{match}{draw.randrange(20)}.mp4" for match, _ in names],
        }
        codes = np.random.default_rng(draw.randrange(1 << 30)).integers(0, 4, (count, BITS // 8))
        return codes.astype(np.uint8), record

    def drawn(self, among):
        return self.random.sample(among, min(len(among), self.random.randrange(1, 6)))

    def add(self, index):
        every = list(itertools.product(self.names[:5], self.names))
        free = [name for name, there in zip(every, index.holds(every)) if not there]
        if free:
            codes, record = self.clips(self.drawn(free))
            index.add(codes, **record)

    def upsert(self, index):
        codes, record = self.clips(self.drawn(list(itertools.product(self.names[:6], self.names))))
        index.upsert(codes, **record)

    def delete(self, index):
        quoted = [name.replace("'", "''") for name in self.drawn(self.names)]
        index.delete(" OR ".join(f"clip = '{name}'" for name in quoted[:2]))

    def restore(self, index):
        index.restore(self.random.choice(index.versions()[1:])["version"])

    def write(self):
        """Writes something; gives what it was."""
        index = self.random.choice([self.index, self.index, Index.open(self.folder)])
        kinds = ["add"] * 6 + ["upsert", "delete", "restore", "compact"]
        for kind in self.random.choices(kinds, k=self.random.choice([1, 1, 2])):
            index.compact() if kind == "compact" else getattr(self, kind)(index)
        self.index.refresh()


def contents(index):
    """Gives what can be found of an index."""
    zero = np.zeros((1, BITS // 8), np.uint8)
    found = []
    for focus in (LAST, 1, 1.4):
        (hits,) = index.search(zero, focus=focus, k=None, radius=BITS)
        found.append([hit.to_dict() for hit in hits])
    for where in CONDITIONS:
        for k in (3, 100):
            (hits,) = index.search(zero, k=k, where=where)
            found.append(([(hit.match, hit.clip) for hit in hits], hits.ties_at_k))
    every = list(itertools.product(sorted(sum(NAMES.values(), [])), repeat=2))
    here = [name for name, there in zip(every, index.holds(every)) if there]
    codes, records_ = index.get(here)
    timed = {match for match, _ in here} - {r["match"] for r in records_ if r["start"] is None}
    near = [Surroundings(match, seconds=(2.0, 5.0)) for match in sorted(timed)]
    found.append([(hit.match, hit.clip) for hit in index.search(zero, k=50, without=near)[0]])
    stored = index.engine.snapshot()
    rows = stored.row_ids.all.tolist(), [stored.codes[part].tolist() for part in stored.codes]
    return found, codes[LAST].tolist(), records_, len(index), rows


# Limits set to nothing, so that records are kept in each of the ways there are.
LIMITS = {
    "in memory": [],
    "on disk for a while": ["records._AT_ONCE"],
    "on disk": ["records._MOST_BYTES"],
    "values apart": ["columns._FEW", "columns._ONE_BY_ONE"],
}


# Each limit once with few writes; all together, with more, take most of a minute.
QUICK = [
    ("in memory", "texts", True, 5),
    ("on disk for a while", "decimal", True, 5),
    ("on disk", "texts", False, 5),
    ("values apart", "decimal", False, 5),
]
LONG = [(*case, 9) for case in itertools.product(LIMITS, NAMES, [False, True])]


@pytest.mark.parametrize(
    ("limits", "kind", "weighted", "steps"),
    [*QUICK, *(pytest.param(*case, marks=pytest.mark.soak) for case in LONG)],
)
def test_any_writes_are_seen_as_by_a_fresh_opening(
    tmp_path, monkeypatch, limits, kind, weighted, steps
):
    for name in LIMITS[limits]:
        monkeypatch.setattr(f"stvh_jax.retrieval.lance.{name}", 0)
    seed, kept = len(limits), []
    original = appending.with_added
    monkeypatch.setattr(
        "stvh_jax.retrieval.lance.engine.with_added",
        lambda *arguments: kept.append(original(*arguments)) or kept[-1],
    )
    writes = Writes(tmp_path / "index", seed, kind, weighted)
    contents(writes.index)
    for _ in range(steps):
        writes.write()
        # Not always: what is in memory is brought up to date before anything is read, too.
        if writes.random.random() < 0.8:
            assert contents(writes.index) == contents(Index.open(tmp_path / "index"))
    assert contents(writes.index) == contents(Index.open(tmp_path / "index"))
    assert sum(each is not None for each in kept) > (2 if steps > 5 else 0)


def test_rows_go_where_numpy_puts_them():
    random = np.random.default_rng(0)
    for old, new in itertools.product((0, 1, 7), (0, 1, 5)):
        at = np.sort(random.integers(0, old + 1, new))
        values, added = random.random((old, 3)), random.random((new, 3))
        insertion = Insertion(at, np.arange(new))
        np.testing.assert_array_equal(
            insertion.into(values, added), np.insert(values, at, added, axis=0)
        )
        np.testing.assert_array_equal(insertion.into(values, added)[insertion.places], added)


@pytest.mark.parametrize("names", [*NAMES.values(), WITH_ZEROS])
def test_numbers_of_added_names_are_in_their_order(names, monkeypatch):
    numbers, _ = ClipNumbers.read(pa.chunked_array([names[:3]]))
    for name in names[3:]:
        numbers, own = numbers.with_names(pa.chunked_array([[name, names[0]]]))
        assert own.tolist() == [numbers.of_name(name), numbers.of_name(names[0])]
    every = [numbers.of_name(name) for name in names]
    assert [names[place] for place in np.argsort(every)] == sorted(names, key=natural_key)
    assert numbers.names(np.array(every)).to_pylist() == names
    monkeypatch.setattr(clip_numbers, "_FEW", 0)  # as where very many are looked up
    assert numbers.names(np.array(every)).to_pylist() == names


def test_there_is_room_for_names_until_there_is_none():
    first, _ = ClipNumbers.read(pa.chunked_array([["m", "z"]]))
    numbers, added = first, 0
    while (found := numbers.with_names(pa.chunked_array([[f"n{added}"]]))) is not None:
        numbers, added = found[0], added + 1
    assert 20 < added < 60
    assert numbers.ordered == ["m", *(f"n{number}" for number in range(added)), "z"]
    assert first.ordered == ["m", "z"]
    assert first.with_names(pa.chunked_array([["o"]])) is None  # others came after these
    for name in (f"a{number}" for number in range(100, 0, -1)):  # there is no first name
        numbers, _ = numbers.with_names(pa.chunked_array([[name]]))


def test_a_damaged_manifest_is_of_another_format_or_has_other_fragments(small):
    seals = small.engine._seals
    (_, path) = max(seals.versions().items())
    content = (seals._table / path).read_bytes()
    assert len(fragments(content)) == 1
    for end in range(len(content)):
        assert not fragments(content[:end])
    random = np.random.default_rng(0)
    for _ in range(2000):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 3):
            damaged[place] = random.integers(256)
        fragments(bytes(damaged))
