"""Every flag of every command with junk values, in a fork each."""

import dataclasses
import functools
import importlib
import pathlib
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence

from stvh_jax.fields import flatten
from tests.robustness import commands, material
from tests.robustness.case import Target
from tests.robustness.mutations import Random

DATASET = "--dataset=tests.robustness.material:open_dataset"
JUNK = (
    "", " ", "0", "1", "-1", "3", "-0", "0.5", "nan", "inf", "-inf", "1e400", "1e-400", "9" * 400,
    "2147483648", "9223372036854775808", "1,2", "0,1", ",", "()", "(1,)", "(1,2)", "[1]", "{}",
    "'a'",
    "None", "True", "maybe", "x", "x" * 5000, "é", "\u202e", "\u0661", "²", "\udcff", "a\nb",
    "\x1b[2J",
    "..", "nowhere/x", "in", "in/file", "in/file/x", "out.zip", "out.png", "out.csv", "out.parquet",
    "/proc/nothing", "file:///proc/nowhere", "http://", "http://127.0.0.1:9/x", "ftp://x/y", "://",
    "s3://", "gs://", "%s%n", "{match}", "{", "{0}", "{match.__class__}", "';--", "-", "--", "=",
    "train", "train+test", "train+", "+", "0/0", "1/100", "1/0/", "/", "activity", "visual",
    "os:system", "json:loads", "nowhere:x", ":", "match = '1'",
    "match = ", "binary", "real", "latest",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line.

    Attributes:
      main: takes its words.
      right: words that work.
      flags: those that may be given, "" for words without one.
      copies: what is copied beside it, by name.
      modules: imported once before the forks, for they take seconds.
      good: the exit statuses of success.
    """

    main: Callable[[list[str]], object]
    right: Sequence[str]
    flags: Sequence[str]
    copies: Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict)
    modules: Sequence[str] = ()
    good: tuple[int, ...] = (0,)


def make(command: Command, random: Random, folder: pathlib.Path):
    words = list(command.right)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        flag = random.choice(command.flags)
        value = random.choice([value for value in JUNK if _allowed(flag, value)])
        if random.random() < 0.05:
            flag = random.choice(["--nothing", "-x", "---", flag[:-1]])
        places = [place for place, word in enumerate(words) if flag and word.startswith(flag + "=")]
        for place in places[:1]:
            del words[place]
        bare = not flag or random.random() < 0.05
        words.append(value if bare else f"{flag}={value}")
    return words


def _allowed(flag: str, value: str) -> bool:
    """Leaves out what is done as it is asked for, but should not be: see the values."""
    if "epochs" in flag:
        return not value.isdecimal() or len(value) < 3
    return value not in ("/", "..") or "out" not in flag


def run(command: Command, folder: pathlib.Path, words: list[str]):
    for module in command.modules:
        importlib.import_module(module)
    inside = folder / "a" / "b" / "c" / "d"
    (inside / "in").mkdir(parents=True)
    (inside / "in" / "file").write_text("something\n")
    for name, path in command.copies.items():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, inside / name)
    ended = commands.run(functools.partial(command.main, words), inside)
    commands.judge(ended, good=command.good)


def train(words):
    from stvh_jax.cli import train as command

    sys.argv = ["train.py", *words]
    command.main(argv=sys.argv)


def evaluate(words):
    from stvh_jax.cli import evaluate as command

    sys.argv = ["evaluate.py", *words]
    command.main(argv=sys.argv)


def search(words):
    from stvh_jax.cli import search as command

    return command.main(argv=words)


def stvh(words):
    from stvh_jax.cli import main as command

    return command.main(words)


def data(words):
    from data import __main__ as command

    return command.main(words)


def _fields() -> list[str]:
    from tests.helpers.fakes import tiny_config

    return [f"--config.{name}" for name in flatten(tiny_config().to_dict())]


_CONFIG = f"--config={material.CONFIG}"
_TRAIN = [_CONFIG, DATASET, "--workdir=out"]
_TRAINING = ["stvh_jax.training.trainer"]
_SEARCHING = ["stvh_jax.retrieval.indexing", "stvh_jax.retrieval.lance.engine"]
_DATA = ("volleyball", "--raw=raw")

COMMANDS = {
    "config fields": Command(train, _TRAIN, _fields(), modules=_TRAINING),
    "train flags": Command(
        train,
        _TRAIN,
        ["--config", "--workdir", "--dataset", "--coordinator", "--num_processes", "--process_id",
         "--config.train.backbone_weights", "--config.train.feature_cache", ""],
        modules=_TRAINING,
    ),
    "evaluate flags": Command(
        evaluate,
        ["--workdir=run", "--bits=16", DATASET],
        ["--bits", "--workdir", "--config", "--split", "--base", "--checkpoint", "--data_dir",
         "--exclude_within_frames", "--filter_values", "--filter_per_step", "--filter_normalise",
         "--dataset", ""],
        {"run": material.RUN},
        ["stvh_jax.evaluation.evaluate"],
    ),
    "search index flags": Command(
        search,
        ["index", "--run=run", "--split=test", "--out=out", DATASET],
        ["--run", "--checkpoint", "--bits", "--split", "--out", "--data-dir", "--dataset",
         "--stored-foci", "--filter-values", "--filter-normalise", "--fps", "--media", ""],
        {"run": material.RUN, "index": material.INDEX, "packed.zip": material.PACKED},
        _SEARCHING,
    ),
    "search query flags": Command(
        search,
        ["query", "--index=index", "--clip=1/100", DATASET],
        ["--index", "--clip", "--frames", "--boxes", "--focus", "--k", "--radius", "--where",
         "--exclude-near", "--grid", "--export", "--run", "--data-dir", "--dataset", ""],
        {"index": material.INDEX, "run": material.RUN},
        _SEARCHING,
    ),
    "search by files": Command(
        search,
        ["query", "--index=index", "--boxes=clip/boxes.npy", DATASET],
        ["--boxes", "--frames", "--focus", "--k", "--radius", "--run", "--export", "--grid"],
        {"index": material.INDEX, "clip": material.CLIP},
        _SEARCHING,
    ),
    "data prepare flags": Command(
        data, ["prepare", *_DATA, "--out=out"], ["--raw", "--out", "--allow-missing", ""],
        {"raw": material.RAW}, ["data.prepared.builder"],
    ),
    "data check flags": Command(
        data, ["check", *_DATA], ["--raw", ""], {"raw": material.RAW}, good=(0, 1)
    ),
    "data synthesize flags": Command(
        data,
        ["synthesize", "volleyball", "--out=out", "--matches=3", "--clips-per-match=1"],
        ["--out", "--seed", "--difficulty", "--matches", "--clips-per-match", ""],
    ),
    "stvh share flags": Command(
        stvh, ["share", "run", "out.zip"], ["", "", "--checkpoint"], {"run": material.RUN}
    ),
    "stvh convert flags": Command(
        stvh, ["convert", "weights/w.safetensors", "out.safetensors"], ["", "", "--normalisation"],
        {"weights": material.WEIGHTS},
    ),
}  # fmt: skip

TARGETS = tuple(
    Target(
        name,
        functools.partial(make, command),
        functools.partial(run, command),
        seconds=90,
    )
    for name, command in COMMANDS.items()
)
