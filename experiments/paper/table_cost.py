"""What each model costs, which the paper does not print: size, computation, speed, training time.

Parameters and computation are found without weights, so any config will do. Speed is measured for
the settings that a CPU can train; training times are read from the runs that exist.
"""

import dataclasses
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.results import Report
from experiments.settings import Setting
from experiments.study import MISSING, Study, Variant
from experiments.trained_run import TrainedRun
from stvh_jax.clips import Clips
from stvh_jax.config import Config
from stvh_jax.evaluation.environment import hardware
from stvh_jax.inference.encoder import make_encode_step
from stvh_jax.models.build import Model, build_model
from stvh_jax.models.compiling import jit
from stvh_jax.models.shapes import example_clips, variable_shapes
from stvh_jax.reporting.tables import Table
from stvh_jax.runs.folders import open_folder
from stvh_jax.runs.history import read_history

# Its report is made of the models, not of evaluations.
NEEDS_RUNS = True
TITLE = "Cost: parameters, computation, speed and training time"
_REFERENCE = "M-STVH"
_FORMS = {
    "STVH": {"model.name": "stvh"},
    _REFERENCE: {"model.name": "mstvh"},
    "M-STVH^BD": {"model.name": "mstvh", "model.position": "before"},
    "M-STVH^ED": {"model.name": "mstvh", "model.position": "after"},
    "plain fusion, add": {"model.name": "stvh", "model.position": "add"},
    "plain fusion, concatenate": {"model.name": "stvh", "model.position": "concat"},
}
# Of the settings at the paper's size, as the configs name them.
_BACKBONES = ("inception_v3", "vgg16")
_ROUNDS = 7
# Numbers of classes, which the cost hardly depends on: those of the Volleyball Dataset.
_CLASSES = {
    "activity_names": [f"activity {place}" for place in range(8)],
    "action_names": [f"action {place}" for place in range(9)],
}


@dataclasses.dataclass(frozen=True)
class Form:
    """A form of the model.

    Attributes:
      label: its name.
      run: its run with seed 0, which need not exist.
    """

    label: str
    run: TrainedRun

    @property
    def config(self) -> Config:
        """The config, with all frames at once: of a loop, XLA counts the body only once."""
        config = self.run.config.copy_and_resolve_references()
        with config.unlocked():
            config.model.frames_per_chunk = 0
        return config


def variants(setting: Setting) -> list[Variant]:
    """None: nothing is trained for this table."""
    del setting
    return []


def forms(setting: Setting) -> list[Form]:
    """The models of Tables 2 and 5 and of Fig. 1, with both backbones at the paper's size."""
    changes: dict[str, Mapping[str, Any]] = dict(_FORMS)
    if setting.has_frames:
        changes["global video hash"] = {"model.name": "global_hash", **setting.global_hash}
    # A config without a measured time is one of the paper's size.
    backbones = ("",) if is_small(setting) else _BACKBONES
    return [
        Form(
            f"{label}, {backbone}" if backbone else label,
            TrainedRun(setting, one, 0, options=backbone),
        )
        for backbone in backbones
        for label, one in changes.items()
    ]


def is_small(setting: Setting) -> bool:
    """Says whether a CPU can train the setting, so that its speed is measured."""
    return setting.seconds is not None


def count_parameters(model: Model, config: Config) -> int:
    """Counts the trainable numbers of a model."""
    shapes = variable_shapes(model, config)["params"]
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def count_flops(model: Model, config: Config) -> float:
    """Counts the floating-point operations of encoding one clip, as XLA does before it optimises.

    A multiplication and an addition are two. Nothing is allocated.
    """
    clips = jax.eval_shape(lambda: example_clips(config)).without_names()
    step = jax.jit(make_encode_step(model, bits=model.bits))
    return step.lower(variable_shapes(model, config), clips).cost_analysis()["flops"]


def clips_per_second(configs: Mapping[str, Config]) -> dict[str, float]:
    """Measures how many clips each model encodes per second; the models take turns.

    Returns:
      The median over the rounds, by the names of `configs`.
    """
    steps = {name: _encoding(config) for name, config in configs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(_ROUNDS):
        for name, (step, variables, clips) in steps.items():
            started = time.monotonic()
            jax.block_until_ready(step(variables, clips))
            seconds[name].append(time.monotonic() - started)
    return {
        name: configs[name].train.evaluation_batch_size / statistics.median(measured)
        for name, measured in seconds.items()
    }


def _encoding(config: Config) -> tuple:
    """Gives a compiled model, its variables and a batch of random clips."""
    model, random = build_model(config.model, **_CLASSES), np.random.default_rng(0)
    example, batch = example_clips(config), config.train.evaluation_batch_size
    variables = jax.jit(lambda key: model.init({"params": key}, example, train=False))(
        jax.random.key(0)
    )
    corners = random.uniform(0, 0.7, (batch, *example.boxes.shape[1:-1], 2))
    frames = example.frames
    if frames is not None:
        frames = random.integers(0, 256, (batch, *frames.shape[1:]), np.uint8)
    appearance = example.appearance
    if appearance is not None:
        appearance = random.normal(size=(batch, *appearance.shape[1:])).astype(np.float16)
    clips = Clips(
        boxes=np.concatenate([corners, corners + 0.2], axis=-1).astype(np.float32),
        actor_mask=np.ones((batch, *example.actor_mask.shape[1:]), bool),
        frames=frames,
        appearance=appearance,
    )
    step = jit(make_encode_step(model, bits=model.bits))
    clips = jax.device_put(clips.without_names())
    jax.block_until_ready(step(variables, clips))
    return step, variables, clips


def training_seconds(history: Sequence[Mapping[str, float]], batch_size: int) -> float | None:
    """Adds up how long the steps of a training took, without validation; None without a history.

    Args:
      history: the lines of the history; a speed is that since the line before.
      batch_size: the clips of a step.
    """
    total, before = 0.0, 0
    for line in history:
        if "clips_per_second" in line:
            total += (line["step"] - before) * batch_size / line["clips_per_second"]
        before = line["step"]
    return total or None


def report(study: Study) -> Report:
    """One row per model."""
    setting = study.setting
    models = forms(setting)
    speeds: dict[str, float] = {}
    if is_small(setting):
        speeds = clips_per_second({form.label: form.run.config for form in models})
    rows = []
    for form in models:
        model = build_model(form.config.model, **_CLASSES)
        rows.append(
            [
                form.label,
                f"{count_parameters(model, form.config) / 1e6:.2f}",
                f"{count_flops(model, form.config) / 1e9:.4g}",
                *_speed(form.label, speeds),
                _training(study, form),
            ]
        )
    header = ["model", "million parameters", "GFLOPs per clip", "clips/s", f"x {_REFERENCE}"]
    return Report([Table([*header, "training"], rows)], _notes(study), unit="")


def _speed(label: str, speeds: Mapping[str, float]) -> list[str]:
    if not speeds:
        return [MISSING, MISSING]
    return [f"{speeds[label]:.3g}", f"{speeds[label] / speeds[_REFERENCE]:.2f}"]


def _training(study: Study, form: Form) -> str:
    """Formats the mean training time of the finished runs, as minutes and seconds."""
    times = []
    for seed in study.seeds:
        run = dataclasses.replace(form.run, seed=seed)
        if run.is_trained:
            history = read_history(open_folder(run.folder))
            times.append(training_seconds(history, run.config.train.batch_size))
    known = [seconds for seconds in times if seconds is not None]
    if not known:
        return MISSING
    minutes, seconds = divmod(round(statistics.fmean(known)), 60)
    return f"{minutes}:{seconds:02d}"


def _notes(study: Study) -> list[str]:
    config = study.setting.build_config()
    data, model = config.data, config.model
    frames = f"{data.num_frames} frame{'s' if data.num_frames > 1 else ''}"
    size = ", boxes and features of whole frames" if model.source != "boxes" else ", boxes alone"
    if study.setting.has_frames:
        size = " of {}x{}".format(*data.image_size)
    notes = [
        f"A clip is {frames}{size}, with {data.num_actors} actors; codes of {model.bits} bits, "
        f"L = {model.layers}. GFLOPs: counted by XLA before it optimises, for encoding one clip; a "
        "multiplication and an addition are two."
    ]
    if is_small(study.setting):
        notes.append(
            f"Speed: encoding batches of {config.train.evaluation_batch_size} random clips on "
            f"{hardware()}, the median of {_ROUNDS} rounds in which the models take turns; other "
            "programs may have run meanwhile, so compare the ratios alone."
        )
    else:
        notes.append("Speed was not measured at this size: a CPU takes minutes per batch.")
    notes.append(
        "Training: minutes:seconds of the steps of existing runs, by their histories, without "
        "validation; the mean over the seeds, – where there is no run. One run may have had other "
        "company on its machine than another."
    )
    return notes
