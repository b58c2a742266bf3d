"""What a model starts as: a run that was trained before, on the same classes or on others.

With `config.train.start_from` the model is that of the run: the fields of `config.model` are taken
from it, but for those that the command line sets. All its layers are taken over but those that know
the classes, where these are others: they begin anew.
"""

import dataclasses
from collections.abc import Collection

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from stvh_jax import files
from stvh_jax.config import Config
from stvh_jax.dataset import Dataset
from stvh_jax.errors import UserError, shown
from stvh_jax.fields import frozen
from stvh_jax.mirror import has_pairs
from stvh_jax.models.build import build_model
from stvh_jax.models.config import ModelConfig
from stvh_jax.models.shapes import variable_shapes
from stvh_jax.models.weights.convert import digest
from stvh_jax.runs import checkpoints, folders, packed

# Fields of `config.model` by which no layer has another shape.
_WITHOUT_SHAPE = ("key_frame", "dropout", "dtype", "visual_supervision")
# In the path of the matrix N x N by which a layer relates people: of M-STVH and of STVH.
_AMONG_PEOPLE = {"group", "spatial"}


@dataclasses.dataclass(frozen=True)
class Start:
    """What a run starts with.

    Attributes:
      path: of the run that it starts from, as it was given.
      config: that run's.
      variables: that run's; None where the new run has begun, which has its own.
      origin: the step and the digest of the variables, for the new run's config.
    """

    path: str
    config: dict
    variables: dict | None
    origin: dict


def with_model_of_start(
    config: Config, *, given: Collection[str] = (), workdir: epath.PathLike | None = None
) -> Config:
    """Takes the model of the run that a config starts from into the config.

    Its number of frames is taken too, for the data as well. There is room for as many people as
    the run or the data has, whichever is more: empty places change nothing.

    Args:
      config: the whole config; returned as it is if it does not start from a run.
      given: the fields that the command line sets, as in "model.dropout"; these stay.
      workdir: the run's folder. If the run has begun there, its own model is taken.

    Raises:
      UserError: the run that is named cannot be read.
    """
    if not config.train.start_from:
        return config
    begun = _begun(config, None if workdir is None else folders.open_folder(workdir))
    model = (begun or _open(config.train.start_from)[2])["model"]
    kept = {name.split(".")[1] for name in given if name.startswith("model.")}
    config = config.copy_and_resolve_references()
    most = max(config.data.num_actors, model["num_actors"])
    with config.ignore_type():
        for name, value in {**ModelConfig.added(), **model}.items():
            if name not in kept:
                config.model[name] = ConfigDict(value) if name == "backbone" else frozen(value)
        config.model.num_actors = most
    for name in ("num_frames", "num_actors"):
        if f"data.{name}" in given:
            config.model[name] = config.data[name]
        config.data[name] = config.model[name]
    return config


def read_start(config: Config, workdir: epath.Path) -> Start | None:
    """Reads what a run starts with; None if that is nothing.

    Raises:
      UserError: there is no run that can be read.
    """
    path = config.train.start_from
    if not path:
        return None
    if begun := _begun(config, workdir):
        return Start(path, begun, None, begun.get("started_from", {}))
    run, step, source = _open(path)
    with files.reading(path, "a run of stvh_jax"):
        variables = checkpoints.load_variables(run, step)
    return Start(path, source, variables, {"step": step, "sha256": digest(variables)})


def _begun(config: Config, workdir: epath.Path | None) -> dict | None:
    """Reads the config of the run in a folder, if it has begun with the same start."""
    if workdir is None or not checkpoints.saved_steps(workdir):
        return None
    stored = folders.read_config(workdir)
    same = stored["train"].get("start_from", "") == config.train.start_from
    return stored if same else None


def _open(path: str) -> tuple[epath.Path, int, dict]:
    """Opens a run: its folder, the step of its best checkpoint, and its config."""
    with files.reading(path, "a run of stvh_jax"):
        run = packed.open_run(path)
        step, _ = checkpoints.choose_step(run, "best")
        return run, step, folders.read_checkpoint_config(run, step, source=path)


def fitting(start: Start, config: Config, dataset: Dataset) -> dict[str, np.ndarray]:
    """Finds which of a run's variables are taken over, by their paths in the tree.

    What relates people is enlarged for more of them, so that nothing changes for those there were.

    Raises:
      UserError: some do not fit; names the first field of `config.model` that differs.
    """
    expected = _shapes(config, dataset.activity_names, dataset.action_names)
    anew: set[str] = set()
    classes = {"activity_names": dataset.activity_names, "action_names": dataset.action_names}
    for kind, names in classes.items():
        if tuple(start.config[kind]) != tuple(names):
            more = _shapes(config, **(classes | {kind: (*names, "one more of them")}))
            anew |= {path for path, leaf in expected.items() if more[path].shape != leaf.shape}
    more_people = config.model.num_actors - start.config["model"]["num_actors"]
    found = {
        path: _enlarged(leaf, more_people) if _relates_people(path) else leaf
        for path, leaf in by_path(start.variables).items()
    }
    for path in sorted((expected.keys() | found.keys()) - anew):
        one, other = expected.get(path), found.get(path)
        if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
            raise UserError(f"config.train.start_from={start.path}: {_difference(start, config)}")
    return {path: leaf for path, leaf in found.items() if path in expected and path not in anew}


def _relates_people(path: str) -> bool:
    *places, name = path.split("/")
    return name == "graph_weight" and not _AMONG_PEOPLE.isdisjoint(places)


def _enlarged(weight: np.ndarray, more: int) -> np.ndarray:
    """Adds places to a square matrix that are related to themselves alone."""
    if more <= 0:
        return weight
    enlarged = np.eye(len(weight) + more, dtype=weight.dtype)
    enlarged[: len(weight), : len(weight)] = weight
    return enlarged


def _shapes(config: Config, activity_names, action_names) -> dict:
    model = build_model(config.model, activity_names=activity_names, action_names=action_names)
    return by_path(variable_shapes(model, config))


def by_path(tree) -> dict:
    """Lists the leaves of a tree by their paths."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def taken_over(variables: dict, chosen: dict) -> dict:
    """Puts what is taken over in the place of what a model would begin with."""

    def put(path, leaf):
        return chosen.get(jax.tree_util.keystr(path, simple=True, separator="/"), leaf)

    return jax.tree_util.tree_map_with_path(put, variables)


def _difference(start: Start, config: Config) -> str:
    theirs = {**ModelConfig.added(), **start.config["model"]}
    for name in ModelConfig.defaults():
        before, now = frozen(theirs.get(name)), frozen(config.model[name])
        if before != now and name not in _WITHOUT_SHAPE:
            return (
                f"its config.model.{name} is {shown(before)}, and here it is {shown(now)}; set "
                f"--config.model.{name}={before}"
            )
    return "its layers are not those of its config; start from another run"


def warning_of_sides(config: Config, dataset: Dataset) -> str:
    """Says what a model to which left and right are alike cannot learn; "" if there is nothing."""
    names = dataset.activity_names
    if not config.model.get("symmetric") or has_pairs(names):
        return ""
    return (
        f"{config.train.start_from} was trained with config.model.symmetric=True: a clip and its "
        "mirror image show it the same activity, unless two are named l_x and r_x"
    )
