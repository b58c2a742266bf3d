"""What training changes from step to step."""

import flax.struct
import jax
import jax.numpy as jnp
import optax

from stvh_jax.clips import Clips, Leaf
from stvh_jax.models.build import Model


@flax.struct.dataclass
class TrainState:
    """The state of a training run.

    Attributes:
      step: number of finished steps.
      params: trained parameters.
      model_state: other variables of the model by collection (batch statistics), or empty.
      opt_state: the optimizer's.
      average: the moving average of the parameters, or None without one.
    """

    step: Leaf
    params: Leaf
    model_state: Leaf
    opt_state: Leaf
    average: Leaf = None

    @property
    def variables(self) -> dict:
        """What `model.apply` takes outside of training: with the average, where there is one."""
        params = self.params if self.average is None else self.average
        return {"params": params, **self.model_state}

    def beginning_with(self, variables: dict) -> "TrainState":
        """Replaces the variables before the first step; the average begins as the parameters do."""
        model_state = dict(variables)
        params = model_state.pop("params")
        average = None if self.average is None else jax.tree.map(jnp.copy, params)
        return TrainState(self.step, params, model_state, self.opt_state, average)

    def items(self) -> tuple[dict, dict]:
        """Gives what a checkpoint keeps: the variables, and what else resuming needs."""
        train = {"step": self.step, "opt_state": self.opt_state}
        return self.variables, train if self.average is None else {**train, "params": self.params}

    @classmethod
    def of_items(cls, variables: dict, train: dict) -> "TrainState":
        """Makes the state again of what `items` gave."""
        model_state = dict(variables)
        params, average = model_state.pop("params"), None
        if "params" in train:
            params, average = train["params"], params
        return cls(train["step"], params, model_state, train["opt_state"], average)


def create_state(
    key: jax.Array,
    model: Model,
    optimizer: optax.GradientTransformation,
    clips: Clips,
    *,
    averaged: bool = False,
) -> TrainState:
    """Initialises a run; `jit` it with the shardings that the state should have.

    With `averaged` it keeps a moving average of the parameters, which starts as they do.
    """
    variables = dict(model.init({"params": key}, clips, train=False))
    variables.pop("intermediates", None)
    params = variables.pop("params")
    average = jax.tree.map(jnp.copy, params) if averaged else None
    opt_state = optimizer.init(params)
    return TrainState(jnp.zeros((), jnp.int32), params, variables, opt_state, average)
