"""Everything that is tried."""

from tests.robustness.targets import (
    arguments,
    clip_files,
    conditions,
    flags,
    kills,
    stores,
    together,
)

_ROOMS = kills, together, clip_files, stores, conditions, arguments, flags
TARGETS = tuple(target for room in _ROOMS for target in room.TARGETS)
