"""One run of an experiment: a config with changes and a seed, its commands and its results."""

import dataclasses
import functools
import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.settings import Setting
from stvh_jax import files
from stvh_jax.codes.packing import code_lengths
from stvh_jax.config import Config
from stvh_jax.errors import UserError
from stvh_jax.fields import flatten
from stvh_jax.runs import folders
from stvh_jax.runs.checkpoints import choose_step

# The fields in train.py's own name for a run. Runs with other changes are in a subfolder, where
# evaluate.py does not mistake them for the newest run of a config.
_NAMED = ("model.name", "model.bits", "model.objective", "model.visual_bits", "seed")
FOLDER = "experiments"
# The results that experiments read. An evaluation without one of them is of another version.
READ = {
    "activity_accuracy",
    "activity_accuracy_from_code",
    "activity_mpca",
    "action_accuracy",
    "activity_names",
    "class_distances",
    "confusion_matrix",
    "foci",
    "hardware",
    "layers",
}
EACH_QUERY_READ = ("match", "clip", "correct", "ap@10")


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A run, whether it is trained yet or not.

    Attributes:
      setting: the data and their config.
      changes: the values that differ from the config, by field.
      seed: the seed of the run.
      bits: for nested codes, how many first bits are judged; None for all.
      options: what follows the colon of the config's path; "" for nothing.
    """

    setting: Setting
    changes: Mapping[str, Any]
    seed: int
    bits: int | None = None
    options: str = ""

    @functools.cached_property
    def differences(self) -> dict[str, Any]:
        """The changes that really change the config, and the seed, sorted by field."""
        config = self.setting.build_config(self.options).copy_and_resolve_references()
        flat = flatten(config.to_dict())
        wanted = {**self.changes, "seed": self.seed}
        return {name: wanted[name] for name in sorted(wanted) if flat.get(name) != wanted[name]}

    @functools.cached_property
    def config(self) -> Config:
        """The whole config."""
        config = self.setting.build_config(self.options)
        for name, value in self.differences.items():
            *parents, field = name.split(".")
            part = functools.reduce(getattr, parents, config)
            with part.unlocked():
                part[field] = value
        return config

    @functools.cached_property
    def folder(self) -> pathlib.Path:
        """The folder of the run, the one of train.py if the name of that tells the run apart."""
        named = pathlib.Path(folders.default_workdir(self.config))
        others = [
            f",{name.rpartition('.')[2]}={_text(value)}"
            for name, value in self.differences.items()
            if name not in _NAMED
        ]
        return named.parent / FOLDER / (named.name + "".join(others)) if others else named

    def train_command(self) -> list[str]:
        """The command that trains the run, or continues to."""
        options = f":{self.options}" if self.options else ""
        return [
            sys.executable,
            "train.py",
            f"--config=configs/{self.setting.config}.py{options}",
            *(f"--config.{name}={value}" for name, value in self.differences.items()),
            f"--workdir={self.folder}",
        ]

    def evaluate_command(self) -> list[str]:
        """The command that evaluates the run and each query, without a filter matrix."""
        return [
            sys.executable,
            "evaluate.py",
            f"--workdir={self.folder}",
            f"--bits={self.length}",
            f"--checkpoint={self.setting.checkpoint}",
            f"--data_dir={self.config.data.dir}",
            "--filter_values=none",
            "--each_query=true",
        ]

    @property
    def length(self) -> int:
        """How many bits are judged."""
        return self.bits or code_lengths(self.config.model.bits)[-1]

    @property
    def is_trained(self) -> bool:
        """Whether training has finished."""
        return (self.folder / folders.FINISHED).exists()

    @property
    def is_begun(self) -> bool:
        """Whether training will continue from a checkpoint."""
        return any((self.folder / "checkpoints").glob("[0-9]*")) and not self.is_trained

    def check(self) -> None:
        """Checks that the run in the folder, if there is one, is of this config.

        Raises:
          UserError: it is of another.
        """
        if (self.folder / folders.CONFIG).exists():
            wanted = json.loads(self.config.to_json_best_effort())
            folder = folders.open_folder(self.folder)
            stored = folders.read_config(folder)
            folders.check(folder, stored, self.length, wanted)
            if stored["model"]["bits"] != wanted["model"]["bits"]:
                raise UserError(
                    f"{folder} holds codes of {stored['model']['bits']} bits, not "
                    f"{wanted['model']['bits']}; move it elsewhere"
                )

    def _evaluation(self, ending: str) -> pathlib.Path:
        """Gives the path of a file that evaluate.py writes."""
        name = f"evaluation-{self.config.data.test_split.replace('+', '-')}"
        if self.length != code_lengths(self.config.model.bits)[-1]:
            name += f"-{self.length}_bits"
        return self.folder / f"{name}{ending}"

    def each_query(self) -> dict[str, np.ndarray]:
        """Reads what each query reached: the arrays of `stvh_jax.evaluation.by_query`.

        Raises:
          Damaged: the file cannot be read.
        """
        path = self._evaluation("-queries.npz")
        with (
            files.reading(path, "the values of each query", "remove it and run this again"),
            np.load(path, allow_pickle=False) as arrays,
        ):
            return {name: arrays[name] for name in EACH_QUERY_READ}

    def results(self) -> dict | None:
        """Reads the evaluation; None if there is none, or one of other clips or checkpoints."""
        path = self._evaluation(".json")
        try:
            with files.reading(path, "an evaluation"):
                checkpoint = choose_step(folders.open_folder(self.folder), self.setting.checkpoint)
                results = files.read_json(path, "an evaluation")
                fits = (
                    self._fits(results)
                    and checkpoint == (results["checkpoint"]["step"], results["checkpoint"]["kind"])
                    and self._is_of_each_query(results)
                )
        except UserError:
            return None
        return results if fits and self.is_trained else None

    def _fits(self, results: dict) -> bool:
        """Says whether results are of these clips and bits, and have all that experiments read."""
        data = self.config.data
        of_these_clips = results["data"] | {
            "base_split": data.train_split,
            "query_split": data.test_split,
            "exclude_within_frames": None,
        }
        return (
            results["data"] == of_these_clips
            and results["bits"] == self.length
            and results.keys() >= READ
            and all(isinstance(focus, dict) for focus in results["foci"].values())
        )

    def _is_of_each_query(self, results: dict) -> bool:
        """Says whether the values of each query are of the evaluation that wrote these results."""
        accuracy, right = results["activity_accuracy"], self.each_query()["correct"]
        labelled = right[~np.isnan(right)]
        if accuracy is None or not len(labelled):
            return accuracy is None and not len(labelled)
        return bool(np.isclose(labelled.mean(), accuracy))

    def seconds_left(self, *, is_trained: bool) -> float | None:
        """Estimates how long it takes to make the results; None if that was never measured."""
        training, evaluation = self.setting.seconds, self.setting.evaluation_seconds
        if self.config.get("objective") == "label_free":
            training = self.setting.label_free_seconds
        if is_trained:
            return evaluation
        return None if training is None or evaluation is None else training + evaluation


def _text(value: Any) -> str:
    """Formats a value as part of the name of a folder; of a path, the last part."""
    if isinstance(value, str):
        return value.rpartition("/")[2]
    return "+".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
