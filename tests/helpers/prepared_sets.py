"""Sets prepared by a builder for tests, and their content."""

import tensorflow_datasets as tfds


def prepare(builder, root):
    """Prepares a raw folder; returns the builder."""
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=root))
    return builder


def examples_of(builder, split):
    """Reads the clips of a split by (match, clip), their frames still coded."""
    decoders = {"frames": tfds.decode.SkipDecoding()} if "frames" in builder.info.features else None
    examples = builder.as_dataset(split=split, decoders=decoders).as_numpy_iterator()
    return {(example["match"].decode(), example["clip"].decode()): example for example in examples}
