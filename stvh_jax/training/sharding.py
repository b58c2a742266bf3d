"""Data parallelism: a mesh with the axis `data`, parameters replicated, batches split."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from stvh_jax.clips import Clips
from stvh_jax.errors import UserError


def make_mesh(devices: int = 0) -> Mesh:
    """Makes a mesh over `devices` devices, 0 for all there are.

    The batches and the loss do not depend on the number of devices; where a machine has fewer than
    asked for, all of them are used. Several processes always use all the devices they have: each
    must hold a part of every batch.

    Raises:
      UserError: `devices` is negative.
    """
    available = jax.devices()
    if jax.process_count() > 1:
        devices = 0
    if devices < 0:
        raise UserError(f"config.devices is {devices}; use 1 or more, or 0 for all devices")
    chosen = available[: devices or None]
    # linen's Dropout does not support explicit axes, the default.
    return jax.make_mesh((len(chosen),), ("data",), axis_types=(AxisType.Auto,), devices=chosen)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def split_batch(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of arrays that are split over the devices along their first axis."""
    return NamedSharding(mesh, PartitionSpec("data"))


def put_batch(batch: Clips, mesh: Mesh) -> Clips:
    """Puts this process's part of a batch onto its devices, without the names of its clips."""
    sharding = split_batch(mesh)
    return jax.tree.map(
        lambda part: jax.make_array_from_process_local_data(sharding, np.asarray(part)),
        batch.without_names(),
    )
