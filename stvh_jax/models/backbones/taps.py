"""Taps: the named places of a backbone whose feature maps can be asked for."""

from collections.abc import Sequence

from stvh_jax.errors import UserError


def check_taps(taps: Sequence[str], known: Sequence[str]) -> None:
    """Checks that a backbone has these taps.

    Raises:
      UserError: it has not.
    """
    for tap in taps:
        if tap not in known:
            raise UserError(f"tap {tap!r} is unknown; choose from {', '.join(known)}")
