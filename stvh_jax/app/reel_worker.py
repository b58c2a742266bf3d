"""Makes a reel in a process of its own; `taking` starts it."""

from typing import Any

from stvh_jax.app import apart
from stvh_jax.video.pieces import Piece
from stvh_jax.video.reel import reel


def make(job: dict[str, Any]) -> dict[str, Any]:
    """Joins pieces to one MP4 file.

    Args:
      job: `pieces`, the fields of each; `path`, the file to write.

    Raises:
      UserError: a piece cannot be shown, or the file not be written.
    """
    reel([Piece(**piece) for piece in job["pieces"]], job["path"])
    return {}


if __name__ == "__main__":
    apart.answer(make)
