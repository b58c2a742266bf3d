"""Every flag of every command, given wrongly: one line that names it, and status 2.

The flags are those that the commands define, so that a new one is tried, too. Nothing here reads a
run or a data set; mistakes that only show there are in the tests of each command.
"""

import argparse
import importlib
import pathlib
import re
import sys

import pytest
from absl import flags

from stvh_jax.cli import parsing

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = f"--config={ROOT}/configs/vd_boxes.py"
HUGE = str(10**30)

# What each command is given beside the flag that is tried.
COMMANDS = {
    "search index": ["--run=nowhere", "--out=out"],
    "search query": ["--index=nowhere", "--clip=1/100"],
    "search groups": ["--index=nowhere"],
    "search name": ["--index=nowhere", "--clip=1/100", "--as=x"],
    "share": ["nowhere", "out.zip"],
    "convert": ["nowhere.h5", "out.safetensors"],
    "data prepare volleyball": ["--raw=nowhere"],
    "data check volleyball": ["--raw=nowhere"],
    "data synthesize volleyball": ["--out=file"],
    "data prepare collective_activity": ["--raw=nowhere"],
    "data check collective_activity_extended": ["--raw=nowhere"],
    "experiments": ["table2"],
}
FLAGGED = {"train": [CONFIG], "evaluate": []}


def parser_of(command):
    """Gives the parser of a command, and the words that choose it."""
    name, *words = command.split()
    module = f"{name}.__main__" if name in ("data", "experiments") else f"stvh_jax.cli.{name}"
    make = importlib.import_module(module)._parser
    parser = make() if name in ("data", "experiments") else make(name)
    return parser, words


def options_of(command):
    """Gives the options of a command that take a value."""
    parser, words = parser_of(command)
    for word in words:
        (choices,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parser = choices.choices[word]
    taken = [action for action in parser._actions if action.option_strings and action.nargs != 0]
    return {action.option_strings[-1]: action for action in taken}


OPTIONS = [
    (command, name, action)
    for command in COMMANDS
    for name, action in options_of(command).items()
    if action.help is not argparse.SUPPRESS
]
IDS = [f"{command} {name}" for command, name, _ in OPTIONS]


@pytest.fixture
def mistake(monkeypatch, tmp_path, capsys):
    """Runs a command in an empty folder, checks that it ends as mistakes do, and gives its line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()

    def run(command, *arguments):
        try:
            status = _start(command, list(arguments), monkeypatch)
        except SystemExit as stopped:
            status = stopped.code
        out, err = capsys.readouterr()
        assert (status, out) == (2, ""), (status, out, err)
        assert re.fullmatch("error: [^\n]{5,1100}\n", err), err
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        return err

    return run


def _start(command, arguments, monkeypatch):
    if command not in FLAGGED:
        parser, words = parser_of(command)
        return parsing.run_command(parser, [*words, *arguments])
    monkeypatch.setattr(sys, "argv", [f"{command}.py", *arguments])
    try:
        return importlib.import_module(f"stvh_jax.cli.{command}").main(argv=sys.argv)
    finally:  # a process defines a flag once, but these commands run many times in this one
        for name in list(flags.FLAGS):
            home = flags.FLAGS.find_module_defining_flag(name)
            if "." in name or not home.startswith("absl."):
                delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()


@pytest.mark.parametrize("command", [*COMMANDS, *FLAGGED])
def test_an_unknown_flag(command, mistake):
    right = (COMMANDS | FLAGGED)[command]
    for unknown in ("--nothing", "--nothing=1", "-x"):
        assert unknown.strip("-").partition("=")[0] in mistake(command, *right, unknown)


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_in_quotes_for_a_word(command, mistake):
    assert "'' is not a value" in mistake(command, *COMMANDS[command], "")
    if not COMMANDS[command][0].startswith("-"):
        assert "'' is not a value" in mistake(command, "", *COMMANDS[command][1:])


@pytest.mark.parametrize(("command", "name", "action"), OPTIONS, ids=IDS)
def test_an_option_without_a_value(command, name, action, mistake):
    right = [word for word in COMMANDS[command] if not word.startswith(name + "=")]
    assert f"argument {name}" in mistake(command, *right, name)
    for empty in ([f"{name}="], [name, ""]):
        assert f"'' is not a value of {name};" in mistake(command, *right, *empty)


@pytest.mark.parametrize(
    ("command", "name", "action"),
    [option for option in OPTIONS if option[2].type in (int, float)],
    ids=[name for name, (*_, action) in zip(IDS, OPTIONS) if action.type in (int, float)],
)
def test_an_option_of_another_type(command, name, action, mistake):
    words = ["x", "1,5", "0x10", "9" * 5000 if action.type is int else "1e", "None"]
    for word in words[: len(words) - (action.nargs == 2)]:
        values = [word] * (action.nargs or 1)
        line = mistake(command, *COMMANDS[command], name, *values)
        assert f"argument {name}: invalid {action.type.__name__} value" in line


@pytest.mark.parametrize(
    ("command", "name", "action"),
    [option for option in OPTIONS if option[2].choices],
    ids=[name for name, (*_, action) in zip(IDS, OPTIONS) if action.choices],
)
def test_an_option_that_is_none_of_its_choices(command, name, action, mistake):
    assert f"argument {name}: invalid choice" in mistake(command, *COMMANDS[command], name, "x")


@pytest.mark.parametrize(
    ("command", "name", "action"),
    [option for option in OPTIONS if option[2].type is int and option[2].nargs is None],
    ids=[n for n, (*_, a) in zip(IDS, OPTIONS) if a.type is int and a.nargs is None],
)
@pytest.mark.parametrize("number", ["-1", HUGE])
@pytest.mark.slow  # imports what reads an index
def test_a_whole_number_beyond_reason(number, command, name, action, mistake):
    mistake(command, *COMMANDS[command], name, number)


def test_foci_are_small_numbers(mistake):
    for foci in ("a", "-1", "1,", ",", "1.5", "9" * 5000, "١"):
        line = mistake("search index", *COMMANDS["search index"], f"--stored-foci={foci}")
        assert "is not a list of foci; give numbers, for example 0,3" in line


# --- the flags of train and evaluate -----------------------------------------------------------

TEXTS = [
    ("train", "workdir"),
    ("train", "dataset"),
    ("train", "coordinator"),
    ("evaluate", "workdir"),
    ("evaluate", "split"),
    ("evaluate", "base"),
    ("evaluate", "data_dir"),
    ("evaluate", "dataset"),
]
NUMBERS = [
    ("train", "num_processes"),
    ("train", "process_id"),
    ("evaluate", "bits"),
    ("evaluate", "exclude_within_frames"),
]
CHOICES = [
    ("evaluate", "checkpoint"),
    ("evaluate", "filter_values"),
    ("evaluate", "filter_normalise"),
]


@pytest.mark.parametrize(("command", "name"), [*TEXTS, *NUMBERS, *CHOICES])
def test_a_flag_without_a_value(command, name, mistake):
    right = FLAGGED[command]
    assert mistake(command, *right, f"--{name}") == f"error: Missing value for flag --{name}\n"
    for empty in ([f"--{name}="], [f"--{name}", ""]):
        assert f"--{name}" in mistake(command, *right, *empty)


@pytest.mark.parametrize("command", FLAGGED)
@pytest.mark.parametrize("empty", [["--config="], ["--config", ""]])
def test_a_config_without_a_name(command, empty, mistake):
    assert "cannot read the file of --config" in mistake(command, *empty)


@pytest.mark.parametrize(("command", "name"), [*NUMBERS, *CHOICES, ("evaluate", "filter_per_step")])
def test_a_flag_of_another_type(command, name, mistake):
    for value in ("x", "1.5", "9" * 5000, "None"):
        assert f"flag --{name}={value[:20]}" in mistake(
            command, *FLAGGED[command], f"--{name}={value}"
        )


@pytest.mark.parametrize("number", ["-1", "0", HUGE])
@pytest.mark.parametrize("name", ["bits", "exclude_within_frames"])
def test_an_evaluation_of_numbers_beyond_reason(name, number, mistake):
    line = mistake("evaluate", f"--{name}={number}")
    assert (f"--{name}" in line) or (number == HUGE and "has no finished run of" in line)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("num_processes", "-1"),
        ("num_processes", "0"),
        ("num_processes", HUGE),
        ("process_id", "-1"),
        ("process_id", "2"),
        ("process_id", HUGE),
    ],
)
def test_processes_that_cannot_be_counted(name, number, mistake):
    numbers = {"num_processes": "2", "process_id": "0"} | {name: number}
    given = [f"--{flag}={value}" for flag, value in numbers.items()]
    assert f"--{name}={number}" in mistake("train", CONFIG, "--coordinator=localhost:1", *given)


@pytest.mark.parametrize(
    "port", ["", "0", "-1", "65536", "x", "1.5", HUGE, "9" * 5000, "٣"], ids=lambda port: port[:9]
)
def test_a_port_that_is_none(port, mistake):
    given = [f"--coordinator=localhost:{port}", "--num_processes=2", "--process_id=0"]
    assert "is not HOST:PORT; give process 0's" in mistake("train", CONFIG, *given)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("field", ["seed", "train.epochs", "model.bits", "devices"])
@pytest.mark.parametrize("number", ["-1", HUGE, "x", "1.5"])
def test_a_field_of_a_whole_number(field, number, mistake):
    line = mistake("train", CONFIG, f"--config.{field}={number}")
    assert f"config.{field}" in line


@pytest.mark.parametrize(
    ("option", "number"),
    [(option, number) for option in ("--seeds", "--jobs") for number in ("-1", "0", HUGE)],
)
def test_experiments_of_numbers_beyond_reason(option, number, mistake):
    line = mistake("experiments", "table2", option, number)
    assert line == "error: --seeds and --jobs must be 1 to 1000\n"
