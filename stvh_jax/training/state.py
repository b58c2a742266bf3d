"""What training changes from step to step."""

from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import optax

from stvh_jax.clips import Clips, Leaf
from stvh_jax.models.build import Model
from stvh_jax.models.outputs import Outputs

# The name of the readers among what is trained, and in checkpoints.
READERS = "readers"
# Of the key of an initial state, what the readers are drawn with.
_READERS_KEY = 2


@flax.struct.dataclass
class TrainState:
    """The state of a training run.

    Attributes:
      step: number of finished steps.
      params: trained parameters.
      model_state: other variables of the model by collection (batch statistics), or empty.
      opt_state: the optimizer's.
      average: the moving average of the parameters, or None without one.
      readers: parameters of the small networks that read codes in training, or None. The model does
        not have them.
    """

    step: Leaf
    params: Leaf
    model_state: Leaf
    opt_state: Leaf
    average: Leaf = None
    readers: Leaf = None

    @property
    def trained(self) -> dict:
        """What the optimizer changes: the parameters, and those of the readers beside them."""
        return _trained(self.params, self.readers)

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
        return TrainState(self.step, params, model_state, self.opt_state, average, self.readers)

    def items(self) -> tuple[dict, dict]:
        """Gives what a checkpoint keeps: the variables, and what else resuming needs."""
        train = {"step": self.step, "opt_state": self.opt_state}
        if self.average is not None:
            train["params"] = self.params
        if self.readers is not None:
            train[READERS] = self.readers
        return self.variables, train

    @classmethod
    def of_items(cls, variables: dict, train: dict) -> "TrainState":
        """Makes the state again of what `items` gave."""
        model_state = dict(variables)
        params, average = model_state.pop("params"), None
        if "params" in train:
            params, average = train["params"], params
        readers = train.get(READERS)
        return cls(train["step"], params, model_state, train["opt_state"], average, readers)


def create_state(
    key: jax.Array,
    model: Model,
    optimizer: optax.GradientTransformation,
    clips: Clips,
    *,
    averaged: bool = False,
    create_readers: Callable[[jax.Array, Outputs, Clips], dict | None] = lambda *_: None,
) -> TrainState:
    """Initialises a run; `jit` it with the shardings that the state should have.

    With `averaged` it keeps a moving average of the parameters, which starts as they do.
    `create_readers` is that of the objective.
    """
    outputs, variables = model.init_with_output({"params": key}, clips, train=False)
    variables = dict(variables)
    variables.pop("intermediates", None)
    params = variables.pop("params")
    average = jax.tree.map(jnp.copy, params) if averaged else None
    readers = create_readers(jax.random.fold_in(key, _READERS_KEY), outputs, clips)
    opt_state = optimizer.init(_trained(params, readers))
    return TrainState(jnp.zeros((), jnp.int32), params, variables, opt_state, average, readers)


def _trained(params: dict, readers: dict | None) -> dict:
    return params if readers is None else {**params, READERS: readers}
