"""Trains a model: restores or initialises a run, then steps, logs, validates and saves checkpoints.

Everything random follows from the seed and the step, and the data from the step as well: a run
that was stopped, in whatever way, goes on from its newest checkpoint bit for bit.
"""

import contextlib
import dataclasses
from collections.abc import Iterator

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh

from stvh_jax import files
from stvh_jax.clips import Clips
from stvh_jax.codes.packing import code_lengths
from stvh_jax.config import Config, check_fields
from stvh_jax.console import Progress, say
from stvh_jax.dataset import Dataset
from stvh_jax.errors import UserError
from stvh_jax.models.weights.convert import Weights, select
from stvh_jax.runs import checkpoints, folders
from stvh_jax.runs.checkpoints import Checkpoints
from stvh_jax.runs.history import History
from stvh_jax.training import pretrained, sharding, starting
from stvh_jax.training.cached_features import with_feature_cache
from stvh_jax.training.checks import check_config
from stvh_jax.training.compiled import CompiledSteps, compile_steps
from stvh_jax.training.interruption import Interruption
from stvh_jax.training.objectives import shares
from stvh_jax.training.processes import in_every_process
from stvh_jax.training.run_config import make_run_config
from stvh_jax.training.state import TrainState
from stvh_jax.training.visual_stage import fit_visual_end

# Held by the process that trains in a run's folder.
LOCK = "training.lock"


def read_metrics(step: int, metrics) -> dict[str, float]:
    """Fetches the metrics of a step; stops a run whose loss or gradient is not finite.

    Raises:
      UserError: names what is not finite, and the step.
    """
    values = {name: float(value) for name, value in jax.device_get(metrics).items()}
    broken = [name for name, value in values.items() if not np.isfinite(value)]
    if broken:
        # The loss is not finite because one of its terms is not, which comes after it.
        terms = [name for name in broken if name not in ("loss", "gradient_norm")]
        cause = terms[0] if terms else broken[0]
        raise UserError(
            f"step {step}: {cause} is {values[cause]} at learning rate "
            f"{values['learning_rate']:.3g}; training stopped, the last checkpoint is whole. "
            "Lower config.optimizer.learning_rate or set config.optimizer.clip_norm"
        )
    return values


@dataclasses.dataclass(frozen=True)
class Due:
    """What is to be done after a step."""

    log: bool
    validate: bool
    save: bool


@dataclasses.dataclass
class Trainer:
    """A run of `config` on `dataset` in `workdir`: what stays the same over its steps.

    Attributes:
      config: the whole config.
      dataset: its data set, or a feature cache of it.
      workdir: the run's folder.
      mesh: the devices that share a batch.
      steps: the compiled functions.
      steps_per_epoch: whole batches of the training split.
      weights: what the backbone starts with, if anything.
      start: the variables that are taken from another run, by their paths.
      run_config: the config with the names of the classes, as checkpoints keep it.
      checkpoints: those of the run.
    """

    config: Config
    dataset: Dataset
    workdir: epath.Path
    mesh: Mesh
    steps: CompiledSteps
    steps_per_epoch: int
    weights: Weights | None
    start: dict
    run_config: dict
    checkpoints: Checkpoints

    @property
    def total_steps(self) -> int:
        """How many steps the training has."""
        return self.config.train.epochs * self.steps_per_epoch

    def initial_state(self) -> TrainState:
        """Restores the newest checkpoint, or initialises the run."""
        if self.checkpoints.latest_step() is None:
            return self._with_weights(self.steps.create_state())
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=sharding.replicated(self.mesh)
            ),
            jax.eval_shape(self.steps.create_state),
        )
        return TrainState.of_items(*self.checkpoints.restore(*abstract.items()))

    def _with_weights(self, state: TrainState) -> TrainState:
        """Replaces the variables by those that the backbone, or all of it, is to start with."""
        if self.weights is None and not self.start:
            return state
        variables = state.variables
        if self.weights is not None:
            chosen = select(self.weights, pretrained.take(variables))
            variables = pretrained.put(variables, self._placed(chosen))
        if self.start:
            variables = starting.taken_over(variables, self._placed(self.start))
        return state.beginning_with(variables)

    def _placed(self, tree: dict) -> dict:
        """Puts arrays on every device."""
        whole = sharding.replicated(self.mesh)
        return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(whole, leaf), tree)

    def open_feature_cache(self, state: TrainState) -> None:
        """Puts a cache of the frozen backbone's features in the place of the frames.

        Raises:
          UserError: the cache cannot be used.
        """
        self.dataset = with_feature_cache(
            self.config, self.dataset, self.steps.model, state, self.mesh
        )

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

    def due(self, step: int) -> Due:
        """Decides what is to be done after a step."""
        train, last = self.config.train, step == self.total_steps
        epoch, rest = divmod(step, self.steps_per_epoch)
        validate = last or (rest == 0 and epoch % train.evaluate_every_epochs == 0)
        every = train.checkpoint_every_steps
        return Due(
            log=last or step % train.log_every_steps == 0,
            validate=validate and bool(self.config.data.validation_split),
            save=validate or (every > 0 and step % every == 0),
        )

    def validate(self, state: TrainState) -> dict[str, float]:
        """Measures the loss, and the shares that the objective judges, over the validation split.

        Raises:
          UserError: the loss is not finite.
        """
        batches = self.dataset.evaluation_batches(
            self.config.data.validation_split,
            batch_size=self.config.train.evaluation_batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        totals: dict[str, float] = {}
        for clips in batches:
            sums = self.steps.validation_step(state.variables, sharding.put_batch(clips, self.mesh))
            for name, value in jax.device_get(sums).items():
                totals[name] = totals.get(name, 0.0) + float(value)
        loss = totals["loss"] / totals["clips"]
        if not np.isfinite(loss):
            raise UserError(
                f"step {int(jax.device_get(state.step))}: the validation loss is {loss}; training "
                "stopped, the last checkpoint is whole. Lower config.optimizer.learning_rate or "
                "set config.optimizer.clip_norm"
            )
        return {"loss": loss, **shares(totals)}

    def save(self, step: int, state: TrainState, validation: dict[str, float] | None) -> None:
        """Saves a checkpoint, with its score where it was validated.

        The visual end of a graded code is fitted where the checkpoint may be the one that is used.
        """
        select = self.config.train.select
        metrics = {select: validation[select]} if validation else None
        variables, train = state.items()
        if self.config.model.get("objective") == "graded" and (
            step == self.total_steps or (metrics and self._is_best(metrics[select]))
        ):
            variables = fit_visual_end(self.config, self.steps.model, variables, self.dataset)
        self.checkpoints.save(step, variables, train, self.run_config, metrics=metrics)

    def _is_best(self, score: float) -> bool:
        """Says whether no saved checkpoint has a higher score."""
        scores = checkpoints.saved_steps(self.workdir).values()
        return all(before is None or before <= score for before in scores)


def open_run(
    config: Config,
    dataset: Dataset,
    workdir: epath.PathLike,
    *,
    alone: contextlib.ExitStack | None = None,
) -> Trainer:
    """Opens the run in a folder, or starts one there: nothing is trained yet.

    Args:
      config: the whole config.
      dataset: its data set.
      workdir: the run's folder.
      alone: holds the folder for as long as it is open, so that no other process trains there;
        None where the run is only looked at.

    Raises:
      UserError: the config, data or workdir cannot be used.
    """
    check_fields(config)  # first of all, for the number of devices
    mesh = sharding.make_mesh(config.devices)
    check_config(config, dataset, devices=mesh.size)
    steps_per_epoch = dataset.num_clips(config.data.train_split) // config.train.batch_size
    workdir = folders.open_folder(workdir)
    weights, origin = in_every_process(pretrained.read_weights, config, workdir)
    start = in_every_process(starting.read_start, config, workdir)
    if start is not None:
        origin = start.config.get("backbone_weights")
    steps = compile_steps(
        config,
        dataset,
        mesh,
        steps_per_epoch=steps_per_epoch,
        backbone_options=origin["options"] if origin else None,
    )
    # What does not fit is found before the folder of the run is made.
    taken = {}
    if start is not None and start.variables is not None:
        taken = starting.fitting(start, config, dataset)
    if weights is not None:
        select(weights, pretrained.take(jax.eval_shape(steps.create_state).variables))
    run_config = make_run_config(config, dataset, origin, start)
    in_every_process(_prepare_folder, workdir, run_config, alone)
    folders.check_same(workdir, run_config)
    return Trainer(
        config=config,
        dataset=dataset,
        workdir=workdir,
        mesh=mesh,
        steps=steps,
        steps_per_epoch=steps_per_epoch,
        weights=weights,
        start=taken,
        run_config=run_config,
        checkpoints=Checkpoints(workdir, select=config.train.select),
    )


def _prepare_folder(
    workdir: epath.Path, run_config: dict, alone: contextlib.ExitStack | None
) -> None:
    """Makes the run's folder and holds it, in one process."""
    if jax.process_index() == 0:
        folders.prepare(workdir, run_config)
        if alone is not None and "://" not in str(workdir):  # a bucket has no locks
            with files.writing(workdir, "give another --workdir"):
                busy = f"another process trains in {workdir}"
                alone.enter_context(files.lock(workdir / LOCK, busy=busy))


def train(config: Config, dataset: Dataset, workdir: epath.PathLike) -> TrainState:
    """Trains a model, resuming the run in `workdir` if there is one.

    Writes checkpoints, `history.jsonl`, TensorBoard files and, at the end, `finished.json`.

    Raises:
      UserError: the config, data or workdir cannot be used, another process trains there, or the
        loss is no longer finite.
      SystemExit: interrupted; the state was saved and the same command resumes.
    """
    with contextlib.ExitStack() as alone:
        trainer = open_run(config, dataset, workdir, alone=alone)
        return train_run(trainer)


def train_run(trainer: Trainer) -> TrainState:
    """Trains an open run to its end; see `train`."""
    with contextlib.closing(trainer.checkpoints):
        state = trainer.initial_state()
        start_step = int(jax.device_get(state.step))
        announce(trainer, state, start_step)
        with contextlib.closing(History(trainer.workdir, start_step=start_step)) as history:
            if trainer.config.train.feature_cache and start_step < trainer.total_steps:
                in_every_process(trainer.open_feature_cache, state)
            with Interruption() as interruption:
                state, step = run_steps(trainer, state, start_step, history, interruption)
    if step < trainer.total_steps:
        say(f"interrupted; saved at step {step}, the same command resumes")
        raise SystemExit(128 + interruption.signal)
    if jax.process_index() == 0:
        with files.writing(trainer.workdir, "make room, and the same command finishes"):
            folders.finish(trainer.workdir, step)
    return state


def announce(trainer: Trainer, state: TrainState, start_step: int) -> None:
    """Says what is trained, where and for how long."""
    config = trainer.config
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    verb = f"resuming at step {start_step}" if start_step else "training"
    lengths = "+".join(map(str, code_lengths(config.model.bits)))
    bits = f"{lengths} bits, " if trainer.steps.model.foci else ""
    say(
        f"{verb}: {config.model.name}, {bits}{parameters:,} parameters, "
        f"{trainer.steps_per_epoch * config.train.batch_size} clips an epoch, "
        f"{trainer.total_steps} steps, {trainer.mesh.size} device(s), in {trainer.workdir}"
    )
    if origin := trainer.run_config.get("backbone_weights"):
        say(f"backbone from {origin['source']}, sha256 {origin['sha256'][:12]}")
    if origin := trainer.run_config.get("started_from"):
        path = config.train.start_from
        say(f"started from {path}, step {origin['step']}, sha256 {origin['sha256'][:12]}")
        if warning := starting.warning_of_sides(config, trainer.dataset):
            say(warning)


def run_steps(
    trainer: Trainer,
    state: TrainState,
    start_step: int,
    history: History,
    interruption: Interruption,
) -> tuple[TrainState, int]:
    """Runs the steps that are left, logging, validating and saving in between.

    Returns:
      The state and its step: the last one, or the one at which an interruption was saved.
    """
    batches = trainer.batches(start_step)
    progress = Progress(start_step, trainer.total_steps, trainer.config.train.batch_size)
    previous = None
    for step in range(start_step + 1, trainer.total_steps + 1):
        clips = next(batches)
        # A step must not wait for anything that is still to be brought to the device.
        with jax.transfer_guard("disallow"):
            state, metrics = trainer.steps.train_step(state, clips, trainer.steps.key)
        # One step late, so that reading a step's metrics does not hold the next one back.
        if previous is not None:
            read_metrics(step - 1, previous)
        else:
            jax.block_until_ready(metrics)  # the step that was compiled
        interruption.step_done()
        previous = metrics
        due, interrupted = trainer.due(step), bool(interruption.agreed())
        if due.log or due.save or interrupted:
            values = read_metrics(step, metrics)
        if due.log:
            log_training(step, values, trainer, history, progress)
        validation = trainer.validate(state) if due.validate else None
        if validation:
            history.write(step, {f"validation/{name}": v for name, v in validation.items()})
            say("  validation  " + "  ".join(f"{k} {v:.4f}" for k, v in validation.items()))
        if due.save or interrupted:
            trainer.save(step, state, validation)
            progress.restart(step)
        if interrupted:
            return state, step
    return state, trainer.total_steps


def log_training(
    step: int, values: dict[str, float], trainer: Trainer, history: History, progress: Progress
) -> None:
    """Writes the metrics of a step to the history and its loss to the console."""
    clips_per_second, seconds_left = progress.measure(step)
    logged = {f"train/{name}": value for name, value in values.items()}
    history.write(step, logged | {"clips_per_second": clips_per_second})
    minutes, seconds = divmod(round(seconds_left), 60)
    say(
        f"step {step}/{trainer.total_steps}  epoch {step / trainer.steps_per_epoch:.1f}  "
        f"loss {values['loss']:.4f}  {clips_per_second:.1f} clips/s  "
        f"{minutes}:{seconds:02d} left"
    )
