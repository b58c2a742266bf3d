"""One run of an experiment: a config with some changes and a seed, trained and evaluated."""

import dataclasses
import functools
import json
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from experiments.settings import Setting
from stvh_jax.codes.packing import code_lengths
from stvh_jax.errors import UserError
from stvh_jax.fields import flatten
from stvh_jax.runs import folders
from stvh_jax.runs.checkpoints import choose_step

# What train.py's own name for a run says; runs with other changes stand in a folder of their own,
# where evaluate.py does not take them for the newest of a config.
_NAMED = ("model.name", "model.bits", "seed")
FOLDER = "experiments"
# What is read of an evaluation; one without it is of another version.
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


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A run, whether it is trained yet or not.

    Attributes:
      setting: the data and their config.
      changes: by field of the config, what differs from it.
      seed: the run's seed.
      bits: of nested codes, how many first bits are judged; None for all.
    """

    setting: Setting
    changes: Mapping[str, Any]
    seed: int
    bits: int | None = None

    @functools.cached_property
    def differences(self) -> dict[str, Any]:
        """The changes that are any, with the seed, by field in alphabetical order."""
        config = self.setting.build_config().copy_and_resolve_references()
        flat = flatten(config.to_dict())
        wanted = {**self.changes, "seed": self.seed}
        return {name: wanted[name] for name in sorted(wanted) if flat.get(name) != wanted[name]}

    @functools.cached_property
    def config(self) -> ConfigDict:
        """The whole config."""
        config = self.setting.build_config()
        for name, value in self.differences.items():
            *parents, field = name.split(".")
            part = functools.reduce(getattr, parents, config)
            with part.unlocked():
                part[field] = value
        return config

    @functools.cached_property
    def folder(self) -> pathlib.Path:
        """Where it is, or will be: where train.py would put it, if its name tells it apart."""
        named = pathlib.Path(folders.default_workdir(self.config))
        others = [
            f",{name.rpartition('.')[2]}={_text(value)}"
            for name, value in self.differences.items()
            if name not in _NAMED
        ]
        return named.parent / FOLDER / (named.name + "".join(others)) if others else named

    def train_command(self) -> list[str]:
        """The command that trains it, or goes on with it."""
        return [
            sys.executable,
            "train.py",
            f"--config=configs/{self.setting.config}.py",
            *(f"--config.{name}={value}" for name, value in self.differences.items()),
            f"--workdir={self.folder}",
        ]

    def evaluate_command(self) -> list[str]:
        """The command that judges it; what the filter matrix derives is not asked."""
        return [
            sys.executable,
            "evaluate.py",
            f"--workdir={self.folder}",
            f"--bits={self.length}",
            f"--checkpoint={self.setting.checkpoint}",
            f"--data_dir={self.config.data.dir}",
            "--filter_values=none",
        ]

    @property
    def length(self) -> int:
        """How many bits are judged."""
        return self.bits or code_lengths(self.config.model.bits)[-1]

    @property
    def is_trained(self) -> bool:
        """Whether it has finished."""
        return (self.folder / folders.FINISHED).exists()

    @property
    def is_begun(self) -> bool:
        """Whether training goes on with a checkpoint."""
        return any((self.folder / "checkpoints").glob("[0-9]*")) and not self.is_trained

    def check(self) -> None:
        """Checks that what stands in its folder is a run of this config.

        Raises:
          UserError: it is another.
        """
        if (self.folder / folders.CONFIG).exists():
            wanted = json.loads(self.config.to_json_best_effort())
            folder = folders.open_folder(self.folder)
            stored = folders.read_config(folder)
            folders.check(folder, stored, self.length, wanted)
            if stored["model"]["bits"] != wanted["model"]["bits"]:
                raise UserError(
                    f"{folder} holds codes of {stored['model']['bits']} bits, and "
                    f"{wanted['model']['bits']} are wanted; move it elsewhere"
                )

    def results(self) -> dict | None:
        """Reads its evaluation; None where there is none, or one of other clips or checkpoints."""
        data = self.config.data
        name = f"evaluation-{data.test_split.replace('+', '-')}"
        if self.length != code_lengths(self.config.model.bits)[-1]:
            name += f"-{self.length}_bits"
        try:
            checkpoint = choose_step(folders.open_folder(self.folder), self.setting.checkpoint)
            results = json.loads((self.folder / f"{name}.json").read_text())
            of_these_clips = results["data"] | {
                "base_split": data.train_split,
                "query_split": data.test_split,
                "exclude_within_frames": None,
            }
            fits = (
                results["data"] == of_these_clips
                and results["bits"] == self.length
                and (results["checkpoint"]["step"], results["checkpoint"]["kind"]) == checkpoint
                and results.keys() >= READ
            )
        except (OSError, ValueError, LookupError, TypeError, UserError):
            return None
        return results if fits and self.is_trained else None

    def seconds_left(self, *, is_trained: bool) -> float | None:
        """Guesses how long it takes yet to make its results; None if none was ever measured."""
        if is_trained or self.setting.seconds is None:
            return self.setting.evaluation_seconds
        return self.setting.seconds + self.setting.evaluation_seconds


def _text(value: Any) -> str:
    """Writes a value as part of a folder's name."""
    return "+".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
