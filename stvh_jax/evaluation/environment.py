"""What an evaluation ran on: the hardware and the versions of the libraries."""

import importlib.metadata
import os
import pathlib
import platform
import re

import jax


def hardware() -> str:
    """Names the devices and the processor, and counts its cores."""
    devices = jax.devices()
    device = f"{len(devices)} x {devices[0].device_kind}"
    return f"{device}, {os.cpu_count()} CPU cores, {_processor()}"


def _processor() -> str:
    """Names the processor, by its architecture if the system does not tell more."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    named = re.search(r"model name\s*:\s*(.+)", text)
    return named[1].strip() if named else platform.processor() or platform.machine()


def versions() -> str:
    """Lists the versions of the libraries that numbers depend on."""
    names = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
