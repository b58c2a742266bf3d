"""The data sets: from raw files to prepared sets and batches of clips."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing it is slow, and Ctrl-C is not obeyed yet
    from stvh_jax.config import Config
    from stvh_jax.dataset import Dataset

# TensorFlow announces its CPU features on stderr unless both are set before its first import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
# TensorFlow would import Keras with itself, which takes more than a second and is not used here.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


def open_dataset(config: Config) -> Dataset:
    """Opens the prepared set of a `config.data`; see `data.prepared.pipeline.open_dataset`."""
    # TensorFlow is slow to import, and not needed to find a mistake in the arguments.
    from data.prepared import pipeline

    return pipeline.open_dataset(config)
