"""The soak's own machinery: each verdict is found, told, kept and can be had again."""

import os
import pathlib
import signal
import time

import numpy as np
import pytest

from stvh_jax.errors import UserError
from tests.robustness import __main__ as program
from tests.robustness import commands, mutations, soak
from tests.robustness.case import Fault, Outcome, Skipped, Target, Verdict, expect
from tests.robustness.targets import TARGETS, flags


def make(random, folder):
    (folder / "file").write_text("something")
    return random.randrange(1000)


def right(folder, case):
    assert (folder / "file").exists() and isinstance(case, int)


def says(folder, case):
    raise UserError(f"{case} is not right")


class Chatter(UserError):
    """An error that does not keep to one line."""

    def __str__(self):
        return "two\nlines"


def chatters(folder, case):
    raise Chatter


def traces(folder, case):
    raise KeyError("oh")


def exits(folder, case):
    raise SystemExit(2)


def crashes(folder, case):
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(folder, case):
    time.sleep(60)


def grows(folder, case):
    np.ones(1 << 27).sum()


def errs(folder, case):
    expect(case < 0, "it should be less")


def skips(folder, case):
    raise Skipped("it is the wrong day")


CASES = {
    right: Verdict.RIGHT,
    says: Verdict.CLEAR_ERROR,
    chatters: Verdict.TRACE,
    traces: Verdict.TRACE,
    exits: Verdict.TRACE,
    crashes: Verdict.CRASH,
    grows: Verdict.CRASH,
    hangs: Verdict.HANG,
    errs: Verdict.WRONG,
}


@pytest.fixture(scope="module")
def soaked(tmp_path_factory):
    """Runs a target for each case, two cases of each, and one that cannot run here."""
    targets = [
        Target(
            run.__name__,
            make,
            run,
            seconds=2 if run is hangs else 60,
            seconds_to_start=0,
            megabytes=900,
        )
        for run in (*CASES, skips)
    ]
    failures = soak.Failures(tmp_path_factory.mktemp("soaked") / "failures")
    tallies = soak.soak(targets, seconds=0, seed=7, least=2, kills=2, failures=failures)
    return targets, failures, tallies


def test_every_verdict_is_found_and_the_soak_goes_on(soaked):
    *tallies, skipped = soaked[2]
    found = {tally.name: dict(tally.counts) for tally in tallies}
    assert found == {run.__name__: {verdict: 2} for run, verdict in CASES.items()}
    assert [tally.name for tally in tallies if tally.good] == ["right", "says"]
    assert skipped.skipped == "it is the wrong day" and not skipped.counts and skipped.good


def test_the_table_has_a_row_for_each_target(soaked):
    head, *rows, total = soak.table(soaked[2]).splitlines()
    assert head.split()[:2] == ["target", "runs"]
    assert [row.split()[0] for row in rows] == [run.__name__ for run in (*CASES, skips)]
    assert total.split() == ["all", "18", "2", "2", "6", "4", "2", "2"]


def test_a_failure_is_kept_once_and_can_be_run_again(soaked):
    targets, failures, _ = soaked
    kept = {path.name.partition("-")[0]: path for path in failures.folder.iterdir()}
    assert kept.keys() == {run.__name__ for run, verdict in CASES.items() if not verdict.good}
    assert "SIGSEGV" in (kept["crashes"] / soak.OUTPUT).read_text()
    assert soak.again(targets, kept["errs"]) == Outcome(Verdict.WRONG, "it should be less")
    assert soak.again(targets, kept["traces"]).verdict is Verdict.TRACE


def test_of_failures_that_are_alike_the_smallest_is_kept(tmp_path):
    failures, target = soak.Failures(tmp_path / "failures"), Target("any", make, errs)
    for size in (30, 10, 20):
        made = tmp_path / f"made-{size}"
        made.mkdir()
        (made / "file").write_bytes(bytes(size))
        outcome = Outcome(Verdict.TRACE, f"KeyError: '{size}' in /tmp/{size}/x")
        failures.keep(target, outcome, made)
    (kept,) = failures.folder.iterdir()
    assert kept.name == "any-trace-keyerror-in" and len((kept / "file").read_bytes()) == 10


def test_one_seed_gives_the_same_case(tmp_path):
    for target in TARGETS:
        if target.name in ("Encoder.encode", "conditions", "search query flags", "names"):
            first, second = (target.make(mutations.Random("7"), tmp_path) for _ in range(2))
            assert first == second


@pytest.mark.parametrize("status, line", [(0, "all is right"), (1, "make soak CASE=")])
def test_the_program_ends_with_the_verdict(status, line, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(program, "TARGETS", [Target("one", make, traces if status else right)])
    monkeypatch.setattr(program.material, "build", lambda once: None)
    options = ["--minutes=0", "--seed=3", f"--out={tmp_path}"]
    monkeypatch.setattr("sys.argv", ["soak", *options])
    assert program.main() == status
    printed = capsys.readouterr().out
    assert printed.startswith("seed 3") and line in printed


def command(kind):
    if kind == "trace":
        raise KeyError(kind)
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "error":
        os.write(2, b"error: it is so; do that\n")
        return 2
    if kind == "chatter":
        os.write(2, b"WARNING: hm\nerror: it is so\n")
        raise SystemExit(2)
    return 0


@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize(
    "kind, verdict",
    [("trace", Verdict.TRACE), ("crash", Verdict.CRASH), ("chatter", Verdict.TRACE)],
)
def test_a_command_must_end_with_one_line(kind, verdict, tmp_path):
    with pytest.raises(Fault) as raised:
        commands.judge(commands.run(lambda: command(kind), tmp_path))
    assert raised.value.verdict is verdict


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_command_that_is_right_or_says_why_not(tmp_path):
    commands.judge(commands.run(lambda: command("right"), tmp_path))
    with pytest.raises(UserError, match="^error: it is so; do that$"):
        commands.judge(commands.run(lambda: command("error"), tmp_path))


@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_fork_is_killed_in_time(tmp_path):
    start = time.monotonic()
    ended = commands.run(lambda: time.sleep(30), tmp_path, kill_after=0.2)
    assert ended.status == -signal.SIGKILL and time.monotonic() - start < 10


def test_broken_files_are_files_of_the_folder(tmp_path):
    random = mutations.Random("1")
    for number in range(50):
        folder = pathlib.Path(tmp_path, str(number))
        (folder / "deep").mkdir(parents=True)
        (folder / "one").write_bytes(b"12345678")
        (folder / "deep" / "two").write_bytes(b"abcdefgh")
        name, _, _ = mutations.broken_file(random, folder).partition(":")
        assert name in ("one", "deep/two")


def test_names_of_targets_are_all_different():
    names = [target.name for target in TARGETS]
    assert len(set(names)) == len(names) > 30
    assert set(flags.COMMANDS) < set(names)
