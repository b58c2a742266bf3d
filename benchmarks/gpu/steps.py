"""Seconds, memory and a profile of a step of training, or of encoding a batch."""

import dataclasses
import pathlib
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from benchmarks.drawing import draw_variables
from benchmarks.gpu.floors import work_of, xla_count
from benchmarks.gpu.trace import read_events, top_operations
from benchmarks.random_models import RandomClasses, random_clips
from benchmarks.random_training import drawn_state
from configs import cad, vd
from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.inference.encoder import make_encode_step, model_of
from stvh_jax.models.shapes import variable_shapes
from stvh_jax.training import sharding
from stvh_jax.training.compiled import compile_steps

CONFIGS = {"vd": vd, "cad": cad}
WARM_UP, FEWEST_STEPS, MOST_STEPS, ENOUGH_SECONDS = 2, 3, 20, 2.0
PROFILED_STEPS = 2
# The paper has 3493 clips of training and validation in the Volleyball Dataset.
STEPS_PER_EPOCH = 1746


class Prepared(NamedTuple):
    """A compiled step and what it runs on.

    Attributes:
      step: the compiled function.
      run: `run(carried, clips) -> carried, waited`: a step, and what must be waited for.
      carried: what the first step is given.
      lower_seconds: to trace and lower the function.
      compile_seconds: to compile it.
      xla_operations: as XLA counts them, or None.
    """

    step: jax.stages.Compiled
    run: Callable
    carried: Any
    lower_seconds: float
    compile_seconds: float
    xla_operations: float | None


def config_of(settings: dict[str, Any]) -> Config:
    """Makes the config of a measurement.

    Its settings: `config`, the name in `configs/` and what follows the colon; `dtype`; `remat` and
    `frames_per_chunk` where they differ from False and 0; `small` for a size that a CPU can run.
    """
    name, _, options = settings["config"].partition(":")
    config = CONFIGS[name].get_config(options)
    config.devices = 1
    config.model.dtype = settings["dtype"]
    config.model.backbone.remat = settings.get("remat", False)
    config.model.frames_per_chunk = settings.get("frames_per_chunk", 0)
    if settings.get("small"):
        config.data.image_size = (80, 96)
        config.data.num_frames = config.model.num_frames = 2
        config.data.num_actors = config.model.num_actors = 3
        config.model.key_frame = 0
        config.model.features = 32
        config.model.roi_channels = 32
        config.model.layers = 2
    return config


def count_operations(settings: dict[str, Any]) -> dict[str, Any]:
    """Counts the operations of a clip for each of `settings["configs"]`."""
    counted = {}
    for name in settings["configs"]:
        config = config_of(settings | {"config": name, "dtype": "float32"})
        config.update(RandomClasses()._asdict())
        counted[name] = dataclasses.asdict(work_of(model_of(config), config))
    return {"operations_per_clip": counted}


def measure_step(settings: dict[str, Any]) -> dict[str, Any]:
    """Measures a step; `settings` are those of `config_of`, with `way`, `batch` and `profile`.

    Returns:
      What `limit.run_plan` records; memory is that of this process alone.
    """
    config, batch = config_of(settings), settings["batch"]
    mesh = sharding.make_mesh(1)
    hosts = [random_clips(config, batch=batch, seed=seed) for seed in range(2)]
    clips = sharding.put_batch(hosts[0], mesh)
    prepare = prepare_training if settings["way"] == "training" else prepare_encoding
    prepared = prepare(config, clips, mesh)
    carried, times = time_steps(prepared.run, prepared.carried, clips)
    carried, fed = time_fed_steps(prepared.run, carried, hosts, mesh)
    seconds = statistics.median(times)
    found = {
        **settings,
        "step_seconds": seconds,
        "lowest_seconds": min(times),
        "highest_seconds": max(times),
        "steps": len(times),
        "clips_per_second": batch / seconds,
        "fed_step_seconds": statistics.median(fed),
        "xla_operations_per_clip": prepared.xla_operations and prepared.xla_operations / batch,
        "frames": f"{clips.frames.dtype.name}, {clips.frames.nbytes / 1e6:.1f} MB a batch",
        "lower_seconds": prepared.lower_seconds,
        "compile_seconds": prepared.compile_seconds,
        **memory(prepared.step),
    }
    if settings.get("profile"):
        found["top_operations"] = profile(prepared, carried, clips)
    return found


def prepare_training(config: Config, clips: Clips, mesh) -> Prepared:
    """Compiles the step of training, as `train.py` does, and makes the state of step 0."""
    steps = compile_steps(
        config, RandomClasses(), mesh, steps_per_epoch=STEPS_PER_EPOCH, backbone_options=None
    )
    state = drawn_state(steps, config, mesh)
    compiled, *seconds, counted = compile_timed(steps.train_step, state, clips, steps.key)

    def run(state, clips):
        return compiled(state, clips, steps.key)

    return Prepared(compiled, run, state, *seconds, counted)


def prepare_encoding(config: Config, clips: Clips, mesh) -> Prepared:
    """Compiles the encoding of a batch, as an `Encoder` does, for random variables."""
    config.update(RandomClasses()._asdict())
    model = model_of(config)
    drawn = draw_variables(variable_shapes(model, config))
    variables = jax.device_put(drawn, sharding.replicated(mesh))
    step = jax.jit(make_encode_step(model))
    compiled, *seconds, counted = compile_timed(step, variables, clips)

    def run(variables, clips):
        return variables, compiled(variables, clips)

    return Prepared(compiled, run, variables, *seconds, counted)


def compile_timed(step, *arguments):
    """Compiles a jitted function: the result, seconds to lower, to compile, and XLA's count."""
    start = time.perf_counter()
    lowered = step.lower(*arguments)
    lowered_at = time.perf_counter()
    compiled = lowered.compile()
    end = time.perf_counter()
    return compiled, lowered_at - start, end - lowered_at, xla_count(lowered)


def time_steps(run: Callable, carried: Any, clips: Clips) -> tuple[Any, list[float]]:
    """Times steps on one batch that lies on the device, the first ones left out."""
    times: list[float] = []
    while len(times) < WARM_UP + FEWEST_STEPS or (
        len(times) < WARM_UP + MOST_STEPS and sum(times[WARM_UP:]) < ENOUGH_SECONDS
    ):
        start = time.perf_counter()
        carried, waited = run(carried, clips)
        jax.block_until_ready(waited)
        times.append(time.perf_counter() - start)
    return carried, times[WARM_UP:]


def time_fed_steps(run: Callable, carried: Any, hosts: list[Clips], mesh):
    """Times steps whose batches come from the host's memory, each put there during the one before.

    It is what a step takes where the pipeline is fast enough.
    """
    times, clips = [], sharding.put_batch(hosts[0], mesh)
    for place in range(1, FEWEST_STEPS + 2):
        start = time.perf_counter()
        carried, waited = run(carried, clips)
        clips = sharding.put_batch(hosts[place % len(hosts)], mesh)
        jax.block_until_ready((waited, clips))
        times.append(time.perf_counter() - start)
    return carried, times[1:]


def memory(compiled: jax.stages.Compiled) -> dict[str, Any]:
    """Gives the most bytes that were in use, and those that the compiler planned with.

    On a device, what was in use includes what trying out algorithms took while compiling. A CPU
    says nothing of it; then it is the memory of the whole process.
    """
    analysis = compiled.memory_analysis()
    planned = None
    if analysis is not None:
        planned = (
            analysis.temp_size_in_bytes
            + analysis.argument_size_in_bytes
            + analysis.output_size_in_bytes
            - analysis.alias_size_in_bytes
        )
    stats = jax.devices()[0].memory_stats()
    if stats:
        peak, of_what = stats["peak_bytes_in_use"], "device"
    else:
        peak, of_what = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "process"
    return {"peak_bytes": peak, "peak_of": of_what, "planned_bytes": planned}


def profile(prepared: Prepared, carried: Any, clips: Clips) -> list[dict[str, Any]]:
    """Traces some steps, and lists the operations that took the most time; seconds are of one."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(PROFILED_STEPS):
                carried, waited = prepared.run(carried, clips)
                jax.block_until_ready(waited)
        events = read_events(pathlib.Path(folder))
    return [
        {
            "name": operation.name,
            "step_seconds": operation.seconds / PROFILED_STEPS,
            "calls_per_step": operation.calls / PROFILED_STEPS,
            "share": operation.share,
            "result": operation.result,
            "source": operation.source,
        }
        for operation in top_operations(events, compiled=prepared.step.as_text() or "")
    ]
