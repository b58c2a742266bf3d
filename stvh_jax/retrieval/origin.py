"""Where an index says what its clips come from: the names in its origin, and those of videos."""

import os

# Where the prepared set was; it may be elsewhere today.
DATA_DIR = "data_dir"

# What the prepared set held: a digest of the clips of each of its splits. Indexes of earlier
# versions do not say it.
DATA_DIGESTS = "data_digests"

# What the visual bits are made of, if not of what the model sees.
VISUAL, COLOUR = "visual", "colour"

# Whether the model learned without labels, and so knows no activities; absent where it did not.
LABEL_FREE = "label_free"

# How clips were cut, of own videos: seconds between their beginnings.
EVERY = "every"

# How many frames per second the clips have.
RATE = "frames_per_second"


def media_of(path: os.PathLike | str) -> str:
    """Names a video as the index does, by its whole path."""
    return os.path.abspath(path)
