"""The data sets: raw files in, prepared sets and batches out; only here is TensorFlow used."""

import os

# TensorFlow announces its CPU features on stderr unless both are set before its first import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


def open_dataset(config):
    """Opens the prepared set of a `config.data`; see `data.prepared.pipeline.open_dataset`."""
    # TensorFlow is slow to import, and not needed to find a mistake in the arguments.
    from data.prepared import pipeline

    return pipeline.open_dataset(config)
