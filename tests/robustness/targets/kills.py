"""Processes killed at any moment, after which the same command finishes and gives the same."""

import functools
import pathlib
import shutil
import time
from typing import Any

from stvh_jax.errors import UserError
from tests.robustness import commands, material
from tests.robustness.case import Fault, Target, Verdict, expect
from tests.robustness.mutations import Random, broken_file
from tests.robustness.targets import stores


def _share(random: Random, folder: pathlib.Path) -> float:
    """Draws when to kill, as a share of the time that the whole takes."""
    return random.uniform(0, 1.1)


@functools.cache
def _seconds_of(what) -> float:
    """Measures how long a call takes in a fork."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        ended = commands.run(functools.partial(what, pathlib.Path(folder)), pathlib.Path(folder))
        expect(ended.status == 0, f"without a kill it fails: {ended.errors[-2000:]}")
        return time.monotonic() - start


def _killed_and_finished(what, folder: pathlib.Path, share: float) -> None:
    """Runs a call that is killed, and the same call again to its end."""
    call = functools.partial(what, folder / "work")
    (folder / "work").mkdir(exist_ok=True)
    commands.run(call, folder / "one", kill_after=share * _seconds_of(what))
    try:
        commands.judge(commands.run(call, folder / "two"))
    except UserError as error:
        raise Fault(Verdict.WRONG, f"after a kill the same command fails: {error}") from error


@commands.as_command
def train(folder: pathlib.Path) -> None:
    from stvh_jax.training.trainer import train
    from tests.helpers.fakes import FakeDataset, tiny_config

    train(tiny_config(), FakeDataset(), folder / "run")


def run_training(folder: pathlib.Path, share: float):
    import stvh_jax.training.trainer  # noqa: F401 - before the forks

    _killed_and_finished(train, folder, share)
    check_trained(folder)


def check_trained(folder: pathlib.Path) -> None:
    """Compares a run's checkpoints, in `work/run`, with those of the uninterrupted one."""
    for which in ("best", "latest"):
        right, found = (
            commands.result(functools.partial(stores.loaded, run, which), folder / "loaded")
            for run in (material.RUN, folder / "work" / "run")
        )
        expect(found == right, f"the {which} checkpoint is not that of an uninterrupted run")


def make_resumed(random: Random, folder: pathlib.Path):
    run = folder / "work" / "run"
    shutil.copytree(material.RUN, run)
    (run / "finished.json").unlink()
    newest = max((run / "checkpoints").glob("[0-9]*"), key=lambda path: int(path.name))
    shutil.rmtree(newest)
    return broken_file(random, run / "checkpoints")


def run_resumed(folder: pathlib.Path, broken: str):
    """Resumes a run from a checkpoint that is broken: not at all, or to the right end."""
    import stvh_jax.training.trainer  # noqa: F401

    commands.judge(commands.run(functools.partial(train, folder / "work"), folder / "one"))
    check_trained(folder)


@commands.as_command
def prepare(folder: pathlib.Path) -> None:
    from data.prepared import builder
    from data.variants import Variant

    variant = Variant.parse("volleyball", "frames")
    builder.prepare(variant, material.RAW, folder / "sets", allow_missing=False, report=print)


def run_preparing(folder: pathlib.Path, share: float):
    import data.prepared.builder  # noqa: F401

    _killed_and_finished(prepare, folder, share)
    right, found = (
        commands.result(functools.partial(stores.set_of, sets), folder / "read")
        for sets in (material.SETS, folder / "work" / "sets")
    )
    expect(stores.same_sets(right, found), "the prepared set is not that of one without a kill")


@commands.as_command
def pack(folder: pathlib.Path) -> None:
    from stvh_jax.runs import packed

    packed.pack(material.RUN, folder / "packed.zip")


def run_packing(folder: pathlib.Path, share: float):
    import stvh_jax.runs.packed  # noqa: F401

    call, path = functools.partial(pack, folder), folder / "packed.zip"
    commands.run(call, folder / "one", kill_after=share * _seconds_of(pack))
    right = material.PACKED.read_bytes()
    expect(not path.exists() or path.read_bytes() == right, "a part of a packed run is there")
    commands.judge(commands.run(call, folder / "two"))
    expect(path.read_bytes() == right, "another packed run")


KINDS = {
    "writing": ("create", "add", "upsert", "derive", "delete", "restore", "compact"),
    "compacting": ("create", "add", "add", "compact", "upsert", "compact", "delete", "compact"),
}


def write(kinds: tuple[str, ...], folder: pathlib.Path) -> None:
    """Writes to an index, and notes each write before it and after."""
    from tests.helpers import index_writer

    with (folder / "log").open("w") as log:
        for number, kind in enumerate(kinds):
            print("begin", number, kind, file=log, flush=True)
            index_writer.write(kind, number, folder / "index")
            print("done", number, kind, file=log, flush=True)


def run_index(kinds: tuple[str, ...], folder: pathlib.Path, share: float):
    from tests.helpers import index_writer
    from tests.properties import test_kills

    call = functools.partial(write, kinds)
    work = folder / "work"
    work.mkdir()
    commands.run(
        functools.partial(call, work), folder / "one", kill_after=share * _writing_seconds(kinds)
    )
    log = work / "log"
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    held: dict[int, int] = {}
    for _, number, kind in (line for line in lines if line[0] == "done"):
        held = index_writer.written(kind, int(number), held)
    possible = [held]
    if lines and lines[-1][0] == "begin":
        _, number, kind = lines[-1]
        possible.append(index_writer.written(kind, int(number), held))
        if kind == "create":
            possible.append(None)
    possible = possible if lines else [None]

    def found() -> Any:
        exists = test_kills.Index.exists(work / "index")
        return test_kills.clips_of(work / "index") if exists else None

    clips = commands.result(found, folder / "two")
    expect(clips in possible, f"{lines[-2:]}: the index holds {clips}, not {possible}")


@functools.cache
def _writing_seconds(kinds: tuple[str, ...]) -> float:
    return _seconds_of(functools.partial(write, kinds))


@commands.as_command
def finish_index(folder: pathlib.Path) -> None:
    """Adds a run's clips to an index, as the command does."""
    from stvh_jax.inference.encoder import load
    from stvh_jax.retrieval.indexing import index_split
    from stvh_jax.runs import folders
    from tests.helpers.fakes import FakeDataset

    run = folders.open_folder(material.RUN)
    index_split(run, load(run), FakeDataset(), folder / "index", split="train", stored_foci=(1,))


def clips_of(folder: pathlib.Path) -> Any:
    """Gives the codes and records of an index's clips."""
    _, hits, codes, records, counts = stores.everything_of(folder / "index")
    return hits, codes, records, counts


@functools.cache
def whole_index() -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        commands.judge(commands.run(functools.partial(finish_index, path), path))
        return commands.result(functools.partial(clips_of, path), path)


def run_indexing(folder: pathlib.Path, share: float):
    import stvh_jax.retrieval.indexing
    import stvh_jax.retrieval.lance.engine  # noqa: F401

    _killed_and_finished(finish_index, folder, share)
    found = commands.result(functools.partial(clips_of, folder / "work"), folder / "read")
    expect(found == whole_index(), "the index is not that of an indexing without a kill")


TARGETS = (
    Target("resuming", make_resumed, run_resumed, seconds=120),
    Target("kills: training", _share, run_training, seconds=240, kills=True, files=False),
    Target("kills: preparing", _share, run_preparing, seconds=240, kills=True, files=False),
    Target("kills: packing", _share, run_packing, seconds=120, kills=True, files=False),
    Target("kills: indexing", _share, run_indexing, seconds=240, kills=True, files=False),
    *(
        Target(
            f"kills: {name}",
            _share,
            functools.partial(run_index, kinds),
            seconds=120,
            kills=True,
            files=False,
        )
        for name, kinds in KINDS.items()
    ),
)
