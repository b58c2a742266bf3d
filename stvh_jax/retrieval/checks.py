"""Checks what callers of an index give: a place, names of clips, a version, limits of a search."""

import os
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
from etils import epath

from stvh_jax import files
from stvh_jax.errors import NotFound, UserError, shown
from stvh_jax.names import as_name
from stvh_jax.retrieval.engine import EngineKind, Name
from stvh_jax.retrieval.index_info import Number, is_whole
from stvh_jax.retrieval.surroundings import Surroundings

# The most characters of a path, or of any other place.
_LONGEST_PLACE = 4096

# The match and the clip of one clip, as callers give them: each a text or a whole number.
ClipName = tuple[str | SupportsIndex, str | SupportsIndex]


def names_of(clips: Sequence[ClipName]) -> list[Name]:
    """Gives the names of clips as texts.

    Raises:
      UserError: one is neither a text nor a whole number.
    """
    try:
        pairs = [pair for pair in clips if not isinstance(pair, str)]
        if isinstance(clips, str) or len(pairs) < len(clips):
            raise TypeError("give pairs of both")
        return [(as_name(match), as_name(clip)) for match, clip in pairs]
    except (TypeError, ValueError) as error:
        raise UserError(
            f"match and clip must be texts or whole numbers ({files.reason(error)})"
        ) from error


def check_version(version: Any) -> None:
    """Checks the number of a version.

    Raises:
      UserError: it is not a whole number.
      NotFound: it is less than 1, or larger than any.
    """
    if not is_whole(version):
        raise UserError(f"version {shown(version)}; give a whole number")
    if not 1 <= version < 2**63:  # what the engines count in
        raise NotFound(f"there is no version {shown(version)}; versions count from 1")


def check_chosen(where: Any, without: Sequence[Any]) -> None:
    """Checks how the clips of a search are chosen.

    Raises:
      UserError: the condition is not a text, or what is left out is something else.
    """
    if where is not None:
        check_where(where)
    if not all(isinstance(each, Surroundings) for each in without):
        raise UserError("what is left out is not given as Surroundings; see `around`")


def check_where(where: Any) -> None:
    """Checks that a condition is a text; the engine reads it.

    Raises:
      UserError: it is something else.
    """
    if not isinstance(where, str):
        raise UserError(f"where {shown(where)}: give a text, for example \"match = '13'\"")


def check_limits(k: Any, radius: Any, bits: int) -> None:
    """Checks how much is asked for.

    Raises:
      UserError: nothing, or what is not a number.
    """
    if k is None and radius is None:
        raise UserError("give k, how many clips to find, or a radius")
    if k is not None and (not is_whole(k) or k < 1):
        raise UserError(f"k = {shown(k)}; give a whole number of clips, 1 or more")
    number = isinstance(radius, Number) and not isinstance(radius, (bool, np.bool_))
    if radius is not None and not (number and 0 <= radius <= bits):
        raise UserError(f"radius = {shown(radius)}; give 0 to {bits} bits")


def engine_kind(uri: epath.PathLike) -> EngineKind:
    """Chooses the engine by the URI; each imports what it needs."""
    if not isinstance(uri, (str, os.PathLike)) or not str(uri) or "\0" in str(uri):
        raise UserError("an index needs a place; give a folder, s3://... or http://...")
    if len(str(uri)) > _LONGEST_PLACE:
        raise UserError(f"the place {shown(str(uri))} of an index has {len(str(uri))} characters")
    try:
        if str(uri).startswith(("http://", "https://")):
            from stvh_jax.retrieval.milvus.engine import MilvusEngine

            return MilvusEngine
        from stvh_jax.retrieval.lance.engine import LanceEngine
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = "milvus" if package == "pymilvus" else "search"
        raise UserError(
            f"an index needs {package}, which is not installed; pip install 'stvh_jax[{extra}]'"
        ) from error
    return LanceEngine
