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
    """

    step: Leaf
    params: Leaf
    model_state: Leaf
    opt_state: Leaf

    @property
    def variables(self) -> dict:
        """What `model.apply` takes."""
        return {"params": self.params, **self.model_state}

    def items(self) -> tuple[dict, dict]:
        """Gives what a checkpoint keeps: the variables, and what else resuming needs."""
        return self.variables, {"step": self.step, "opt_state": self.opt_state}

    @classmethod
    def of_items(cls, variables: dict, train: dict) -> "TrainState":
        """Makes the state again of what `items` gave."""
        model_state = {name: tree for name, tree in variables.items() if name != "params"}
        return cls(train["step"], variables["params"], model_state, train["opt_state"])


def create_state(
    key: jax.Array,
    model: Model,
    optimizer: optax.GradientTransformation,
    clips: Clips,
) -> TrainState:
    """Initialises a run; `jit` it with the shardings that the state should have."""
    variables = dict(model.init({"params": key}, clips, train=False))
    variables.pop("intermediates", None)
    params = variables.pop("params")
    return TrainState(jnp.zeros((), jnp.int32), params, variables, optimizer.init(params))
