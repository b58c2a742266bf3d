"""Experiments: one file each, all fields and their meaning in `base.py`."""
