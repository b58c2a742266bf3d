"""What a backbone starts with: a file of ImageNet weights, or the backbone of an earlier run."""

from etils import epath

from stvh_jax.config import Config
from stvh_jax.errors import UserError
from stvh_jax.models.weights.convert import Weights, digest, read
from stvh_jax.runs import checkpoints, folders

# Where the variables of `visual.RoiFeatures`, and of the backbone in it, stand in a model's.
ROI_FEATURES = ("visual", "roi")
PLACE = (*ROI_FEATURES, "pool", "backbone")
# Options by which the same weights compute something else.
DEFINING_OPTIONS = ("normalisation", "count_padding", "din_compat")
# Where people get the weights: Keras's file, and torchvision's.
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_TORCH = "https://download.pytorch.org/models"
SOURCES = {
    "inception_v3": (
        f"{_KERAS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        f"{_TORCH}/inception_v3_google-0cc3c7bd.pth",
    ),
    "vgg16": (
        f"{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        f"{_TORCH}/vgg16-397923af.pth",
    ),
}


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
    weights = open_weights(path, config.model.backbone.name)
    origin = {"sha256": weights.sha256, "source": weights.source, "options": weights.options}
    return weights, origin


def open_weights(path: str, backbone: str) -> Weights:
    """Reads the weights that a backbone of this name starts with.

    Args:
      path: a file that `convert.read` knows, or the folder of a run.
      backbone: the name of the backbone.

    Raises:
      UserError: there is nothing at `path`, it cannot be read or is of another backbone.
    """
    run = folders.open_folder(path)
    if (run / folders.CONFIG).exists():
        weights = of_run(run)
    elif not run.exists() and backbone in SOURCES:
        keras, torch = SOURCES[backbone]
        raise UserError(
            f"config.train.backbone_weights={path} is neither a file nor the folder of a run; "
            f"download {keras} or {torch}, then run: python -m stvh_jax convert FILE "
            f"weights/{backbone}.safetensors (--config=configs/vd.py:small needs no weights)"
        )
    else:
        weights = read(path)
    if weights.backbone != backbone:
        raise UserError(
            f"{path} has weights of {weights.backbone}, but config.model.backbone.name is "
            f"{backbone}; make them the same"
        )
    return weights


def of_run(run: epath.Path) -> Weights:
    """Takes the backbone from the best checkpoint of a run.

    Raises:
      UserError: the run has no readable checkpoint, or no backbone.
    """
    step, _ = checkpoints.choose_step(run, "best")
    config = checkpoints.load_config(run, step)
    if config["model"]["source"] != "frames":
        source = config["model"]["source"]
        raise UserError(f"{run} has no backbone: its config.model.source is {source}, not frames")
    variables = take(checkpoints.load_variables(run, step))
    own = config["model"]["backbone"]
    return Weights(
        backbone=own["name"],
        options={
            **config.get("backbone_weights", {}).get("options", {}),
            **{option: own[option] for option in DEFINING_OPTIONS if option in own},
        },
        variables=variables,
        unused=(),
        sha256=digest(variables),
        source=f"{run.name}, step {step}",
        framework="stvh_jax",
    )


def take(variables: dict, place: tuple[str, ...] = PLACE) -> dict:
    """Picks the variables of a part of a model, by collection; of the backbone if not said."""
    taken = {}
    for collection, tree in variables.items():
        for name in place:
            tree = tree.get(name, {})
        if tree:
            taken[collection] = tree
    return taken


def put(variables: dict, backbone: dict) -> dict:
    """Puts a backbone's variables in the place of those in a model's; inverse of `take`."""

    def replace(tree, places, value):
        if not places:
            return value
        return {**tree, places[0]: replace(tree[places[0]], places[1:], value)}

    placed = {name: replace(variables[name], PLACE, tree) for name, tree in backbone.items()}
    return {**variables, **placed}
