"""What the library asks of a data set."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from stvh_jax.clips import Clips


@runtime_checkable
class Dataset(Protocol):
    """What training asks of a data set; `data.prepared.pipeline.ClipDataset` is one."""

    activity_names: tuple[str, ...]
    action_names: tuple[str, ...]
    key_frame: int

    def num_clips(self, split: str) -> int:
        """Counts the clips of a split."""

    def training_batches(self, split: str, **options) -> Iterator[Clips]:
        """Yields this process's part of endless shuffled batches, from a step on.

        `frames=False` leaves the pixels out.
        """

    def evaluation_batches(self, split: str, **options) -> Iterator[Clips]:
        """Yields this process's part of batches that hold every clip once.

        `frames=False` leaves the pixels out; from `start` on, `mirrored` where a cache asks for it.
        """
