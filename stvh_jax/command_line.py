"""What the command lines share: devices, the run's folder, and one line for a user's mistake."""

import sys

import jax
from absl import app, flags, logging

from stvh_jax.errors import UserError


def run(main, *, required: tuple[str, ...] = ()) -> None:
    """Parses the flags and runs `main`; a mistake prints one line and exits with status 2.

    Ctrl-C where `main` does not take it itself exits with status 130 and no stack trace.
    """
    for name in required:
        flags.mark_flag_as_required(name)
    logging.set_verbosity(logging.WARNING)
    try:
        app.run(main, flags_parser=parse_flags)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt as interruption:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from interruption


def parse_flags(arguments: list[str]) -> list[str]:
    """Parses the flags, telling of a bad one in one line.

    Raises:
      UserError: an unknown flag or config field, a bad value, or words that are no flag.
    """
    try:
        rest = flags.FLAGS(arguments)
        # A config file that cannot be found fails when its config is first looked at.
        if "config" in flags.FLAGS:
            getattr(flags.FLAGS.config, "name", None)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(" ".join(last_line(message(error)).split())) from error
    except Exception as error:  # a config file is a program, and may fail in any way
        cause = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise UserError(f"cannot read the file of --config: {cause[0].strip()}") from error
    if rest[1:]:
        raise UserError(f"{rest[1]!r} is no flag; see --help")
    return rest


def message(error: Exception) -> str:
    """Says what an error does, without the quotes of one that wraps another or a KeyError's."""
    first = error.args[0] if error.args else ""
    if isinstance(first, Exception):
        return message(first)
    return first if isinstance(error, KeyError) else str(error)


def last_line(text: str) -> str:
    """Takes from a text that ends in a traceback what the innermost error says."""
    if "Traceback (most recent call last)" not in text:
        return text
    line = text.strip().splitlines()[-1]
    return line.partition(": ")[2] or line


def prepare_devices(devices: int) -> None:
    """Lets a machine without an accelerator stand for `devices` of them; call before JAX runs."""
    if devices > 1:
        jax.config.update("jax_num_cpu_devices", devices)


def join_processes(coordinator: str | None, num_processes: int | None, process_id: int | None):
    """Joins several processes to one training, where a coordinator is given."""
    if coordinator is None and num_processes is None and process_id is None:
        return
    if coordinator is None:
        raise UserError("--num_processes and --process_id need --coordinator beside them")
    if num_processes is None or process_id is None:
        raise UserError("--coordinator needs --num_processes and --process_id beside it")
    jax.distributed.initialize(coordinator, num_processes, process_id)
