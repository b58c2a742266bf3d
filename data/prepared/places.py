"""Where a prepared set stands, and what makes it; no TensorFlow."""

import pathlib
import re
from typing import Any

from data.variants import DATASETS, OWN_CONTENTS, OWN_NAME, Variant
from stvh_jax import files
from stvh_jax.config import Config
from stvh_jax.errors import UserError
from stvh_jax.fields import check_folder_name


def place_of(config: Config) -> tuple[pathlib.Path, str, str | None]:
    """Finds the folder of a variant, the command that makes it, and the choice of its labels.

    Args:
      config: the part `config.data` of a config.

    Raises:
      UserError: there is no such data set or variant.
    """
    own = pathlib.Path(config.dir, config.name)
    if config.name in DATASETS or not (own.is_dir() or config.name == OWN_NAME):
        variant = Variant.parse(config.name, config.variant)
        raw = f"--raw FOLDER_OF_THE_RAW_FILES --out {config.dir}{variant.flags}"
        prepare = f"python -m data prepare {variant.dataset} {raw}"
        folder = pathlib.Path(config.dir) / variant.dataset / variant.name
        return folder, prepare, variant.choices.get("labels")
    check_folder_name("config.data.name", config.name)
    if config.variant not in OWN_CONTENTS:
        raise UserError(
            f"data variant {config.variant!r} of {config.name} is not one of: "
            f"{', '.join(OWN_CONTENTS)}"
        )
    options = f"--video FILES --tracks FILES --labels FILE --out {config.dir}"
    options += OWN_CONTENTS[config.variant]
    prepare = f"python -m data import --name {config.name} {options}"
    return own / config.variant, prepare, None


def is_set(folder: pathlib.Path) -> bool:
    """Says whether a folder is named by a version and has a set."""
    numbered = re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", folder.name)
    return bool(numbered) and (folder / "dataset_info.json").exists()


def refuse_foreign_features(folder: pathlib.Path, cure: str) -> None:
    """Raises an error where TFDS would import a module that the files of a set name.

    Raises:
      ValueError: it would.
      Damaged: it has no readable description.
    """
    path = folder / "features.json"
    if not path.is_file():
        raise ValueError("it has no features.json")
    features: list[Any] = [files.read_json(path, "the features of a set", cure=cure)]
    while features:
        feature = features.pop()
        if isinstance(feature, dict):
            name = feature.get("pythonClassName", feature.get("python_class_name"))
            if name is not None and not str(name).startswith("tensorflow_datasets.core.features."):
                raise ValueError(f"its features.json asks for {name}")
            features += feature.values()
        elif isinstance(feature, list):
            features += feature
