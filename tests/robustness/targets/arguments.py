"""What callers hand to `Encoder.encode` and to an `Index`; conditions and names."""

import functools
import math
import pathlib
import shutil

import numpy as np

from tests.robustness import material
from tests.robustness.case import Target, expect
from tests.robustness.mutations import JUNK_NUMBERS, JUNK_TEXTS, Random

# Arrays are Python expressions, so that a failing case can be read and typed.
BOXES = (
    "clips", "clips[0]", "clips[:0]", "clips[:, :1]", "clips[..., :3]", "clips[:, :, :0]",
    "np.concatenate([clips] * 2, axis=2)", "clips.astype(np.float64)", "clips.astype('>f4')",
    "clips.astype(np.float16)", "clips.astype(np.int32)", "clips.astype(complex)",
    "clips.astype(object)", "clips.astype(str)", "clips.tolist()", "clips[::-1, ::-1]",
    "np.asfortranarray(clips)", "clips * np.nan", "clips * np.inf", "clips * 1e30", "clips - 100",
    "-clips", "clips[..., [2, 3, 0, 1]]", "np.ma.masked_array(clips, clips > 0.5)", "None",
    "'boxes'",
    "np.float32(0.5)", "[]", "[[1.0], [2.0, 3.0]]", "{}", "np.zeros((1, 1, 5, 4), 'f4,f4')",
    "np.full(clips.shape, 1e308)", "np.where(np.arange(4) == 2, np.nan, clips)", "clips * 0",
)  # fmt: skip
FRAMES = ("None", "None", "None", "np.zeros((1, 1, 8, 8, 3), np.uint8)", "3")
MASKS = (
    "None", "None", "None", "mask", "~mask", "mask.astype(int)", "mask.astype(float)", "mask[0]",
    "mask[:, :2]", "mask.tolist()", "'yes'", "mask.astype(object)", "[[True, None]]",
    "np.array(True)",
)  # fmt: skip
CODES = (
    "codes", "codes[0]", "codes[:0]", "codes[:, :1]", "codes.astype(int)", "codes.astype(float)",
    "codes.tolist()", "{1: codes}", "{0: codes}", "{1: codes, 0: codes[:1]}", "{'1': codes}",
    "None",
    "b'ab'", "'ab'", "codes.astype(object)", "codes[None]", "np.asfortranarray(codes)",
    "[[1], [2, 3]]",
    "np.unpackbits(codes, axis=1)", "codes[::-1]", "5", "{1: None}", "{}",
)  # fmt: skip
VALUES = (
    *map(repr, JUNK_NUMBERS), *map(repr, JUNK_TEXTS), "None", "True", "[]", "(1, 2)", "{}", "b'x'",
    "object()", "np.int8(3)", "np.float32(2)", "np.array([1, 2])", "np.datetime64('2020')",
    "complex(1, 2)", "range(3)", "10**30", "-10**30", "'activity'", "'visual'", "0.5",
)  # fmt: skip
VALUES = tuple(value.replace("nan", "math.nan").replace("inf", "math.inf")
               if value in ("nan", "inf", "-inf") else value for value in VALUES)  # fmt: skip
FIELDS = ("match", "clip", "start", "stop", "activity", "confidence", "media", "colour")


@functools.cache
def encoder():
    from stvh_jax.inference.encoder import load

    return load(material.RUN)


def make_encode(random: Random, folder: pathlib.Path):
    return {
        "frames": random.choice(FRAMES),
        "boxes": random.choice(BOXES),
        "mask": random.choice(MASKS),
    }  # fmt: skip


def run_encode(folder: pathlib.Path, case):
    from tests.helpers.fakes import random_clips

    drawn = random_clips(0, clips=2)
    names = {"np": np, "clips": drawn.boxes, "mask": drawn.actor_mask}
    frames, boxes, mask = (eval(case[name], names) for name in ("frames", "boxes", "mask"))
    encoding = encoder().encode(frames, boxes, mask)
    probabilities = encoding.activity_probabilities
    sums = np.ones(len(probabilities))
    expect(np.allclose(probabilities.sum(axis=1), sums), "probabilities do not add up to 1")
    plain = np.asarray(boxes).astype(np.float32)
    plain_mask = None if mask is None else np.asarray(mask).astype(bool)
    again = encoder().encode(None, np.ascontiguousarray(plain), plain_mask)
    for focus, codes in again.codes.items():
        expect(np.array_equal(codes, encoding.codes[focus]), "the same boxes have other codes")


def make_index_call(random: Random, folder: pathlib.Path):
    method = random.choice(["add", "upsert", "search", "search", "get", "holds", "restore", "open"])
    case = {"method": method, "codes": random.choice(CODES), "options": {}}
    if method in ("add", "upsert"):
        case["options"] = {"match": "['m'] * 2", "clip": "[1, 2]"}
        for name in random.sample(FIELDS, 2):
            value = random.choice(VALUES)
            case["options"][name] = random.choice([value, f"[{value}] * 2", f"[{value}, 1]"])
    elif method == "search":
        for name in random.sample(["focus", "k", "radius", "where", "together"], 2):
            case["options"][name] = random.choice(VALUES)
    else:
        value = random.choice(VALUES)
        case["codes"] = random.choice([value, f"[{value}]", f"[({value}, 1)]", f"[('0', {value})]"])
    shutil.copytree(material.INDEX, folder / "index")
    return case


def run_index_call(folder: pathlib.Path, case):
    from stvh_jax.retrieval.index import Index

    random = np.random.default_rng(0)
    names = {"np": np, "math": math, "codes": random.integers(0, 256, (2, 2), np.uint8)}
    options = {name: eval(value, names) for name, value in case["options"].items()}
    argument = eval(case["codes"], names)
    index, method = Index.open(folder / "index"), case["method"]
    before = len(index)
    if method == "open":
        Index.open(folder / "index", version=argument)
        return
    answer = getattr(index, method)(argument, **options)
    if method == "search":
        for hits in answer:
            listed = [hit.distance for hit in hits]
            expect(listed == sorted(listed), "hits are not in order")
    if method in ("add", "upsert"):
        expect(len(Index.open(folder / "index")) == len(index) >= before, "clips are lost")


def make_names(random: Random, folder: pathlib.Path):
    def name():
        kinds = [
            lambda: random.choice(JUNK_TEXTS),
            lambda: "".join(chr(random.randrange(random.choice([127, 0x3000])))
                            for _ in range(random.choice([1, 3, 20, 300]))),
            lambda: str(random.randrange(10 ** random.choice([1, 5, 19, 40]))),
            lambda: random.choice(["0", "00"]) + str(random.randrange(100)),
            lambda: random.choice(["e\u0301", "\u00e9", "\u0665", "a\u200b", "seq2", "seq10"]),
            lambda: random.choice([0, 1, -1, 2**63, 10**30, True, None, 1.5]),
        ]  # fmt: skip
        return random.choice(kinds)()

    return [[name(), name()] for _ in range(random.choice([1, 2, 5]))]


def run_names(folder: pathlib.Path, names):
    from stvh_jax.retrieval.index import Index

    index = Index.create(folder / "index", bits=16, stored_foci=(1,))
    codes = np.arange(2 * len(names), dtype=np.uint8).reshape(-1, 2)
    matches, clips = zip(*names)
    index.add(codes, match=list(matches), clip=list(clips))
    texts = [tuple(name if isinstance(name, str) else str(int(name)) for name in clip)
             for clip in names]  # fmt: skip
    index = Index.open(folder / "index")
    (hits,) = index.search(np.zeros(2, np.uint8), k=None, radius=16)
    expect(sorted((hit.match, hit.clip) for hit in hits) == sorted(texts), "names have changed")
    stored, records = index.get(texts)
    expect(np.array_equal(stored[1], codes), "names stand for other codes")
    expect([(record["match"], record["clip"]) for record in records] == texts, "other records")
    for match, _ in texts:
        quoted = match.replace("'", "''")
        found = index.count(f"match = '{quoted}'")
        expect(found == sum(match == other for other, _ in texts), f"{found} clips of {match!r}")


TARGETS = (
    Target("Encoder.encode", make_encode, run_encode),
    Target("arguments of an index", make_index_call, run_index_call),
    Target("names", make_names, run_names),
)
