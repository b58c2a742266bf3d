"""What the device can do: products of matrices, a convolution, and copies in its memory."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

CALLS, ROUNDS = 10, 5


def describe_device() -> dict[str, Any]:
    """Names the device, and says how much memory a process may take there."""
    device = jax.devices()[0]
    stats = device.memory_stats() or {}
    return {
        "platform": device.platform,
        "device": device.device_kind,
        "devices": len(jax.devices()),
        "memory_bytes": stats.get("bytes_limit"),
    }


def measure_ceilings(settings: dict[str, Any]) -> dict[str, Any]:
    """Measures operations and bytes a second, on random numbers.

    `float32` is computed as JAX does by default, on newer NVIDIA GPUs with TF32 products;
    `float32_highest` in float32 throughout. The convolution is one of VGG-16's, 3x3 of 256 channels
    on ten frames at a quarter of 720x1280.
    """
    small = settings.get("small", False)
    side, numbers = (512, 1 << 20) if small else (8192, 1 << 28)
    found = {}
    for name, dtype, precision in (
        ("bfloat16", jnp.bfloat16, None),
        ("float32", jnp.float32, None),
        ("float32_highest", jnp.float32, "highest"),
    ):
        matrix = jax.random.normal(jax.random.key(0), (side, side), dtype)
        with jax.default_matmul_precision(precision):
            spent = seconds(jax.jit(jnp.matmul), matrix, matrix)
        found[f"{name}_operations_per_second"] = 2 * side**3 / spent
    found["convolution_operations_per_second"] = measure_convolution(small)
    array = jax.random.bits(jax.random.key(0), (numbers,))
    # Not a plain copy, which a compiler may leave out.
    found["copied_bytes_per_second"] = 2 * array.nbytes / seconds(jax.jit(lambda a: a + 1), array)
    return found


def measure_convolution(small: bool) -> float:
    """Measures a convolution in bfloat16, in operations a second."""
    frames, height, width, channels = (1, 24, 40, 32) if small else (10, 180, 320, 256)
    maps, kernel = (
        jax.random.normal(jax.random.key(place), shape, jnp.bfloat16)
        for place, shape in enumerate(
            [(frames, height, width, channels), (3, 3, channels, channels)]
        )
    )
    convolve = jax.jit(
        lambda maps, kernel: jax.lax.conv_general_dilated(
            maps, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    )
    return 2 * maps.size * 9 * channels / seconds(convolve, maps, kernel)


def seconds(function: Callable, *arguments: Any) -> float:
    """Times a function on the device: the median of rounds of several calls, seconds a call."""
    jax.block_until_ready(function(*arguments))
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        jax.block_until_ready([function(*arguments) for _ in range(CALLS)][-1])
        rounds.append((time.perf_counter() - start) / CALLS)
    return statistics.median(rounds)
