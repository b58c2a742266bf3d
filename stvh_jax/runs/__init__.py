"""A run on disk: its folder, checkpoints, history, and packing it as one file."""
