"""search.py name: gives clips a name, by which they are then found and filtered."""

import argparse
from collections.abc import Sequence
from typing import Any

from stvh_jax.cli import asked, found, grouping, parsing
from stvh_jax.errors import UserError
from stvh_jax.names import printable


def add_options(parser: parsing.StrictParser) -> None:
    """Adds the options."""
    parser.set_defaults(run=_name)
    asked.add_options(parser)
    found.add_options(parser)
    parser.add_argument("--group", type=int, metavar="NUMBER", help="a group of search.py groups")
    grouping.add_number(parser)
    what = parser.add_argument_group("names")
    what.add_argument("--as", dest="given", metavar="NAME", help="the name; a clip has one at most")
    what.add_argument("--dry-run", action="store_true", help="say what would be named, and do not")
    what.add_argument("--remove", action="store_true", help="take the name of --as away")
    what.add_argument("--list", action="store_true", help="list the names")


def _name(arguments: argparse.Namespace) -> int:
    _check(arguments)
    from stvh_jax.retrieval.index import Index

    index = Index.open(arguments.index)
    if arguments.list:
        return _list(arguments, index)
    if arguments.remove:
        return _remove(arguments, index)
    clips = _group(arguments, index) if arguments.group is not None else _found(arguments, index)
    if arguments.dry_run:
        print(f"{_counted(len(clips))} would be named {arguments.given}; nothing is written")
        return 0
    replaced = index.name(clips, arguments.given)
    total = index.names()[arguments.given]
    print(
        f"{_counted(len(clips))} named {arguments.given}, {replaced} of them in place of another "
        f"name; {total} have it now"
    )
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Checks that the options go together, before anything is read.

    Raises:
      UserError: they do not.
    """
    given, group = asked.is_given(arguments), arguments.group is not None
    if arguments.list or arguments.remove:
        option = "--list" if arguments.list else "--remove"
        if given or group or arguments.dry_run or (arguments.list and arguments.remove):
            raise UserError(f"{option} is given alone, with --index, --where and --as of --remove")
    elif given and group:
        raise UserError("give a query, whose hits are named, or --group NUMBER")
    elif not group:
        asked.check(arguments)
    if arguments.number is not None and not group:
        raise UserError("--number says how many groups there are; give --group NUMBER, too")
    if group and (arguments.k is not None or arguments.radius is not None):
        raise UserError("--k and --radius are of a query; of a group all clips are named")
    if arguments.list and arguments.given is not None:
        raise UserError("--list lists all names; leave out --as")
    if not arguments.list:
        if arguments.given is None:
            raise UserError("give --as NAME, the name, or --list")
        from stvh_jax.retrieval.naming import check_name

        check_name(arguments.given)


def _list(arguments: argparse.Namespace, index: Any) -> int:
    """Prints the names, and how many clips have each."""
    from stvh_jax.reporting import tables

    names = index.names(arguments.where)
    if not names:
        print(f"no clip of {printable(index.uri)} has a name")
        return 0
    rows = [["name", "clips"], *([printable(name), str(count)] for name, count in names.items())]
    print(tables.aligned(rows))
    return 0


def _remove(arguments: argparse.Namespace, index: Any) -> int:
    """Takes a name away."""
    from stvh_jax.retrieval.naming import clips_named

    removed = index.name(clips_named(index.engine, arguments.given, arguments.where), None)
    print(f"{_counted(removed)} no longer named {arguments.given}")
    return 0


def _group(arguments: argparse.Namespace, index: Any) -> Sequence[Any]:
    """Gives the clips of a group."""
    focus = asked.focus_of(arguments, index)
    groups = index.groups(arguments.number, focus=focus, where=arguments.where)
    return groups.numbered(arguments.group).clips


def _found(arguments: argparse.Namespace, index: Any) -> Sequence[Any]:
    """Gives the clips that a query finds, and those that it was asked by.

    Raises:
      UserError: it finds nothing.
    """
    query, focus, _ = asked.read(arguments, index)
    hits, moments = found.find(arguments, index, query, focus=focus)
    if arguments.dry_run:
        print(found.table(index, query, hits, moments, focus=focus))
    if moments is not None:
        hits = [hit for moment in moments for hit in moment.hits]
    if not len(hits):
        raise UserError("nothing was found, so nothing is named")
    names = [(hit.match, hit.clip) for hit in hits]
    return list(dict.fromkeys([*names, *_asked_by(arguments, index, query)]))


def _asked_by(arguments: argparse.Namespace, index: Any, query: Any) -> list[tuple[str, str]]:
    """Gives the clips and examples of a query, of those that may be named.

    Not those that are examples by their name, which they keep, nor any of another index.
    """
    from stvh_jax.retrieval.naming import clips_named

    records = [] if query.clips is None else query.clips.records
    clips = [(each["match"], each["clip"]) for each in records if each["match"] is not None]
    names = [*clips, *query.liked]
    names = [name for name, held in zip(names, index.holds(names)) if held]
    if arguments.where is not None:
        table = index.clips(arguments.where)
        met = set(zip(table["match"].to_pylist(), table["clip"].to_pylist()))
        names = [name for name in names if name in met]
    if query.named is not None:
        own = set(clips_named(index.engine, query.named))
        names = [name for name in names if name not in own]
    return names


def _counted(count: int) -> str:
    return f"{count} clip{'' if count == 1 else 's'}"
