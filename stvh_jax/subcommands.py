"""What the command lines with subcommands share: one line for a mistake, and exit status 2."""

import argparse
import os
import sys

from stvh_jax.errors import UserError


class StrictParser(argparse.ArgumentParser):
    """A parser that says a mistake in one line, and completes no abbreviated option."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str):
        """Ends the program with one line."""
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def run(parser: argparse.ArgumentParser, argv: list[str] | None) -> int:
    """Parses a command line, calls its `run` with the arguments, and returns the exit status."""
    arguments = parser.parse_args(argv)
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # who read it has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(
            f"error: {error.name} is not installed; pip install -r requirements.txt",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
