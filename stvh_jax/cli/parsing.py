"""What the command lines share: parsing, devices, and one line and exit status 2 for a mistake."""

import argparse
import importlib
import os
import sys

from absl import app, flags, logging

from stvh_jax.errors import UserError, not_installed


class StrictParser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line and does not complete abbreviated options."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str):
        """Ends the program with one line."""
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def run_command(parser: argparse.ArgumentParser, argv: list[str] | None) -> int:
    """Parses a command line, calls its `run` with the arguments, and returns the exit status."""
    arguments = parser.parse_args(argv)
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"error: {not_installed(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def run_flags(
    main, argv: list[str] | None = None, *, usage: str | None = None, required: tuple[str, ...] = ()
) -> None:
    """Parses the flags and runs `main`; a mistake prints one line and exits with status 2.

    Ctrl-C where `main` does not take it itself exits with status 130 and no stack trace.

    Args:
      main: called with what is left of the arguments.
      argv: the program's name and arguments; those of the process if None.
      usage: what --help says first.
      required: the flags that have to be given.
    """
    for name in required:
        flags.mark_flag_as_required(name)
    if usage:
        sys.modules["__main__"].__doc__ = usage  # where absl looks for it
    for name in flags.FLAGS:
        # --help shows the flags of the program that was started, which these then are.
        home = flags.FLAGS.find_module_defining_flag(name) or ""
        if home.startswith(("stvh_jax.", "ml_collections.")):
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    logging.set_verbosity(logging.WARNING)
    try:
        app.run(main, argv, flags_parser=parse_flags)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except ModuleNotFoundError as error:
        print(f"error: {not_installed(error)}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt as interruption:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from interruption


def parse_flags(arguments: list[str]) -> list[str]:
    """Parses the flags; a bad one is reported in one line.

    Raises:
      UserError: an unknown flag or config field, a bad value, or a word that is not a flag.
    """
    try:
        rest = flags.FLAGS(arguments)
        # A config file that cannot be found fails when its config is first read.
        if "config" in flags.FLAGS:
            getattr(flags.FLAGS.config, "name", None)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(" ".join(last_line(message(error)).split())) from error
    except Exception as error:  # a config file is a program, and may fail in any way
        cause = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise UserError(f"cannot read the file of --config: {cause[0].strip()}") from error
    if rest[1:]:
        raise UserError(f"{rest[1]!r} is not a flag; see --help")
    return rest


def message(error: Exception) -> str:
    """Gives the message of an error, without the quotes that KeyError puts around it."""
    first = error.args[0] if error.args else ""
    if isinstance(first, Exception):
        return message(first)
    return first if isinstance(error, KeyError) else str(error)


def last_line(text: str) -> str:
    """Takes the message of the innermost error from a text that ends in a traceback."""
    if "Traceback (most recent call last)" not in text:
        return text
    line = text.strip().splitlines()[-1]
    return line.partition(": ")[2] or line


def prepare_devices(devices: int) -> None:
    """Lets a CPU stand for `devices` devices; call it before JAX runs."""
    import jax

    if devices > 1:
        jax.config.update("jax_num_cpu_devices", devices)


def join_processes(coordinator: str | None, num_processes: int | None, process_id: int | None):
    """Joins several processes in one training, if a coordinator is given."""
    if coordinator is None and num_processes is None and process_id is None:
        return
    if coordinator is None:
        raise UserError("--num_processes and --process_id need --coordinator too")
    if num_processes is None or process_id is None:
        raise UserError("--coordinator needs --num_processes and --process_id too")
    import jax

    jax.distributed.initialize(coordinator, num_processes, process_id)


DATASET_HELP = (
    "MODULE:FUNCTION that opens the data set of config.data, for data sets of your own; it returns "
    "a stvh_jax.dataset.Dataset."
)


def define_dataset_flag() -> flags.FlagHolder:
    """Defines --dataset."""
    return flags.DEFINE_string("dataset", None, DATASET_HELP)


def dataset_opener(name: str | None, default=None):
    """Gives the function that opens data sets: the one that --dataset names, or the default.

    A module in the working directory is found as well as an installed one.

    Raises:
      UserError: there is neither, or no such function.
    """
    if name is None:
        if default is None:
            raise UserError(
                "this command reads a data set; give --dataset=MODULE:FUNCTION, or run train.py, "
                "evaluate.py or search.py of a checkout for the paper's data sets"
            )
        return default
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"--dataset={name} is not a function, given as MODULE:FUNCTION ({error})"
        ) from error
