"""An index killed in the middle of its writes opens again with all that it acknowledged."""

import collections
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from stvh_jax.retrieval.index import Index
from tests.helpers import index_writer

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).resolve().parents[2]
KILLS, KILLS_OF_AN_INDEX = 100, 10


def kill_a_writer(process, folder, first, random):
    """Has an index written to and kills the writer; tells which writes it began and which it did.

    The kill falls into the making of a new index, or into the first to fourth write, from its
    beginning to a little after its usual end.
    """
    process.stdin.write(f"{folder} {first} 6\n")
    process.stdin.flush()
    writer = int(process.stdout.readline())
    new = not folder.exists()
    chosen = first + (0 if new else int(random.integers(0, 4)))
    began, done = [], []
    for line in iter(process.stdout.readline, "ended\n"):
        what, number, kind = line.split()
        (began if what == "begin" else done).append((int(number), kind))
        if what == "begin" and int(number) == chosen:
            time.sleep(random.uniform(0, 0.01 if new else 0.03))
            os.kill(writer, signal.SIGKILL)
    return began, done


def clips_of(folder):
    """Reads clip -> the number of the write that it is from, and checks the derived codes."""
    index = Index.open(folder)
    zero = np.zeros(index_writer.BITS // 8, np.uint8)
    everything = {"k": None, "radius": index_writer.BITS}
    (hits,) = index.search(zero, **everything)
    names = [(hit.match, hit.clip) for hit in hits]
    if not names:
        return {}
    codes = index.get(names)[0][index_writer.LAYERS]
    assert [int(clip) % 256 for _, clip in names] == codes[:, 0].tolist()
    (derived,) = index.search(zero, focus=0, **everything)
    matrix = index_writer.matrix()
    bits = np.unpackbits(matrix.derive(zero[None], 0) ^ matrix.derive(codes, 0), axis=1)
    wanted = dict(zip(names, bits.sum(axis=1)))
    assert {(hit.match, hit.clip): hit.distance for hit in derived} == wanted
    return {int(clip): int(number) for (_, clip), number in zip(names, codes[:, 1])}


def in_a_byte(clips):
    """Gives the numbers of the writes as the codes hold them."""
    return {clip: number % 256 for clip, number in clips.items()}


@pytest.fixture
def process():
    command = [sys.executable, "-m", "tests.helpers.index_writer"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        yield started
        started.stdin.close()


@pytest.mark.soak
def test_nothing_acknowledged_is_lost(process, tmp_path):
    random = np.random.default_rng(0)
    killed = collections.Counter()
    number = 0
    for kill in range(KILLS):
        folder = tmp_path / str(kill // KILLS_OF_AN_INDEX)
        if kill % KILLS_OF_AN_INDEX == 0:
            expected = {}
        began, done = kill_a_writer(process, folder, number, random)
        for one, kind in done:
            expected = index_writer.written(kind, one, expected)
        possible = [expected]
        if len(began) > len(done):
            # The write that was killed is there as a whole, or not at all.
            one, kind = began[-1]
            killed[kind] += 1
            possible.append(index_writer.written(kind, one, expected))
            if kind == "create" and not Index.exists(folder):
                number = one + 1
                continue
        found = clips_of(folder)
        expected = next((some for some in possible if in_a_byte(some) == found), None)
        assert expected is not None, (began, done, possible, found)
        number = began[-1][0] + 1
    assert killed.keys() == set(index_writer.KINDS)
    assert sum(killed.values()) > KILLS // 2
