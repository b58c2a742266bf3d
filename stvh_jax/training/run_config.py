"""What a run keeps of its config, for its checkpoints."""

import json

from stvh_jax.config import Config
from stvh_jax.dataset import Dataset
from stvh_jax.training.starting import Start


def make_run_config(
    config: Config, dataset: Dataset, origin: dict | None = None, start: Start | None = None
) -> dict:
    """Makes the `config` item of a checkpoint: all that a model is made of except its variables.

    That is the whole config, the names of the classes and, if the backbone started with weights,
    their `origin`: which weights they were and what they need of the backbone; and if the model
    started from a run, which checkpoint that was.
    """
    run_config = {
        **json.loads(config.to_json_best_effort()),
        "activity_names": list(dataset.activity_names),
        "action_names": list(dataset.action_names),
    }
    if origin:
        run_config["backbone_weights"] = origin
    if start:
        run_config["started_from"] = start.origin
    return run_config
