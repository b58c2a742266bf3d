"""The errors that are the user's to mend: one clear line, no stack trace."""


class UserError(Exception):
    """A mistake in the input: says what is wrong, where, and what to do, in one line.

    The command lines print it as `error: ...` and exit with status 2; from Python it is an
    ordinary exception.
    """


class NotFound(UserError):
    """There is nothing at a path, or nothing of that name."""


class Exists(UserError):
    """Something stands already where something new was to be made."""


class Damaged(UserError):
    """A file is there and cannot be read as what it should be: cut, changed, or of another kind."""
