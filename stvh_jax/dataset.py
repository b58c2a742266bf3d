"""What the library asks of a data set."""

from collections.abc import Collection, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from stvh_jax.clips import Clips


@runtime_checkable
class Dataset(Protocol):
    """What training, evaluation and indexing ask of a data set.

    `data.prepared.pipeline.ClipDataset` is one. A split is named as in "train"; several are joined
    by a plus sign, as in "train+validation". A data set may also have a `content_digest`:
    hexadecimal digits that identify the clips' names, boxes, labels, and pixels or appearance, or
    None where they are not known; `appearance_channels`: C of the clips' `appearance`, or None
    where they have none; and `labels`: which labels the clips have, as "original" or "corrected",
    or None where there is no choice of labels.

    Attributes:
      activity_names: the activities, in the order of their numbers.
      action_names: the actions, in the order of their numbers.
      key_frame: the place of the key frame among the T frames of a clip, from 0.
      splits: the splits that have clips.
      has_frames: whether the clips have pixels.
    """

    activity_names: tuple[str, ...]
    action_names: tuple[str, ...]
    key_frame: int
    splits: tuple[str, ...]
    has_frames: bool

    def num_clips(self, split: str) -> int:
        """Counts the clips of a split.

        Raises:
          NotFound: there is no such split, or it has no clip.
        """
        ...

    def untracked_share(self, split: str) -> float:
        """Returns the share of a split's actors, 0..1, whose box does not move with them.

        Raises:
          NotFound: there is no such split, or it has no clip.
        """
        ...

    def training_batches(
        self,
        split: str,
        *,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        flip: bool = False,
        frames: bool = True,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Iterator[Clips]:
        """Yields shuffled batches without end, as a function of the seed and the step alone.

        Args:
          split: the split or splits to draw from.
          batch_size: B of all processes together.
          seed: of the order, and of the clips that are mirrored.
          start_step: the first batch to yield; what follows is what an uninterrupted run yields.
          flip: mirror half of the clips, at random, left to right.
          frames: whether to read the pixels of a data set that has them.
          process_index: which equal slice of every batch to yield.
          process_count: the number of slices.

        Raises:
          NotFound: a split has no clip.
          UserError: the processes cannot share a batch equally.
        """
        ...

    def evaluation_batches(
        self,
        split: str,
        *,
        batch_size: int,
        start: int = 0,
        mirrored: bool = False,
        frames: bool = True,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Iterator[Clips]:
        """Yields every clip once, always in the same order.

        `clip_mask` is false for the clips that fill the last batch. Every process yields the same
        number of batches.

        Args:
          split: the split or splits to read.
          batch_size: B of all processes together.
          start: the number of clips to leave out at the beginning.
          mirrored: mirror every clip left to right.
          frames: whether to read the pixels of a data set that has them.
          process_index: which equal slice of every batch to yield.
          process_count: the number of slices.

        Raises:
          NotFound: a split has no clip.
          UserError: the processes cannot share a batch equally.
        """
        ...

    def key_frame_images(
        self, split: str, clips: Collection[tuple[str, str]]
    ) -> dict[tuple[str, str], UInt8[np.ndarray, "H W 3"]]:
        """Returns the key frames of the clips with these names (match, clip), in stored size.

        Raises:
          NotFound: the data set has no frames, or the split has no such clip.
        """
        ...
