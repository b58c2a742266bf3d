"""The program `stvh`: its commands, and data sets of one's own."""

import subprocess
import sys

import pytest
from absl import flags

from stvh_jax.cli import main as program


@pytest.fixture
def stvh(monkeypatch, tmp_path, capfd):
    """Runs `stvh ARGUMENTS` in an empty folder; gives the status, the output and the errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        try:
            status = program.main(list(arguments))
        except SystemExit as stopped:
            status = stopped.code
        printed = capfd.readouterr()
        return status or 0, printed.out, printed.err

    yield run
    for name in list(flags.FLAGS):
        if not flags.FLAGS.find_module_defining_flag(name).startswith("absl."):
            delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command(stvh, arguments):
    status, out, err = stvh(*arguments)
    assert (status, err) == (0, "")
    for name in ("search", "train", "evaluate", "share", "convert"):
        assert f"\n  {name} " in out


@pytest.mark.parametrize(
    ("name", "option"), [("train", "--coordinator"), ("evaluate", "--[no]filter_per_step")]
)
def test_help_lists_the_flags(stvh, monkeypatch, name, option):
    monkeypatch.setattr(sys, "argv", ["stvh"])
    _, out, _ = stvh(name, "--help")
    assert f"  {option}:" in out
    assert "  --config:" in out


@pytest.mark.parametrize("name", ["search", "share", "convert"])
def test_each_command_has_its_own_help(stvh, name):
    status, out, _ = stvh(name, "--help")
    assert status == 0
    assert out.startswith(f"usage: stvh {name} ")


def test_an_unknown_command_is_one_line(stvh):
    expected = (
        "error: stvh has no command 'serach'; choose search, train, evaluate, share, convert\n"
    )
    assert stvh("serach") == (2, "", expected)


def test_mistakes_of_a_command_name_the_command(stvh):
    status, _, err = stvh("share", "nowhere")
    assert (status, err.count("\n")) == (2, 1)
    assert err.endswith("see stvh share --help\n")


CONFIG = """
from stvh_jax import config as base
from stvh_jax import recipes


def get_config():
    config = base.get_config()
    recipes.make_boxes_only(config)
    return config
"""


@pytest.fixture
def config_file(tmp_path):
    """Writes a config as someone does who has installed the library."""
    path = tmp_path / "own_config.py"
    path.write_text(CONFIG)
    return path


def test_training_needs_a_data_set(stvh, config_file):
    status, _, err = stvh("train", f"--config={config_file}")
    assert status == 2
    assert err.startswith("error: this command reads a data set; give --dataset=MODULE:FUNCTION")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["nowhere:open", "own_data:opne", "own_data", "own data:", ":"])
def test_a_data_set_that_is_not_there(stvh, config_file, tmp_path, name):
    (tmp_path / "own_data.py").write_text("def open_own(config):\n    return None\n")
    status, _, err = stvh("train", f"--config={config_file}", f"--dataset={name}")
    assert status == 2
    assert err.startswith(f"error: --dataset={name} is not a function, given as MODULE:FUNCTION (")
    assert err.count("\n") == 1


def test_a_data_set_in_the_working_directory_is_found(config_file, tmp_path):
    (tmp_path / "own_data.py").write_text(
        "from stvh_jax import UserError\n\n\n"
        "def open_own(config):\n    raise UserError(f'opened {config.name}')\n"
    )
    command = [sys.executable, "-m", "stvh_jax", "train", f"--config={config_file}"]
    ran = subprocess.run(
        [*command, "--dataset=own_data:open_own"],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p), "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (2, "error: opened volleyball\n")


def test_the_version_is_that_of_the_package(stvh):
    import stvh_jax

    assert stvh("--version") == (0, f"{stvh_jax.__version__}\n", "")
