"""Experiments: one file each, all fields and their meaning in `stvh_jax/config.py`."""
