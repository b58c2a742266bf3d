"""Own footage: video files, the tracks of their people, and the windows that become clips.

The names are imported when they are first used: tracks can be read where PyAV is not installed.
"""

from typing import TYPE_CHECKING

_HOMES = {
    "FootageBatch": "stvh_jax.video.batches",
    "VideoFile": "stvh_jax.video.footage",
    "clips": "stvh_jax.video.batches",
    "open_video": "stvh_jax.video.footage",
    "read_frames": "stvh_jax.video.frames",
    "read_region": "stvh_jax.video.regions",
}

__all__ = ["FootageBatch", "VideoFile", "clips", "open_video", "read_frames", "read_region"]

if TYPE_CHECKING:
    from stvh_jax.video.batches import FootageBatch, clips
    from stvh_jax.video.footage import VideoFile, open_video
    from stvh_jax.video.frames import read_frames
    from stvh_jax.video.regions import read_region
else:  # unseen by type checkers, for which this function would make every name a good one

    def __getattr__(name):
        """Imports a public name when it is first used."""
        import importlib

        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
