"""What the command lines share: parsing, devices, and one line and exit status 2 for a mistake."""

import argparse
import contextlib
import importlib
import os
import re
import sys

from absl import app, flags, logging

from stvh_jax import interrupts
from stvh_jax.console import error_line
from stvh_jax.errors import UserError, not_installed


class StrictParser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line and does not complete abbreviated options."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def parse_args(self, args=None, namespace=None):
        """Parses the arguments.

        Nothing in quotes is a mistake, and not the working directory or a default; so is
        `--option=--`, which argparse takes for no value.
        """
        given = sys.argv[1:] if args is None else list(args)
        for before, word in zip(["", *given], given):
            if word and not re.fullmatch(r"--[\w-]+=(--)?", word):
                continue
            option, _, value = word.partition("=") if word else (before, "", "")
            of = f" of {option}" if re.fullmatch(r"--[\w-]+", option) else ""
            self.error(f"{value!r} is not a value{of}")
        return super().parse_args(given, namespace)

    def error(self, message: str):
        """Ends the program with one line."""
        self.exit(2, error_line(f"{message}; see {self.prog} --help") + "\n")


def run_command(parser: argparse.ArgumentParser, argv: list[str] | None) -> int:
    """Parses a command line, calls its `run` with the arguments, and returns the exit status."""
    if argv is None:
        interrupts.obey()
    arguments = parser.parse_args(argv)
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader has closed the pipe, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UserError, OSError) as error:
        print(error_line(error), file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(error_line(not_installed(error)), file=sys.stderr)
        return 2
    except BaseException as error:
        if not interrupted(error):
            raise
        if argv is None:  # XLA may be computing in threads that an ordinary end would pull down
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            interrupts.end()
        return interrupts.STATUS


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
    if argv is None:
        interrupts.obey()
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
        print(error_line(error), file=sys.stderr)
        raise SystemExit(2) from error
    except ModuleNotFoundError as error:
        print(error_line(not_installed(error)), file=sys.stderr)
        raise SystemExit(2) from error
    except BaseException as error:
        if not interrupted(error):
            raise
        raise SystemExit(interrupts.STATUS) from error


def interrupted(error: BaseException) -> bool:
    """Reports Ctrl-C, and says whether it is what made an error."""
    # In the middle of an import it may come out as any other error.
    found = isinstance(error, KeyboardInterrupt)
    found = found or (interrupts.received() and isinstance(error, Exception))
    if found and interrupts.first_to_say():
        print("interrupted", file=sys.stderr)
    return found


def parse_flags(arguments: list[str]) -> list[str]:
    """Parses the flags; a bad one is reported in one line.

    Raises:
      UserError: an unknown flag or config field, a bad value, or a word that is not a flag.
    """
    config = None
    try:
        rest = flags.FLAGS(arguments)
        # A config file that cannot be found fails when its config is first read.
        if "config" in flags.FLAGS:
            config = flags.FLAGS.config
            getattr(config, "name", None)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(" ".join(last_line(message(error)).split())) from error
    except SystemExit as error:
        if any(re.fullmatch(r"--?(help\w*|\?)(=.*)?", argument) for argument in arguments):
            raise
        raise UserError("cannot read the file of --config: it ends the program") from error
    except Exception as error:  # a config file is a program, and may fail in any way
        raise UserError(f"cannot read the file of --config: {last_words(error)}") from error
    if rest[1:]:
        raise UserError(f"{rest[1]!r} is not a flag; see --help")
    for name in flags.FLAGS:
        given = flags.FLAGS[name].present and "." not in name  # fields of a config may be empty
        if given and flags.FLAGS[name].value == "":
            raise UserError(f"'' is not a value of --{name}; see --help")
    if config is not None:
        from stvh_jax.config import check_fields

        check_fields(config)
    return rest


def message(error: Exception) -> str:
    """Gives the message of an error, without the quotes that KeyError puts around it."""
    first = error.args[0] if error.args else ""
    if isinstance(first, Exception):
        return message(first)
    if not isinstance(error, KeyError):
        missing = re.fullmatch(r"flag --(\w+)=None: Flag .* other than None\.", str(error))
        return f"give --{missing[1]}=...; see --help" if missing else str(error)
    # Where no field has a similar name, the message is the name alone.
    unknown = re.fullmatch(r"'[^']*'", str(first))
    return (
        f"{first} is not a field of the config; see stvh_jax/config.py" if unknown else str(first)
    )


def last_words(error: Exception) -> str:
    """Gives the last line of an error's message, or the error's kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


def last_line(text: str) -> str:
    """Takes the message of the innermost error from a text that ends in a traceback."""
    if "Traceback (most recent call last)" not in text:
        return text
    line = text.strip().splitlines()[-1]
    return line.partition(": ")[2] or line


def prepare_devices(devices: int = 1) -> None:
    """Lets a CPU be `devices` devices, and keeps what is compiled; call it before JAX runs."""
    import jax

    from stvh_jax.compiled_programs import keep_compiled

    keep_compiled()
    if devices > 1:
        jax.config.update("jax_num_cpu_devices", devices)


def joined_processes(
    coordinator: str | None, num_processes: int | None, process_id: int | None
) -> contextlib.AbstractContextManager[None]:
    """Joins several processes in one training for as long as the context, if there are several.

    Raises:
      UserError: a flag is missing or has a bad value, or the processes do not find one another.
    """
    if coordinator is None and num_processes is None and process_id is None:
        return contextlib.nullcontext()
    if coordinator is None:
        raise UserError("--num_processes and --process_id need --coordinator too")
    if num_processes is None or process_id is None:
        raise UserError("--coordinator needs --num_processes and --process_id too")
    from stvh_jax.training import joining

    return joining.together(coordinator, num_processes, process_id)


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
