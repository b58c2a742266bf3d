"""Prepared sets: the builder of TensorFlow Datasets, and the input pipeline."""
