"""Fields of a config: each is declared with its default and its check, in one place.

A part of a config is a frozen dataclass with the base `Checked`; the functions below declare its
fields. Whatever a field then holds has passed its check, wherever the value came from.
"""

import dataclasses
import math
import numbers
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from stvh_jax.errors import UserError, shown

Check = Callable[[str, Any], None]
Part = TypeVar("Part")
Number = float | int

# The longest text in a config: paths may be this long on Linux.
MOST_CHARACTERS = 4096
MOST_DEPTH = 20


@dataclasses.dataclass(frozen=True)
class Checked:
    """A part of a config that checks each of its fields by itself."""

    # What precedes the names of its fields in messages.
    path: ClassVar[str] = "config"
    # Whether a config may have fields beside these.
    extensible: ClassVar[bool] = False

    def __post_init__(self):
        for field in declared(type(self)):
            field.metadata["check"](f"{self.path}.{field.name}", getattr(self, field.name))

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Lists the fields, each with its default."""
        return {field.name: default_of(field) for field in declared(cls)}

    @classmethod
    def added(cls) -> dict[str, Any]:
        """Lists the fields that an older run's config may lack, with what runs were before."""
        fields = declared(cls)
        return {field.name: default_of(field) for field in fields if field.metadata.get("added")}

    @classmethod
    def of(cls, config: Any) -> "Checked":
        """Reads this part of a config.

        Args:
          config: a mapping with all fields; those that were added later may be absent.

        Raises:
          UserError: a field is unknown, absent, or has a value that it cannot have.
        """
        values = mapping(cls.path, config)
        names = {field.name for field in declared(cls)}
        own = {name: value for name, value in values.items() if name in names}
        check_names(cls.path, declared(cls), own if cls.extensible else values)
        return cls(**own)


def declared(*parts: type) -> list[dataclasses.Field]:
    """Lists the declared fields of parts of a config; any others have no check."""
    return [
        field for part in parts for field in dataclasses.fields(part) if "check" in field.metadata
    ]


def default_of(field: dataclasses.Field) -> Any:
    """Gives what a field starts with."""
    make: Any = field.default_factory
    return field.default if make is dataclasses.MISSING else make()


def mapping(path: str, values: Any) -> dict[str, Any]:
    """Turns a part of a config into a dict, with tuples for its lists.

    Raises:
      UserError: it is no mapping.
    """
    if not hasattr(values, "items"):
        raise UserError(f"{path} is {shown(values)}; it holds fields, as in {path}.NAME")
    return frozen(dict(values))


def check_names(path: str, fields: Sequence[dataclasses.Field], values: Mapping[str, Any]) -> None:
    """Checks that a part of a config has its fields and no others.

    Raises:
      UserError: names the first that is too much or too little.
    """
    optional = {field.name for field in fields if field.metadata.get("added")}
    names = {field.name for field in fields}
    for name in sorted(map(str, (names ^ values.keys()) - optional)):
        if name in names:
            raise UserError(f"{path} has no field {name!r}: it is from another version of stvh_jax")
        raise UserError(
            f"{path} has an unknown field {shown(name)}: it is misspelt, or from another version "
            "of stvh_jax"
        )


def frozen(value: Any, depth: int = 0) -> Any:
    """Turns lists into tuples and any mapping into a dict, all the way down.

    Raises:
      UserError: it is nested absurdly deep.
    """
    if depth > MOST_DEPTH:
        raise UserError(f"a field of the config is nested more than {MOST_DEPTH} deep")
    if isinstance(value, (list, tuple)):
        return tuple(frozen(one, depth + 1) for one in value)
    if hasattr(value, "items"):
        return {name: frozen(one, depth + 1) for name, one in value.items()}
    return value


def setting(default: Any, check: Check, **metadata) -> Any:
    """Declares a field with what it starts with and what it may hold.

    With `added=True` the configs of older runs may lack it, for which the default then stands.
    """
    return dataclasses.field(default=default, metadata={"check": check, **metadata})


def choice(*choices: str, **metadata) -> Any:
    """Declares a field that holds one of a few words, the first by default."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, str) or value not in choices:
            raise UserError(f"{name} is {shown(value)}; choose one of {', '.join(choices)}")

    return setting(choices[0], check, **metadata)


def entry(default: str, **metadata) -> Any:
    """Declares a field that names an entry of a table, which `look_up` checks."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, str) or not value.isprintable():
            raise UserError(f"{name} is {shown(value)}; give a name, e.g. {default}")

    return setting(default, check, **metadata)


def whole(default: int, *, low: int, high: int, **metadata) -> Any:
    """Declares a field that holds a whole number from `low` to `high`."""

    def check(name: str, value: Any) -> None:
        check_whole(name, value, low=low, high=high)

    return setting(default, check, **metadata)


def check_whole(name: str, value: Any, *, low: int, high: int) -> None:
    """Checks that a value is a whole number from `low` to `high`.

    Raises:
      UserError: it is not.
    """
    if not is_number(value, numbers.Integral):
        raise UserError(f"{name} is {shown(value)}; use a whole number")
    if value < low:
        raise UserError(f"{name} is {shown(value)}; use {low} or more")
    if value > high:
        raise UserError(f"{name} is {shown(value)}; use {high} or less")


def share(default: Number, **metadata) -> Any:
    """Declares a field that holds a number from 0 to below 1."""

    def check(name: str, value: Any) -> None:
        if not is_number(value, numbers.Real) or not 0 <= value < 1:
            raise UserError(f"{name} is {shown(value)}; use a number from 0 to below 1")

    return setting(default, check, **metadata)


def number(default: Number, *, high: Number, positive: bool = False, **metadata) -> Any:
    """Declares a field that holds a number from 0 to `high`, or above 0 if it is `positive`."""

    def check(name: str, value: Any) -> None:
        check_number(name, value, high=high, positive=positive)

    return setting(default, check, **metadata)


def check_number(name: str, value: Any, *, high: Number, positive: bool = False) -> None:
    """Checks that a value is a number from 0 to `high`, or above 0 if it is `positive`.

    Raises:
      UserError: it is not.
    """
    # No comparison holds of NaN.
    fits = is_number(value, numbers.Real) and 0 <= value <= high and not (positive and value == 0)
    if not fits:
        least = "above 0" if positive else "from 0"
        raise UserError(f"{name} is {shown(value)}; use a number {least} to {high:g}")


def rising(*, high: Number) -> Any:
    """Declares a field that holds numbers from 0 to `high`, each above the one before it."""

    def check(name: str, value: Any) -> None:
        check_numbers(name, value, high=high)
        if any(later <= earlier for earlier, later in zip(value, value[1:])):
            raise UserError(f"{name} is {shown(value)}; give each number once, the lowest first")

    return setting((), check)


def several(*, high: Number) -> Any:
    """Declares a field that holds numbers from 0 to `high`, none by default."""
    return setting((), lambda name, value: check_numbers(name, value, high=high))


def check_numbers(name: str, value: Any, *, high: Number) -> None:
    """Checks that a value is a tuple of numbers from 0 to `high`, not absurdly many.

    Raises:
      UserError: it is not.
    """
    fits = isinstance(value, tuple) and len(value) <= 1000
    if not fits or not all(is_number(one, numbers.Real) and 0 <= one <= high for one in value):
        raise UserError(
            f"{name} is {shown(value)}; give numbers from 0 to {high:g} in brackets, e.g. (1, 2), "
            "or () for none"
        )


def is_number(value: Any, kind: type) -> bool:
    """Says whether a value is a finite number of this kind; True and False are not."""
    if not isinstance(value, kind) or isinstance(value, bool):
        return False
    return isinstance(value, numbers.Integral) or math.isfinite(value)


def switch(default: bool, **metadata) -> Any:
    """Declares a field that is on or off."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, bool):
            raise UserError(f"{name} is {shown(value)}; use True or False")

    return setting(default, check, **metadata)


def text(default: str, *, empty: bool = True, **metadata) -> Any:
    """Declares a field that holds a line of text, such as a path."""

    def check(name: str, value: Any) -> None:
        fits = isinstance(value, str) and len(value) <= MOST_CHARACTERS and value.isprintable()
        if not fits or not (value or empty):
            raise UserError(f"{name} is {shown(value)}; give a line of text")

    return setting(default, check, **metadata)


def folder_name(default: str) -> Any:
    """Declares a field that names a folder: no path leads out of the one that it stands in."""
    return setting(default, check_folder_name)


def check_folder_name(name: str, value: Any) -> None:
    """Checks that a value can name a folder, or be a part of the name of a file.

    Raises:
      UserError: it cannot.
    """
    if not isinstance(value, str) or not re.fullmatch(r"\w[\w.+-]{0,99}", value):
        raise UserError(
            f"{name} is {shown(value)}; it names a folder: use up to 100 letters, digits and "
            "_ . + -, the first a letter, a digit or _"
        )


def look_up(table: Mapping[str, Part], name: str, key: str) -> Part:
    """Finds what a field names in a table.

    Raises:
      UserError: the table has no such entry; lists those it has.
    """
    if key not in table:
        raise UserError(f"{name} is {shown(key)}; choose one of {', '.join(table)}")
    return table[key]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested mappings: `{"model": {"bits": 64}}` becomes `{"model.bits": 64}`.

    An empty mapping leaves nothing behind.
    """
    flat = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
