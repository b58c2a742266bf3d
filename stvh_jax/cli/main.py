"""The program `stvh`, or python -m stvh_jax: search | train | evaluate | share | convert."""

import importlib
import sys

from stvh_jax import interrupts
from stvh_jax.console import error_line

_COMMANDS = {
    "search": "index clips, and find those like a clip",
    "train": "train a model",
    "evaluate": "judge a trained model on a data set",
    "share": "pack a run into one file for others",
    "convert": "convert ImageNet weights of Keras or torchvision",
}
_HELP = "\n".join(
    [
        "usage: stvh COMMAND ...",
        "",
        "Retrieve group activities in video by hash codes.",
        "",
        *(f"  {name:9} {text}" for name, text in _COMMANDS.items()),
        "",
        "stvh COMMAND --help says more.",
    ]
)


def main(argv: list[str] | None = None) -> int:
    """Runs one of the commands and returns the exit status."""
    if argv is None:
        interrupts.obey()
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("--help", "-h", "help"):
        print(_HELP)
        return 0
    if name == "--version":
        from stvh_jax import __version__

        print(__version__)
        return 0
    if name not in _COMMANDS:
        message = f"stvh has no command {name!r}; choose {', '.join(_COMMANDS)}"
        print(error_line(message), file=sys.stderr)
        return 2
    command = importlib.import_module(f"stvh_jax.cli.{name}")
    program = f"stvh {name}"
    if name in ("train", "evaluate"):  # their flags are absl's, which end the program themselves
        command.main(argv=[program, *rest])
        return 0
    return command.main(argv=rest, program=program)
