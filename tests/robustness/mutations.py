"""Ways to break bytes, texts, JSON, files and words; each draws from a `random.Random`."""

import json
import pathlib
import random as _random
import shutil
from typing import Any

Random = _random.Random

JUNK_NUMBERS = (
    0, -1, 1, 2, 255, 256, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 10**30, 0.5, -0.0, 1e-320,
    1e308, -1e308, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
JUNK_TEXTS = (
    "", " ", "\t", "a\nb", "\x00", "\x1b[2J", "é", "\u202egnp.exe", "\u0661\u0662", "²", "𝟙",
    "\ufeff", "\ud800", "a/b", "..", "../..", ".", "-", "--", "'", '"', "';--", "%s%n", "{match}",
    "{", "NaN", "None", "True", "0x10", "1e400", "1_000", "-0", "00", "9" * 400, "x" * 5000,
    "(" * 3000,
)  # fmt: skip


def junk(random: Random) -> Any:
    """Draws a value of JSON of any type."""
    return random.choice(
        [
            None,
            True,
            random.choice(JUNK_NUMBERS),
            random.choice(JUNK_NUMBERS),
            random.choice(JUNK_TEXTS),
            [],
            {},
            [random.choice(JUNK_NUMBERS)],
            [random.choice(JUNK_TEXTS)],
            {random.choice(JUNK_TEXTS): random.choice(JUNK_NUMBERS)},
            [[1, 2], [3]],
        ]
    )


def broken_bytes(random: Random, content: bytes) -> bytes:
    """Flips, cuts, repeats or replaces some of the bytes."""
    changed = bytearray(content)
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        place = random.randrange(len(changed) + 1)
        end = min(len(changed), place + random.choice([1, 2, 4, 16, 256]))
        kind = random.randrange(7)
        if kind <= 1 and place < len(changed):
            changed[place] ^= 1 << random.randrange(8)
        elif kind == 2 and place < len(changed):
            changed[place] = random.choice([0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)])
        elif kind == 3:
            del changed[place:]
        elif kind == 4:
            del changed[place:end]
        elif kind == 5:
            changed[place:place] = changed[place:end] * random.choice([1, 2, 50])
        else:
            changed[place:end] = random.randbytes(random.choice([1, end - place]))
    return bytes(changed)


def broken_text(random: Random, text: str) -> bytes:
    """Replaces words by junk, drops or repeats lines, or breaks bytes of a text."""
    if random.random() < 0.3:
        return broken_bytes(random, text.encode())
    lines = text.splitlines(keepends=True) or [""]
    for _ in range(random.choice([1, 1, 2, 3])):
        place = random.randrange(len(lines))
        kind = random.randrange(5)
        words = lines[place].replace(",", " , ").split(" ")
        if kind <= 2:
            words[random.randrange(len(words))] = str(
                random.choice(random.choice([JUNK_NUMBERS, JUNK_TEXTS]))
            )
            lines[place] = " ".join(words).replace(" , ", ",")
        elif kind == 3:
            lines.insert(place, random.choice(lines))
        elif len(lines) > 1:
            del lines[place]
    return "".join(lines).encode(random.choice(["utf-8", "utf-8", "utf-16"]), "surrogatepass")


def broken_json(random: Random, text: str) -> bytes:
    """Replaces, drops or adds a value somewhere in JSON, or nests it, or breaks its text."""
    kind = random.random()
    if kind < 0.2:
        return broken_text(random, text)
    if kind < 0.23:
        return b"[" * 100_000
    value = json.loads(text)
    for _ in range(random.choice([1, 1, 2])):
        value = _changed(random, value)
    return json.dumps(value).encode()


def _changed(random: Random, value: Any) -> Any:
    """Changes one value of a tree."""
    if not isinstance(value, (dict, list)) or not value or random.random() < 0.1:
        return junk(random)
    value = value.copy()
    key = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
    kind = random.random()
    if kind < 0.1:
        del value[key]
    elif kind < 0.2 and isinstance(value, dict):
        value[random.choice(JUNK_TEXTS)] = junk(random)
    else:
        value[key] = _changed(random, value[key])
    return value


def broken_file(random: Random, folder: pathlib.Path, pattern: str = "*") -> str:
    """Breaks one of the files at any depth of a folder, and says which and how."""
    paths = sorted(path for path in folder.rglob(pattern) if path.is_file())
    path = random.choice(paths)
    content = path.read_bytes()
    kinds = {
        "one bit flipped": lambda: path.write_bytes(_flipped(random, content)),
        "cut": lambda: path.write_bytes(content[: random.randrange(len(content) + 1)]),
        "broken": lambda: path.write_bytes(broken_bytes(random, content)),
        "empty": lambda: path.write_bytes(b""),
        "zeros": lambda: path.write_bytes(bytes(len(content))),
        "deleted": path.unlink,
        "a folder": lambda: (path.unlink(), path.mkdir()),
        "another file": lambda: shutil.copyfile(random.choice(paths), path),
    }
    weights = [8, 3, 3, 1, 1, 2, 1, 1]
    kind = random.choices(list(kinds), weights)[0]
    if kind != "another file" or len(paths) > 1:
        try:
            kinds[kind]()
        except shutil.SameFileError:
            kind = "left as it was"
    return f"{path.relative_to(folder)}: {kind}"


def _flipped(random: Random, content: bytes) -> bytes:
    changed = bytearray(content or b"\0")
    changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)
