"""Fits the visual end of a graded code to the training clips, before a checkpoint is saved."""

import dataclasses

import jax
import numpy as np

from stvh_jax.config import Config
from stvh_jax.console import say
from stvh_jax.dataset import Dataset
from stvh_jax.models.build import Model, encode
from stvh_jax.models.compiling import jit
from stvh_jax.models.visual_end import COLLECTION, MODULE
from stvh_jax.training import visual_fitting


def fit_visual_end(config: Config, model: Model, variables: dict, dataset: Dataset) -> dict:
    """Fits what makes the visual bits to what the training clips show.

    Args:
      config: the whole config.
      model: the model.
      variables: its variables.
      dataset: its training split is read once, and that of clips without labels, if there is one.

    Returns:
      The variables with the fitted maps in the place of those that were there.
    """
    views, matches = [], []
    # Every process fits the same by itself: what belongs to all of them stays out of it.
    own = jax.device_get(variables)
    show = jit(lambda clips: encode(model, own, clips).shown)
    batch_size = config.train.evaluation_batch_size
    for split in filter(None, (config.data.train_split, config.data.get("unlabelled_split"))):
        for clips in dataset.evaluation_batches(split, batch_size=batch_size):
            valid = np.asarray(clips.clip_mask)
            views.append(np.asarray(show(clips.without_names()))[valid])
            matches.append(np.asarray(clips.match, np.str_)[valid])
    there = variables[COLLECTION][MODULE]
    say(f"fitting {config.model.visual_bits} visual bits to {sum(map(len, views))} clips")
    maps = visual_fitting.fit(
        np.concatenate(views),
        np.concatenate(matches),
        supervision=config.model.visual_supervision,
        bits=config.model.visual_bits,
        features=there["whitening"].shape[1],
        seed=config.seed,
    )
    fitted = {
        name: jax.make_array_from_process_local_data(there[name].sharding, values)
        for name, values in dataclasses.asdict(maps).items()
    }
    return {**variables, COLLECTION: {**variables[COLLECTION], MODULE: fitted}}
