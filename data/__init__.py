"""The datasets: raw files in, prepared sets and batches out; the one place that uses TensorFlow."""

import os

# TensorFlow announces its CPU features on stderr unless both are set before its first import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
