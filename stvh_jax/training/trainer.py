"""The training loop: order, and nothing but order.

Everything random follows from the seed and the step, and the data from the step as well, so that
a run that was stopped, however, goes on from its newest checkpoint bit for bit.
"""

import dataclasses
import json
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from stvh_jax.clips import Clips
from stvh_jax.codes.packing import code_lengths
from stvh_jax.config import Config
from stvh_jax.console import Progress, say
from stvh_jax.dataset import Dataset
from stvh_jax.errors import UserError
from stvh_jax.models.build import build_model
from stvh_jax.models.frame_features import RoiFeatures
from stvh_jax.models.weights.convert import Weights, select
from stvh_jax.runs import checkpoints, folders
from stvh_jax.runs.checkpoints import Checkpoints
from stvh_jax.runs.history import History
from stvh_jax.training import pretrained, sharding
from stvh_jax.training.checks import check_config
from stvh_jax.training.feature_cache import CachedDataset, feature_shape, made_of
from stvh_jax.training.interruption import Interruption
from stvh_jax.training.optimizer import build_optimizer, learning_rate_schedule
from stvh_jax.training.state import TrainState, create_state, example_clips
from stvh_jax.training.step import make_train_step, make_validation_step


def describe(config: Config, dataset: Dataset, origin: dict | None = None) -> dict:
    """Makes the `config` item of a checkpoint: whatever a model is made of but its variables.

    That is the whole config, the names of the classes and, where the backbone started with
    weights, their `origin`: what these were and what they ask of the backbone.
    """
    described = {
        **json.loads(config.to_json_best_effort()),
        "activity_names": list(dataset.activity_names),
        "action_names": list(dataset.action_names),
    }
    if origin:
        described["backbone_weights"] = origin
    return described


def read_weights(config: Config, workdir: epath.Path) -> tuple[Weights | None, dict | None]:
    """Reads what the backbone starts with, if anything.

    Returns:
      The weights and their origin, for `describe`. A run that has begun has its backbone in its
      checkpoints: where the file is gone, there are no weights and the origin is the run's own.

    Raises:
      UserError: there are none, or they cannot be read.
    """
    path = config.train.backbone_weights
    if not path:
        return None, None
    begun = checkpoints.saved_steps(workdir) and folders.read_config(workdir).get(
        "backbone_weights"
    )
    if begun and not folders.open_folder(path).exists():
        return None, begun
    weights = pretrained.open_weights(path, config.model.backbone.name)
    origin = {"sha256": weights.sha256, "source": weights.source, "options": weights.options}
    return weights, origin


def read_metrics(step: int, metrics) -> dict[str, float]:
    """Fetches the metrics of a step; stops a run whose loss or gradient is no number any more.

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


def in_every_process(function, *arguments):
    """Calls a function in every process; where one makes a mistake, no other is left waiting.

    Raises:
      UserError: of the function, or of another process.
    """
    result, mistake = None, None
    try:
        result = function(*arguments)
    except UserError as error:
        mistake = error
    if multihost_utils.process_allgather(np.int32(mistake is not None)).any():
        raise mistake or UserError("another process cannot go on; see what it says")
    return result


@dataclasses.dataclass(frozen=True)
class Due:
    """What is to be done after a step."""

    log: bool
    validate: bool
    save: bool


class Trainer:
    """A run of `config` on `dataset` in `workdir`: what stays the same over its steps."""

    def __init__(self, config: Config, dataset: Dataset, workdir: epath.PathLike):
        """Builds the model, optimizer and jitted steps, and opens the run's folder.

        Raises:
          UserError: the config, data or workdir cannot be used.
        """
        self.config, self.dataset = config, dataset
        self.mesh = sharding.make_mesh(config.devices)
        check_config(config, dataset, devices=self.mesh.size)
        clips = dataset.num_clips(config.data.train_split)
        self.steps_per_epoch = clips // config.train.batch_size
        self.total_steps = config.train.epochs * self.steps_per_epoch
        self.workdir = folders.open_folder(workdir)
        self.weights, self.origin = in_every_process(read_weights, config, self.workdir)
        self._compile()
        # What does not fit is found before the folder of the run is made.
        self._chosen_weights(jax.eval_shape(self._create))
        self.described = describe(config, dataset, self.origin)
        in_every_process(self._prepare_folder)
        folders.check_same(self.workdir, self.described)
        self.checkpoints = Checkpoints(self.workdir, select=config.train.select)

    def _prepare_folder(self) -> None:
        """Makes the run's folder, in one process."""
        if jax.process_index() == 0:
            folders.prepare(self.workdir, self.described)

    def _compile(self) -> None:
        """Makes the functions of a run, to be compiled when first called."""
        config = self.config
        self.model = model = build_model(
            config.model,
            activity_names=self.dataset.activity_names,
            action_names=self.dataset.action_names,
            backbone_options=self.origin["options"] if self.origin else None,
        )
        options = {"steps_per_epoch": self.steps_per_epoch, "epochs": config.train.epochs}
        optimizer = build_optimizer(
            config.optimizer, **options, freeze_backbone=config.model.freeze_backbone
        )
        learning_rate = learning_rate_schedule(config.optimizer, **options)
        whole, split = sharding.replicated(self.mesh), sharding.split_batch(self.mesh)

        def fold(number):
            return jax.random.fold_in(jax.random.key(config.seed), number)

        self._create = jax.jit(
            lambda: create_state(fold(0), model, optimizer, example_clips(config)),
            out_shardings=whole,
        )
        # Made by a compiled function, for no process could put it on the others' devices.
        self.step_key = jax.jit(lambda: fold(1), out_shardings=whole)()
        self.train_step = jax.jit(
            make_train_step(
                model,
                optimizer,
                config.loss,
                learning_rate,
                box_jitter=config.train.box_jitter,
                accumulate=config.train.accumulate,
            ),
            donate_argnums=0,
            in_shardings=(whole, split, whole),
            out_shardings=(whole, whole),
        )
        self.validation_step = jax.jit(
            make_validation_step(model, config.loss),
            in_shardings=(whole, split),
            out_shardings=whole,
        )

    def initial_state(self) -> TrainState:
        """Restores the newest checkpoint, or initialises the run."""
        if self.checkpoints.latest_step() is None:
            return self._with_weights(self._create())
        abstract = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=sharding.replicated(self.mesh)
            ),
            jax.eval_shape(self._create),
        )
        return TrainState.of_items(*self.checkpoints.restore(*abstract.items()))

    def _chosen_weights(self, state: TrainState) -> dict:
        """Takes the variables that the backbone of a state, or of its shapes, starts with."""
        if self.weights is None:
            return {}
        return select(self.weights, pretrained.take(state.variables))

    def _with_weights(self, state: TrainState) -> TrainState:
        """Replaces the backbone's variables by those it is to start with."""
        chosen = self._chosen_weights(state)
        whole = sharding.replicated(self.mesh)
        placed = jax.tree.map(
            lambda leaf: jax.make_array_from_process_local_data(whole, leaf), chosen
        )
        variables = pretrained.put(state.variables, placed)
        return dataclasses.replace(state, params=variables.pop("params"), model_state=variables)

    def open_feature_cache(self, state: TrainState) -> None:
        """Puts a cache of the frozen backbone's features in the place of the frames.

        Raises:
          UserError: the cache cannot be used.
        """
        config, whole = self.config, sharding.replicated(self.mesh)
        module = RoiFeatures(self.model.config)
        variables = pretrained.take(state.variables, pretrained.ROI_FEATURES)
        self.dataset = CachedDataset(
            self.dataset,
            config.train.feature_cache,
            made_of=made_of(
                config,
                pretrained.digest(jax.device_get(pretrained.take(state.variables))),
                dict(self.model.config.visual.backbone),
            ),
            shape=feature_shape(module, variables, config),
        )
        apply = jax.jit(
            lambda variables, clips: module.apply(
                variables,
                clips.frames,
                jnp.where(clips.actor_mask[:, None, :, None], clips.boxes, 0),
                train=False,
            ),
            in_shardings=(whole, sharding.split_batch(self.mesh)),
            out_shardings=whole,
        )
        for split, mirrored in (
            (config.data.train_split, False),
            (config.data.train_split, True) if config.data.flip else ("", False),
            (config.data.validation_split, False),
        ):
            if split:
                self.dataset.fill(
                    split,
                    lambda clips: apply(variables, sharding.put_batch(clips, self.mesh)),
                    mirrored=mirrored,
                    batch_size=config.train.evaluation_batch_size,
                    may_write=jax.process_count() == 1,
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
        """Says what is to be done after a step."""
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
        """Measures loss and accuracies over the validation split.

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
            sums = self.validation_step(state.variables, sharding.put_batch(clips, self.mesh))
            for name, value in jax.device_get(sums).items():
                totals[name] = totals.get(name, 0.0) + float(value)
        loss = totals["loss"] / totals["clips"]
        if not np.isfinite(loss):
            raise UserError(
                f"step {int(jax.device_get(state.step))}: the validation loss is {loss}; training "
                "stopped, the last checkpoint is whole. Lower config.optimizer.learning_rate or "
                "set config.optimizer.clip_norm"
            )
        measured = {"loss": loss, "activity_accuracy": totals["activity_right"] / totals["clips"]}
        if "actors" in totals:
            measured["action_accuracy"] = totals["action_right"] / max(totals["actors"], 1)
        return measured

    def save(self, step: int, state: TrainState, validation: dict[str, float] | None) -> None:
        """Saves a checkpoint, with its score where it was validated."""
        select = self.config.train.select
        metrics = {select: validation[select]} if validation else None
        self.checkpoints.save(step, *state.items(), self.described, metrics=metrics)


def train(config: Config, dataset: Dataset, workdir: epath.PathLike) -> TrainState:
    """Trains a model, resuming the run in `workdir` if there is one.

    Writes checkpoints, `history.jsonl`, TensorBoard files and, at the end, `finished.json`.

    Raises:
      UserError: the config, data or workdir cannot be used, or the loss is no longer finite.
      SystemExit: interrupted; the state was saved and the same command resumes.
    """
    trainer = Trainer(config, dataset, workdir)
    state = trainer.initial_state()
    start_step = int(jax.device_get(state.step))
    announce(trainer, state, start_step)
    history = History(trainer.workdir, start_step=start_step)
    try:
        if config.train.feature_cache and start_step < trainer.total_steps:
            in_every_process(trainer.open_feature_cache, state)
        with Interruption() as interruption:
            state, step = run_steps(trainer, state, start_step, history, interruption)
    finally:
        trainer.checkpoints.close()
        history.close()
    if step < trainer.total_steps:
        say(f"interrupted; saved at step {step}, the same command resumes")
        raise SystemExit(128 + interruption.signal)
    if jax.process_index() == 0:
        folders.finish(trainer.workdir, step)
    return state


def announce(trainer: Trainer, state: TrainState, start_step: int) -> None:
    """Says what is trained, where and for how long."""
    config = trainer.config
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    verb = f"resuming at step {start_step}" if start_step else "training"
    lengths = "+".join(map(str, code_lengths(config.model.bits)))
    bits = f"{lengths} bits, " if trainer.model.foci else ""
    say(
        f"{verb}: {config.model.name}, {bits}{parameters:,} parameters, "
        f"{trainer.steps_per_epoch * config.train.batch_size} clips an epoch, "
        f"{trainer.total_steps} steps, {trainer.mesh.size} device(s), in {trainer.workdir}"
    )
    if trainer.origin:
        say(f"backbone from {trainer.origin['source']}, sha256 {trainer.origin['sha256'][:12]}")


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
            state, metrics = trainer.train_step(state, clips, trainer.step_key)
        # One step late, so that reading a step's metrics does not hold the next one back.
        if previous is not None:
            read_metrics(step - 1, previous)
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
