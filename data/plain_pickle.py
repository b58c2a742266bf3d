"""Reads pickles of plain values and NumPy arrays without Python's own loader.

A pickle is a program: Python's loader calls what the file names, and even where that is NumPy
alone, a file can make it build arrays of pointers of the file's choice. Here each instruction of
the few that such pickles consist of is carried out on plain values; the names in the file are
compared and never looked up, and an array is made of a numeric type, a shape and as many bytes as
these need.
"""

import codecs
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

# By the names that pickles give them. The type of objects is left out on purpose.
_NUMBERS = frozenset(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)) | {"f2", "f4", "f8"}

_SIZES = {layout: struct.calcsize(layout) for layout in ("<B", "<H", "<i", "<I", "<Q", ">d")}

# What a pickle may name. Python 2 had other names for the built-in functions, NumPy 1 for its own.
_NAMES = {
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
    "builtins bytes": "bytes",
    "__builtin__ bytes": "bytes",
    **{
        f"numpy.{core}.{name}": name.partition(" ")[2]
        for core in ("core", "_core")
        for name in ("multiarray _reconstruct", "multiarray scalar", "numeric _frombuffer")
    },
}


class PickledArray:
    """A NumPy array of a pickle.

    Attributes:
      values: its numbers, read-only; None where the pickle gives it no content.
    """

    def __init__(self, values: np.ndarray | None = None):
        self.values = values


class _Name(str):
    """A function or class, one of the values of `_NAMES`."""


class _Type:
    """A type of NumPy's: numbers such as `f8`, or texts such as `U5`, and their byte order."""

    def __init__(self, name: Any):
        text = isinstance(name, str) and name[:1] == "U" and name[1:].isdecimal()
        if not text and not (isinstance(name, str) and name in _NUMBERS):
            raise ValueError("it has an array of something other than numbers")
        self.name = name
        self.order: Any = "<"

    def set_state(self, state: Any) -> None:
        _, order, subtype, names, fields, *_ = state
        if order not in ("<", ">", "|", "=") or not subtype is names is fields is None:
            raise ValueError("it has an array of something other than numbers")
        self.order = order

    def numbers(self) -> np.dtype:
        if self.name[0] == "U":
            raise ValueError("it has an array of texts")
        return np.dtype(self.name).newbyteorder(self.order)


def load(content: bytes) -> Any:
    """Reads a pickle of any protocol, also of Python 2.

    Args:
      content: of the file.

    Returns:
      Dicts, lists and tuples of numbers, texts, bytes, None and `PickledArray`. Python 2 does not
      tell texts from bytes; its are read as texts of Latin-1. Numbers and texts of NumPy's types
      are those of Python.

    Raises:
      Exception: of whatever kind; read it within `files.reading`.
    """
    return _Machine(content).run()


class _Machine:
    """The stack, the marks and the memo that the instructions of a pickle work on."""

    def __init__(self, content: bytes):
        self._content = content
        self._place = 0
        self._stack: list = []
        self._outer: list[list] = []
        self._memo: dict[int, Any] = {}
        # Each text that NumPy has to have as bytes is in a file once.
        self._room = len(content)

    def run(self) -> Any:
        while (code := self.take(1)) != b".":
            if get := _VALUES.get(code):
                value = get(self)  # which may change what the stack is
                self._stack.append(value)
            elif act := _ACTIONS.get(code):
                act(self)
            else:
                raise ValueError(f"it has the instruction {code!r}")
        return self._stack.pop()

    # Reading.

    def take(self, size: int) -> bytes:
        """Takes the next bytes of the file."""
        end = self._place + size
        if not self._place <= end <= len(self._content):
            raise ValueError("it is cut off")
        part = self._content[self._place : end]
        self._place = end
        return part

    def line(self) -> bytes:
        end = self._content.index(b"\n", self._place)
        return self.take(end + 1 - self._place)[:-1]

    def number(self, layout: str) -> Any:
        """Takes a number in a layout of `struct`."""
        return struct.unpack(layout, self.take(_SIZES[layout]))[0]

    def sized(self, layout: str) -> bytes:
        """Takes bytes, their number first."""
        return self.take(self.number(layout))

    def long(self, layout: str) -> int:
        digits = self.sized(layout)
        if len(digits) > 9:
            raise ValueError("it has a whole number of more than 64 bits")
        return int.from_bytes(digits, "little", signed=True)

    # Acting on the stack.

    def mark(self) -> None:
        self._outer.append(self._stack)
        self._stack = []

    def marked(self) -> list:
        """Takes all values since the last mark."""
        values, self._stack = self._stack, self._outer.pop()
        return values

    def pop(self, count: int) -> tuple:
        """Takes the last values."""
        if len(self._stack) < count:
            raise ValueError("it takes values that are not there")
        values = tuple(self._stack[-count:])
        del self._stack[-count:]
        return values

    def top(self, kind: type) -> Any:
        """Gives the last value, and leaves it."""
        if type(self._stack[-1]) is not kind:
            raise TypeError(f"it fills {type(self._stack[-1]).__name__} as {kind.__name__}")
        return self._stack[-1]

    def append(self, values: list | tuple) -> None:
        self.top(list).extend(values)

    def set_items(self, values: list | tuple) -> None:
        self.top(dict).update(_items(values))

    def remember(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def recall(self, place: int) -> Any:
        return self._memo[place]

    def memoize(self) -> None:
        self.remember(len(self._memo))

    # Making arrays.

    def call(self) -> Any:
        """Does what a function would do, to arguments that NumPy would give it."""
        name, arguments = self.pop(2)
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise TypeError("it calls something that is not a function")
        match str(name), arguments:
            case "_reconstruct", ("ndarray", _, _):
                return PickledArray()
            case "_frombuffer", (content, kind, shape, order):
                return PickledArray(self.array(content, kind, shape, order))
            case "_frombuffer", (content, kind, shape, "K", tuple() as axes):
                return PickledArray(self.array(content, kind, shape, "C").transpose(*axes))
            case "dtype", (kind, *_):
                return _Type(kind)
            case "scalar", (_Type() as kind, content):
                return self.scalar(content, kind)
            case "encode", (str() as text, "latin1" | "latin-1"):
                return self.encoded(text)
            case "bytes", ():
                return b""
        raise ValueError(f"it calls {name} in another way than NumPy does")

    def array(self, content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
        """Lays out bytes as an array; NumPy refuses a shape that needs more or fewer of them."""
        if not isinstance(kind, _Type) or not isinstance(shape, tuple):
            raise TypeError("it has an array without a type or a shape")
        if not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError("it has an array of an impossible shape")
        if order not in ("C", "F"):
            raise ValueError("it has an array in no known order")
        return np.frombuffer(self.bytes_of(content), kind.numbers()).reshape(shape, order=order)

    def scalar(self, content: Any, kind: _Type) -> float | int | str:
        content = self.bytes_of(content)
        if kind.name[0] != "U":
            return np.frombuffer(content, kind.numbers()).item()
        self.spend(len(content))
        encoding = "utf-32-be" if kind.order == ">" else "utf-32-le"
        return content.decode(encoding).rstrip("\0")

    def bytes_of(self, content: Any) -> bytes:
        """Gives the content of an array, which Python 2 wrote as a text of Latin-1."""
        if isinstance(content, str):
            return self.encoded(content)
        if not isinstance(content, bytes):
            raise TypeError("it has an array of something other than numbers")
        return content

    def encoded(self, text: str) -> bytes:
        self.spend(len(text))
        return text.encode("latin1")

    def spend(self, size: int) -> None:
        """Counts the bytes that are copied: a file can ask for copies of one text without end."""
        self._room -= size
        if self._room < 0:
            raise ValueError("it repeats its texts too often")

    def build(self) -> None:
        """Gives an array its content, or a type its byte order."""
        target, state = self.pop(2)
        if isinstance(target, PickledArray):
            _, shape, kind, fortran, content = state
            target.values = self.array(content, kind, shape, "F" if fortran else "C")
        elif isinstance(target, _Type):
            target.set_state(state)
        else:
            raise TypeError(f"it sets the state of {type(target).__name__}")
        self._stack.append(target)


def _name(module: Any, name: Any) -> _Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise TypeError("it names something without a text")
    if f"{module} {name}" not in _NAMES:
        raise ValueError(f"it asks for {module}.{name}")
    return _Name(_NAMES[f"{module} {name}"])


def _items(values: list | tuple) -> dict:
    """Pairs keys with values. A key is not nested: to hash such a one may take for ever."""
    if len(values) % 2:
        raise ValueError("it has a key without a value")
    for key in values[::2]:
        for part in key if type(key) is tuple else (key,):
            if not isinstance(part, (str, bytes, int, float)):
                raise TypeError(f"it has {type(part).__name__} in a key")
    return dict(zip(values[::2], values[1::2]))


def _written_number(line: bytes) -> int:
    """Reads a number in digits; 00 and 01 were Python 2's False and True."""
    if len(line) > 20:
        raise ValueError("it has a whole number of more than 64 bits")
    return int(line)


def _written_text(line: bytes) -> str:
    """Reads a quoted text of Python 2."""
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("it has a text without quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin1")  # pyright: ignore[reportAttributeAccessIssue]


# The instructions that put a value on the stack.
_VALUES: Mapping[bytes, Callable[[_Machine], Any]] = {
    b"N": lambda machine: None,
    b"\x88": lambda machine: True,
    b"\x89": lambda machine: False,
    b"I": lambda machine: _written_number(machine.line()),
    b"L": lambda machine: _written_number(machine.line().removesuffix(b"L")),
    b"J": lambda machine: machine.number("<i"),
    b"K": lambda machine: machine.number("<B"),
    b"M": lambda machine: machine.number("<H"),
    b"\x8a": lambda machine: machine.long("<B"),
    b"\x8b": lambda machine: machine.long("<i"),
    b"F": lambda machine: float(machine.line()),
    b"G": lambda machine: machine.number(">d"),
    b"S": lambda machine: _written_text(machine.line()),
    b"T": lambda machine: machine.sized("<i").decode("latin1"),
    b"U": lambda machine: machine.sized("<B").decode("latin1"),
    b"V": lambda machine: machine.line().decode("raw_unicode_escape"),
    b"X": lambda machine: machine.sized("<I").decode("utf-8", "surrogatepass"),
    b"\x8c": lambda machine: machine.sized("<B").decode("utf-8", "surrogatepass"),
    b"\x8d": lambda machine: machine.sized("<Q").decode("utf-8", "surrogatepass"),
    b"B": lambda machine: machine.sized("<I"),
    b"C": lambda machine: machine.sized("<B"),
    b"\x8e": lambda machine: machine.sized("<Q"),
    b"\x96": lambda machine: machine.sized("<Q"),
    b")": lambda machine: (),
    b"t": lambda machine: tuple(machine.marked()),
    b"\x85": lambda machine: machine.pop(1),
    b"\x86": lambda machine: machine.pop(2),
    b"\x87": lambda machine: machine.pop(3),
    b"]": lambda machine: [],
    b"l": lambda machine: machine.marked(),
    b"}": lambda machine: {},
    b"d": lambda machine: _items(machine.marked()),
    b"c": lambda machine: _name(machine.line().decode(), machine.line().decode()),
    b"\x93": lambda machine: _name(*machine.pop(2)),
    b"R": lambda machine: machine.call(),
    b"g": lambda machine: machine.recall(_written_number(machine.line())),
    b"h": lambda machine: machine.recall(machine.number("<B")),
    b"j": lambda machine: machine.recall(machine.number("<I")),
}

# The other instructions.
_ACTIONS: Mapping[bytes, Callable[[_Machine], Any]] = {
    b"\x80": lambda machine: machine.take(1),  # the protocol
    b"\x95": lambda machine: machine.take(8),  # the size of what follows
    b"(": lambda machine: machine.mark(),
    b"a": lambda machine: machine.append(machine.pop(1)),
    b"e": lambda machine: machine.append(machine.marked()),
    b"s": lambda machine: machine.set_items(machine.pop(2)),
    b"u": lambda machine: machine.set_items(machine.marked()),
    b"b": lambda machine: machine.build(),
    b"p": lambda machine: machine.remember(_written_number(machine.line())),
    b"q": lambda machine: machine.remember(machine.number("<B")),
    b"r": lambda machine: machine.remember(machine.number("<I")),
    b"\x94": lambda machine: machine.memoize(),
}
