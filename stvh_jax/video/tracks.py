"""Where the people of one video are over time, whatever wrote it down."""

import dataclasses

import numpy as np
from jaxtyping import Float32, Int64

# The person of a box that no tracker followed.
UNTRACKED = -1


@dataclasses.dataclass(frozen=True)
class Tracks:
    """Boxes of people in one video, in the order of their frames.

    Attributes:
      frames: the frame of each box, from 0, the first frame of the video.
      people: whose it is, a number of the tracker's own; `UNTRACKED` if nobody was followed.
      boxes: `[y_min, x_min, y_max, x_max]`, in 0..1 of the frame, a little beyond at most.
      confidences: how sure the detector was, in 0..1; 1 where the file does not say.
    """

    frames: Int64[np.ndarray, "M"]
    people: Int64[np.ndarray, "M"]
    boxes: Float32[np.ndarray, "M 4"]
    confidences: Float32[np.ndarray, "M"]

    def __len__(self) -> int:
        """Counts the boxes."""
        return len(self.frames)
