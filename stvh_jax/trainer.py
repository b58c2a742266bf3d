"""The training loop: order, and nothing but order.

Everything random follows from the seed and the step, and the data from the step as well, so that
a run that was stopped, however, goes on from its newest checkpoint bit for bit.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Protocol

import jax
import numpy as np
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from stvh_jax import sharding
from stvh_jax.checkpoints import Checkpoints
from stvh_jax.clips import Clips
from stvh_jax.errors import UserError
from stvh_jax.models import build_model
from stvh_jax.optimizer import build_optimizer, learning_rate_schedule
from stvh_jax.state import TrainState, create_state, example_clips
from stvh_jax.step import make_train_step, make_validation_step

# Fields that may change between a run and its resumption: they change no number.
FREE_FIELDS = ("data.dir", "devices", "train.log_every_steps")

HISTORY = "history.jsonl"
FINISHED = "finished.json"


class Dataset(Protocol):
    """What training asks of a data set; `data.pipeline.ClipDataset` is one."""

    activity_names: tuple[str, ...]
    action_names: tuple[str, ...]

    def num_clips(self, split: str) -> int:
        """Counts the clips of a split."""

    def untracked_share(self, split: str) -> float:
        """Returns the share of actors whose box stands still for want of a track."""

    def training_batches(self, split: str, **options) -> Iterator[Clips]:
        """Yields this process's part of endless shuffled batches, from a step on."""

    def evaluation_batches(self, split: str, **options) -> Iterator[Clips]:
        """Yields this process's part of batches that hold every clip once."""


def describe(config: ConfigDict, dataset: Dataset) -> dict:
    """Makes the `config` item of a checkpoint: the whole config and the names of the classes."""
    return {
        **json.loads(config.to_json_best_effort()),
        "activity_names": list(dataset.activity_names),
        "action_names": list(dataset.action_names),
    }


def flatten(config: dict, prefix: str = "") -> dict:
    """Flattens nested dicts to dotted names."""
    flat = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def prepare_workdir(workdir: epath.Path, described: dict) -> None:
    """Makes the run's folder and writes its config, or checks that it is this config's.

    Raises:
      UserError: the folder cannot be written, or holds a run of another config.
    """
    path = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            temporary = workdir / "config.json.new"
            temporary.write_text(json.dumps(described, indent=2))
            temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot write to the workdir {workdir} ({error.strerror or error}); "
            "give another --workdir"
        ) from error
    stored, current = flatten(json.loads(path.read_text())), flatten(described)
    for name in sorted((stored.keys() | current.keys()) - set(FREE_FIELDS)):
        if stored.get(name) != current.get(name):
            raise UserError(
                f"{workdir} holds a run with {name}={stored.get(name)!r}, this config has "
                f"{current.get(name)!r}; give another --workdir or the same config"
            )


class Interruption:
    """Turns the first SIGINT or SIGTERM into a flag; a second one ends the program at once."""

    def __init__(self):
        self.signal = None
        self._previous = {}

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def _note(self, number, frame):
        del frame
        self.signal = number
        self._restore()

    def _restore(self):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __exit__(self, *exception):
        self._restore()


class History:
    """The metrics of a run: lines of JSON, TensorBoard files and a line on the console each."""

    def __init__(self, workdir: epath.Path, *, start_step: int):
        """Opens the history; what a killed run wrote past its checkpoint is dropped."""
        from tensorboardX import SummaryWriter

        self._path = workdir / HISTORY
        kept = [
            line for line in read_history(workdir) if line["step"] <= start_step
        ]
        self._path.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._writer = SummaryWriter(os.fspath(workdir / "tensorboard"), purge_step=start_step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Appends one line."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes the TensorBoard files."""
        self._writer.close()


def read_history(workdir: epath.Path) -> list[dict]:
    """Reads the whole lines of a run's history; a line cut by a kill is left out."""
    path = workdir / HISTORY
    if not path.exists():
        return []
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def check_finite(step: int, metrics: dict[str, float]) -> None:
    """Stops a run whose loss or gradient is no number any more.

    Raises:
      UserError: names what was not finite first, and the step.
    """
    broken = [name for name, value in metrics.items() if not np.isfinite(value)]
    if broken:
        terms = [name for name in broken if name not in ("loss", "gradient_norm")]
        cause = f"its term {terms[0]}" if terms else broken[0]
        raise UserError(
            f"step {step}: {cause} is {metrics[(terms or broken)[0]]} at learning rate "
            f"{metrics['learning_rate']:.3g}; training stopped, the last checkpoint is whole. "
            "Lower config.optimizer.learning_rate or set config.optimizer.clip_norm"
        )


class Trainer:
    """A run of `config` on `dataset` in `workdir`: everything that stays the same over its steps."""

    def __init__(self, config: ConfigDict, dataset: Dataset, workdir: str):
        """Builds the model, optimizer and jitted steps, and restores the newest checkpoint."""
        self.config, self.dataset = config, dataset
        self.workdir = epath.Path(workdir).absolute()
        self.described = describe(config, dataset)
        clips = dataset.num_clips(config.data.train_split)
        if clips < config.train.batch_size:
            raise UserError(
                f"split {config.data.train_split} has {clips} clips, fewer than "
                f"config.train.batch_size={config.train.batch_size}; lower the batch size"
            )
        self.steps_per_epoch = clips // config.train.batch_size
        self.total_steps = config.train.epochs * self.steps_per_epoch
        self.mesh = sharding.make_mesh(config.devices)
        if config.train.batch_size % self.mesh.size:
            raise UserError(
                f"config.train.batch_size={config.train.batch_size} does not divide over "
                f"{self.mesh.size} devices; change it or config.devices"
            )
        model = build_model(
            config.model,
            activity_names=dataset.activity_names,
            action_names=dataset.action_names,
        )
        options = {"steps_per_epoch": self.steps_per_epoch, "epochs": config.train.epochs}
        optimizer = build_optimizer(config.optimizer, **options)
        learning_rate = learning_rate_schedule(config.optimizer, **options)
        prepare_workdir(self.workdir, self.described)

        whole, split = sharding.replicated(self.mesh), sharding.split_batch(self.mesh)
        key = jax.random.key(config.seed)
        self.dropout_key = jax.device_put(jax.random.fold_in(key, 1), whole)
        self._create = jax.jit(
            lambda: create_state(
                jax.random.fold_in(key, 0), model, optimizer, example_clips(config)
            ),
            out_shardings=whole,
        )
        self.train_step = jax.jit(
            make_train_step(model, optimizer, config.loss, learning_rate),
            donate_argnums=0,
            in_shardings=(whole, split, whole),
            out_shardings=(whole, whole),
        )
        self.validation_step = jax.jit(
            make_validation_step(model, config.loss),
            in_shardings=(whole, split),
            out_shardings=whole,
        )
        self.checkpoints = Checkpoints(self.workdir, select=config.train.select)

    def initial_state(self) -> TrainState:
        """Restores the newest checkpoint, or initialises the run."""
        if self.checkpoints.latest_step() is None:
            return self._create()
        shapes = jax.eval_shape(self._create)
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=sharding.replicated(self.mesh)
            ),
            shapes,
        )
        return self.checkpoints.restore(abstract)

    def batches(self, start_step: int) -> Iterator[Clips]:
        """Yields the training batches from a step on, on the devices."""
        local = self.dataset.training_batches(
            self.config.data.train_split,
            batch_size=self.config.train.batch_size,
            seed=self.config.seed,
            start_step=start_step,
            flip=self.config.data.flip,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        for clips in local:
            yield sharding.put_batch(clips, self.mesh)

    def validate(self, state: TrainState) -> dict[str, float]:
        """Measures loss and accuracies over the validation split."""
        batches = self.dataset.evaluation_batches(
            self.config.data.validation_split,
            batch_size=self.config.train.evaluation_batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        totals: dict[str, float] = {}
        for clips in batches:
            sums = self.validation_step(state.variables, sharding.put_batch(clips, self.mesh))
            for name, value in jax.device_get(sums).items():
                totals[name] = totals.get(name, 0.0) + float(value)
        return {
            "loss": totals["loss"] / totals["clips"],
            "activity_accuracy": totals["activity_right"] / totals["clips"],
            "action_accuracy": totals["action_right"] / max(totals["actors"], 1),
        }

    def save(self, state: TrainState, validation: dict[str, float] | None) -> None:
        """Saves a checkpoint, with its score where it was validated."""
        select = self.config.train.select
        metrics = {select: validation[select]} if validation else None
        self.checkpoints.save(state, self.described, metrics=metrics)


def train(config: ConfigDict, dataset: Dataset, workdir: str) -> TrainState:
    """Trains a model, resuming the run in `workdir` if there is one.

    Writes checkpoints, `history.jsonl`, TensorBoard files and, at the end, `finished.json`.

    Raises:
      UserError: the config, data or workdir cannot be used, or the loss is no longer finite.
      SystemExit: interrupted; the state was saved and the same command resumes.
    """
    trainer = Trainer(config, dataset, workdir)
    state = trainer.initial_state()
    start_step, total_steps = int(state.step), trainer.total_steps
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    verb = f"resuming at step {start_step}" if start_step else "training"
    say(
        f"{verb}: {config.model.name}, {config.model.bits} bits, {parameters:,} parameters, "
        f"{trainer.steps_per_epoch * config.train.batch_size} clips an epoch, {total_steps} steps, "
        f"{trainer.mesh.size} device(s), in {trainer.workdir}"
    )
    history = History(trainer.workdir, start_step=start_step)
    try:
        with Interruption() as interruption, jax.transfer_guard("disallow"):
            state = run_steps(trainer, state, history, interruption)
    finally:
        trainer.checkpoints.close()
        history.close()
    if jax.process_index() == 0:
        summary = {"step": total_steps, "finished_at": time.time()}
        (trainer.workdir / FINISHED).write_text(json.dumps(summary))
    return state


def run_steps(trainer, state, history, interruption) -> TrainState:
    """Runs the steps that are left, logging, validating and saving in between."""
    config, total_steps = trainer.config, trainer.total_steps
    batches = trainer.batches(int(state.step))
    pending = None
    progress = Progress(int(state.step), total_steps, config.train.batch_size)
    for step in range(int(state.step) + 1, total_steps + 1):
        state, metrics = trainer.train_step(state, next(batches), trainer.dropout_key)
        # One step behind, so that reading a step's metrics does not hold the next one back.
        if pending is not None:
            check_finite(step - 1, jax.device_get(pending))
        pending = metrics
        epoch_over = step % trainer.steps_per_epoch == 0
        epoch = step // trainer.steps_per_epoch
        validated = epoch_over and (
            epoch % config.train.evaluate_every_epochs == 0 or step == total_steps
        )
        saved = validated or step == total_steps or interruption.signal
        if config.train.checkpoint_every_steps:
            saved = saved or step % config.train.checkpoint_every_steps == 0
        logged = step % config.train.log_every_steps == 0 or step == total_steps
        if saved or logged:
            values = {name: float(value) for name, value in jax.device_get(metrics).items()}
            check_finite(step, values)
            pending = None
        if logged:
            speed = progress.measure(step)
            history.write(
                step,
                {f"train/{name}": value for name, value in values.items()}
                | {"clips_per_second": speed.clips_per_second},
            )
            say(f"step {step}/{total_steps}  epoch {step / trainer.steps_per_epoch:.1f}  "
                f"loss {values['loss']:.4f}  {speed}")
        validation = None
        if validated and config.data.validation_split:
            validation = trainer.validate(state)
            history.write(step, {f"validation/{name}": v for name, v in validation.items()})
            say("  validation  " + "  ".join(f"{k} {v:.4f}" for k, v in validation.items()))
        if saved:
            trainer.save(state, validation)
        if interruption.signal and step < total_steps:
            trainer.checkpoints.close()
            say(f"interrupted; saved at step {step}, the same command resumes")
            raise SystemExit(128 + interruption.signal)
    return state


class Speed:
    """Clips a second and the time that is left."""

    def __init__(self, clips_per_second: float, seconds_left: float):
        self.clips_per_second = clips_per_second
        self.seconds_left = seconds_left

    def __str__(self):
        """Formats for the console."""
        minutes, seconds = divmod(round(self.seconds_left), 60)
        return f"{self.clips_per_second:.1f} clips/s  {minutes}:{seconds:02d} left"


class Progress:
    """Measures throughput between two calls; the first interval, which compiles, is not counted."""

    def __init__(self, step: int, total_steps: int, batch_size: int):
        self.total_steps, self.batch_size = total_steps, batch_size
        self.step, self.time = step, time.monotonic()

    def measure(self, step: int) -> Speed:
        """Returns the speed since the last call."""
        now = time.monotonic()
        seconds = (now - self.time) / (step - self.step)
        self.step, self.time = step, now
        return Speed(self.batch_size / seconds, seconds * (self.total_steps - step))


def say(line: str) -> None:
    """Prints a line of progress, from one process only."""
    if jax.process_index() == 0:
        print(line, flush=True)
