"""The errors that are the user's to mend: one clear line, no stack trace."""

# The most of a message that is shown: enough for any of ours, with a path or two in it.
_LONGEST = 1000


def one_line(message: str) -> str:
    """Makes a message one line of bounded length, whatever a file or an argument put into it.

    Of a long one both ends are kept: what is wrong, and what to do about it.
    """
    if len(message) > _LONGEST:
        half = _LONGEST // 2
        message = f"{message[:half]} ... {message[-half:]}"
    return "".join(c if c.isprintable() else " " for c in message)


def shown(value: object, most: int = 100) -> str:
    """Writes a value for a message; of a long one, the beginning."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits, or deep nesting
        text = f"({type(value).__name__}, too large to write)"
    return text if len(text) <= most else f"{text[:most]}..."


class UserError(Exception):
    """A mistake in the input: says what is wrong, where, and what to do, in one line.

    The command lines print it as `error: ...` and exit with status 2; from Python it is an
    ordinary exception.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


class NotFound(UserError):
    """There is nothing at a path, or nothing of that name."""


class Exists(UserError):
    """Something stands already where something new was to be made."""


class Damaged(UserError):
    """A file is there and cannot be read as what it should be: cut, changed, or of another kind."""


# The packages of the extras in pyproject.toml, by the name they are imported with.
EXTRAS = {
    "av": "video",
    "faiss": "search",
    "h5py": "train",
    "jinja2": "app",
    "lancedb": "search",
    "matplotlib": "report",
    "onnxruntime": "detect",
    "pyarrow": "search",
    "pymilvus": "milvus",
    "python_multipart": "app",
    "safetensors": "train",
    "sqlglot": "search",
    "starlette": "app",
    "supervision": "detect",
    "tensorboardX": "train",
    "torch": "torch",
    "trackers": "detect",
    "uvicorn": "app",
}


def not_installed(error: ModuleNotFoundError) -> str:
    """Says in one line which package is missing, and how to install it."""
    package = (error.name or str(error)).partition(".")[0]
    extra = EXTRAS.get(package)
    cure = f"pip install 'stvh_jax[{extra}]'" if extra else "pip install -r requirements.txt"
    return f"{package} is not installed; {cure}"
