"""Adam and the paper's learning-rate schedules, from `config.optimizer`."""

import jax
import optax

from stvh_jax.errors import UserError


def learning_rate_schedule(config, *, steps_per_epoch: int, epochs: int) -> optax.Schedule:
    """Makes the learning rate as a function of the step.

    `piecewise` starts at `learning_rate` and goes to `rates[i]` after `boundaries_epochs[i]`
    epochs (no boundary: constant); `cosine` rises for `warmup_epochs`, then falls to zero.

    Raises:
      UserError: the warm-up is as long as the training.
    """
    if config.schedule == "cosine":
        if config.warmup_epochs >= epochs:
            raise UserError(
                f"config.optimizer.warmup_epochs={config.warmup_epochs} is not less than "
                f"config.train.epochs={epochs}; lower it"
            )
        return optax.warmup_cosine_decay_schedule(
            init_value=0.0,
            peak_value=config.learning_rate,
            warmup_steps=round(config.warmup_epochs * steps_per_epoch),
            decay_steps=epochs * steps_per_epoch,
        )
    rates = (config.learning_rate, *config.rates)
    boundaries = [epoch * steps_per_epoch for epoch in config.boundaries_epochs]
    return optax.join_schedules([optax.constant_schedule(rate) for rate in rates], boundaries)


def build_optimizer(
    config, *, steps_per_epoch: int, epochs: int, freeze_backbone: bool = False
) -> optax.GradientTransformation:
    """Builds Adam with decoupled weight decay on kernels and a bound on the gradient's norm.

    Zero `weight_decay` or `clip_norm` leaves that part out. A frozen backbone is left as it is and
    takes no memory.
    """
    schedule = learning_rate_schedule(config, steps_per_epoch=steps_per_epoch, epochs=epochs)
    parts = []
    if config.clip_norm:
        parts.append(optax.clip_by_global_norm(config.clip_norm))
    parts.append(optax.scale_by_adam())
    if config.weight_decay:
        parts.append(optax.add_decayed_weights(config.weight_decay, mask=decayed))
    parts.append(optax.scale_by_learning_rate(schedule))
    optimizer = optax.chain(*parts)
    if not freeze_backbone:
        return optimizer
    return optax.partition({"trained": optimizer, "frozen": optax.set_to_zero()}, frozen_or_trained)


def frozen_or_trained(params):
    """Labels the parameters of the backbone `frozen`, all others `trained`."""

    def label(path, _):
        return "frozen" if any(key.key == "backbone" for key in path) else "trained"

    return jax.tree.map_with_path(label, params)


def decayed(params):
    """Marks the kernels: biases, norms and the graph weights W keep their scale."""
    return jax.tree.map_with_path(lambda path, _: path[-1].key == "kernel", params)
