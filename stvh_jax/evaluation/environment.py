"""What an evaluation ran on: the hardware and the versions of the libraries."""

import importlib.metadata
import os

import jax


def hardware() -> str:
    """Names the devices and counts the CPU cores."""
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind}, {os.cpu_count()} CPU cores"


def versions() -> str:
    """Lists the versions of the libraries that numbers depend on."""
    names = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
