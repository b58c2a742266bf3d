"""Processes at the same place at the same time, a killed peer, and a disk that is full."""

import ctypes
import functools
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np

from stvh_jax.errors import UserError
from tests.helpers import trainings
from tests.robustness import commands, material
from tests.robustness.case import Fault, Skipped, Target, Verdict, expect
from tests.robustness.mutations import Random
from tests.robustness.targets import kills

_ROUNDS = 8


def _delay(random: Random, folder: pathlib.Path) -> float:
    return random.uniform(0, 1)


def _add_own(first: int, folder: pathlib.Path) -> None:
    """Adds clips one by one, again where another process writes, and notes what is in."""
    from stvh_jax.retrieval.index import Index

    index, acknowledged = Index.open(folder / "index"), []
    for clip in range(first, first + _ROUNDS):
        for _ in range(1000):
            try:
                index.add(np.array([[clip, clip]], np.uint8), match=["m"], clip=[clip])
            except UserError as error:
                expect("another process" in str(error), str(error))
                time.sleep(0.005)
            else:
                acknowledged.append(clip)
                break
    (folder / f"acknowledged-{first}").write_text(" ".join(map(str, acknowledged)))


def _make_index(folder: pathlib.Path) -> None:
    from stvh_jax.retrieval.index import Index

    Index.create(folder / "index", bits=16, stored_foci=(1,))


def _names_of(folder: pathlib.Path) -> list[int]:
    from stvh_jax.retrieval.index import Index

    (hits,) = Index.open(folder / "index").search(np.zeros(2, np.uint8), k=None, radius=16)
    return sorted(int(hit.clip) for hit in hits)


def run_writers(folder: pathlib.Path, delay: float):
    import stvh_jax.retrieval.lance.engine  # noqa: F401

    commands.judge(commands.run(functools.partial(_make_index, folder), folder / "zero"))
    forks = []
    for first in (0, 100):
        forks.append(commands.Fork(functools.partial(_add_own, first, folder), folder / f"{first}"))
        time.sleep(0.05 * delay)
    for fork in forks:
        commands.judge(fork.end())
    found = commands.result(functools.partial(_names_of, folder), folder / "three")
    notes = [path.read_text().split() for path in folder.glob("acknowledged-*")]
    acknowledged = sorted(int(clip) for note in notes for clip in note)
    expect(found == acknowledged, f"{acknowledged} were acknowledged, {found} are there")
    expect(len(found) == 2 * _ROUNDS, "a writer gave up")


def _write_and_compact(folder: pathlib.Path) -> None:
    from stvh_jax.retrieval.index import Index

    index = Index.open(folder / "index")
    for clip in range(_ROUNDS, 3 * _ROUNDS):
        index.add(np.array([[clip, clip]], np.uint8), match=["m"], clip=[clip])
        if clip % 2:
            index.compact()


def _read_on(folder: pathlib.Path) -> None:
    """Reads an index again and again: what it holds only grows, and is whole each time."""
    from stvh_jax.retrieval.index import Index

    index, before = Index.open(folder / "index"), 0
    end = time.monotonic() + 1
    while time.monotonic() < end:
        (hits,) = index.search(np.zeros(2, np.uint8), k=None, radius=16)
        clips = sorted(int(hit.clip) for hit in hits)
        expect(clips == list(range(len(clips))) and len(clips) >= before, f"{clips} after {before}")
        codes, _ = index.get([("m", clip) for clip in clips])
        expect(codes[1][:, 0].tolist() == clips, "clips have the codes of others")
        before = len(clips)
        index.refresh()


def _filled(folder: pathlib.Path) -> None:
    _make_index(folder)
    _add_own(0, folder)


def run_reader(folder: pathlib.Path, delay: float):
    import stvh_jax.retrieval.lance.engine  # noqa: F401

    commands.judge(commands.run(functools.partial(_filled, folder), folder / "zero"))
    writer = commands.Fork(functools.partial(_write_and_compact, folder), folder / "one")
    time.sleep(0.3 * delay)
    commands.result(functools.partial(_read_on, folder), folder / "two")
    commands.judge(writer.end())


def run_trainings(folder: pathlib.Path, delay: float):
    import stvh_jax.training.trainer  # noqa: F401

    work = folder / "work"
    forks = []
    for name in ("one", "two"):
        forks.append(commands.Fork(functools.partial(kills.train, work), folder / name))
        time.sleep(2 * delay)
    finished = 0
    for ended in [fork.end() for fork in forks]:
        try:
            commands.judge(ended)
            finished += 1
        except UserError:
            pass
    expect(finished > 0, "neither of two trainings in one folder has finished")
    kills.check_trained(folder)


def run_peer(folder: pathlib.Path, delay: float):
    """Kills one of two processes that train together; the other says so and ends."""
    processes = trainings.start_two(folder / "work" / "run", devices=2, wait_at=5)
    killed = processes[delay < 0.5]
    if delay < 0.8:  # at a step, where each of them waits for a line
        for process in processes:
            trainings.read_until_waiting(process)
    else:
        time.sleep(8 * delay)
    killed.kill()
    killed.communicate()
    (left,) = (process for process in processes if process is not killed)
    try:
        _, errors = left.communicate("\n", timeout=150)
    except subprocess.TimeoutExpired as error:
        left.kill()
        left.communicate()
        raise Fault(Verdict.HANG, "150 s after its peer was killed it still waits") from error
    lines = errors.strip().splitlines()
    if left.returncode < 0 or "Traceback" in errors:
        verdict = Verdict.CRASH if left.returncode < 0 else Verdict.TRACE
        raise Fault(verdict, f"status {left.returncode}\n{errors[-3000:]}")
    if left.returncode:
        clear = bool(lines) and lines[-1].startswith("error: ")
        if not clear:
            raise Fault(Verdict.TRACE, f"status {left.returncode}\n{errors[-3000:]}")
        raise UserError(lines[-1])


def _on_a_small_disk(call, size: int, folder: pathlib.Path) -> None:
    """Runs a call on a disk of a few bytes, then again where there is enough; keeps what it wrote.

    The disk is seen by this process alone, and ends with it.
    """
    libc, work = ctypes.CDLL(None, use_errno=True), folder / "work"
    work.mkdir()
    shared_by_none, own_mounts = 1 << 18 | 1 << 14, 0x20000
    mounted = libc.unshare(own_mounts) == 0 and (
        libc.mount(b"none", b"/", None, shared_by_none, None) == 0
        and libc.mount(b"small", bytes(work), b"tmpfs", 0, f"size={size}".encode()) == 0
    )
    if not mounted:
        raise SystemExit(77)
    first = commands.run(functools.partial(call, work), folder / "one")
    remount = 1 << 5
    libc.mount(b"small", bytes(work), b"tmpfs", remount, b"size=256m")
    second = commands.run(functools.partial(call, work), folder / "two")
    shutil.copytree(work, folder / "kept")
    for ended in (first, second):
        print(ended.status, flush=True)
    sys.stderr.write(first.errors if first.status else second.errors)


def make_disk(random: Random, folder: pathlib.Path):
    return random.choice([4, 8, 16, 32, 64, 128, 256, 1024]) << 10


def run_disk(call, check, folder: pathlib.Path, size: int):
    import stvh_jax.retrieval.lance.engine
    import stvh_jax.training.trainer  # noqa: F401

    ended = commands.run(functools.partial(_on_a_small_disk, call, size, folder), folder / "disk")
    if ended.status == 77:
        raise Skipped("a disk of its own may not be mounted here")
    first, second = map(int, ended.out.split())
    expect(second == 0, f"where there is room again the same command fails: {ended.errors[-2000:]}")
    (folder / "kept").rename(folder / "work2")
    shutil.rmtree(folder / "work", ignore_errors=True)
    (folder / "work2").rename(folder / "work")
    check(folder)
    if first:
        commands.judge(commands.Ended(first, "", ended.errors))


def _check_packed(folder: pathlib.Path) -> None:
    content = (folder / "work" / "packed.zip").read_bytes()
    expect(content == material.PACKED.read_bytes(), "another packed run")
    left = [path.name for path in (folder / "work").iterdir() if path.name != "packed.zip"]
    expect(not left, f"{left} are left behind")


def _check_index(folder: pathlib.Path) -> None:
    found = commands.result(functools.partial(kills.clips_of, folder / "work"), folder / "read")
    expect(found == kills.whole_index(), "the index has other clips")


TARGETS = (
    Target("two writers", _delay, run_writers, seconds=120, kills=True, files=False),
    Target("a reader and a writer", _delay, run_reader, seconds=120, kills=True, files=False),
    Target("two trainings", _delay, run_trainings, seconds=240, kills=True, files=False),
    Target("a killed peer", _delay, run_peer, seconds=300, files=False),
    *(
        Target(
            f"full disk: {name}",
            make_disk,
            functools.partial(run_disk, call, check),
            seconds=240,
            files=False,
        )
        for name, call, check in (
            ("training", kills.train, kills.check_trained),
            ("packing", kills.pack, _check_packed),
            ("indexing", kills.finish_index, _check_index),
        )
    ),
)
