"""A study: the runs of an experiment with every seed, and what their evaluations measured."""

import dataclasses
import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.settings import Setting
from experiments.trained_run import TrainedRun
from stvh_jax.reporting.tables import Table

MISSING = "–"

# The measures of the activity by the names of the paper, read from an evaluation; in 0..1.
METRICS: dict[str, Callable[[Mapping], float | None]] = {
    "accuracy": lambda results: results["activity_accuracy"],
    "MPCA": lambda results: results["activity_mpca"],
    "action accuracy": lambda results: results["action_accuracy"],
    **{
        f"mAP@{k}": functools.partial(lambda k, results: activity(results)[f"activity_map@{k}"], k)
        for k in (5, 10, 20, 50)
    },
}


def activity(results: Mapping) -> Mapping:
    """Gives the measures of the last focus, which is that of the activity."""
    return results["foci"][str(max(map(int, results["foci"])))]


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row of an experiment: a form of the model.

    Attributes:
      label: the name of the row.
      changes: the values that differ from the setting's config, by field.
      bits: for nested codes, how many first bits are judged; None for all.
      paper: the paper's figures in percent, by metric.
      reason: why it cannot be run on these data; "" if it can.
    """

    label: str
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    bits: int | None = None
    paper: Mapping[str, float] = dataclasses.field(default_factory=dict)
    reason: str = ""


def mstvh_alone(setting: Setting) -> list[Variant]:
    """Gives the one row of an experiment on M-STVH without changes."""
    del setting
    return [Variant("M-STVH", {"model.name": "mstvh"})]


@dataclasses.dataclass(frozen=True)
class Study:
    """The variants of an experiment on the data of a setting, each with every seed."""

    setting: Setting
    variants: Sequence[Variant]
    seeds: Sequence[int]

    def runs(self, variant: Variant) -> list[TrainedRun]:
        """Gives the runs of a variant, one per seed; none if it cannot be run."""
        if variant.reason:
            return []
        return [
            TrainedRun(self.setting, variant.changes, seed, variant.bits) for seed in self.seeds
        ]

    def all_runs(self) -> list[TrainedRun]:
        """Gives the runs of all variants, those of one seed before those of the next."""
        by_variant = [self.runs(variant) for variant in self.variants if not variant.reason]
        return [run for of_one_seed in zip(*by_variant) for run in of_one_seed]

    def open(self, run: TrainedRun, variant: str = ""):
        """Opens the model of a run and its data, to make pictures.

        Args:
          run: a trained run.
          variant: the prepared variant of the data, if not the one that the run was trained on.

        Returns:
          The `stvh_jax.inference.encoder.Encoder` and the `data.prepared.pipeline.ClipDataset`.
        """
        from data.prepared.pipeline import open_dataset
        from stvh_jax.inference.encoder import load

        encoder = load(run.folder, checkpoint=self.setting.checkpoint, bits=run.bits)
        data = run.config.data.copy_and_resolve_references()
        with data.unlocked():
            data.variant = variant or data.variant
        return encoder, open_dataset(data)

    def evaluate(self, run: TrainedRun):
        """Evaluates a run again, because the codes of its clips are needed."""
        from stvh_jax.evaluation.evaluate import evaluate
        from stvh_jax.runs.folders import open_folder

        encoder, dataset = self.open(run)
        folder = open_folder(run.folder)
        return evaluate(encoder, dataset, run=folder, filter_options={"values": "none"})

    def results(self, variant: Variant) -> list[dict]:
        """Reads the evaluations of a variant, as far as they exist."""
        found = [run.results() for run in self.runs(variant)]
        return [results for results in found if results is not None]

    def percent(self, variant: Variant, metric: str) -> list[float]:
        """Gives a metric of `METRICS` in percent, one number per seed."""
        values = [METRICS[metric](results) for results in self.results(variant)]
        return [100 * value for value in values if value is not None]

    def cell(self, variant: Variant, metric: str) -> str:
        """Formats a metric as its mean and spread over the seeds."""
        return mean_and_spread(self.percent(variant, metric))

    def compare(self, heading: str, metrics: Sequence[str]) -> Table:
        """Makes a table with one row per variant: each metric, and the paper's figure beside it."""
        with_paper = [
            metric
            for metric in metrics
            if any(metric in variant.paper for variant in self.variants)
        ]
        header, rows = [heading], [[variant.label] for variant in self.variants]
        for metric in metrics:
            header.append(metric)
            for row, variant in zip(rows, self.variants):
                row.append(self.cell(variant, metric))
            if metric in with_paper:
                header.append("paper")
                for row, variant in zip(rows, self.variants):
                    quoted = variant.paper.get(metric)
                    row.append(MISSING if quoted is None else f"{quoted:.2f}")
        return Table(header, rows)

    def chart(self, metrics: Sequence[str]):
        """Draws what `compare` lists: one row per variant, one panel per metric."""
        from stvh_jax.reporting import plots

        panels = {
            metric: [(self.percent(one, metric), one.paper.get(metric)) for one in self.variants]
            for metric in metrics
        }
        return plots.comparison([variant.label for variant in self.variants], panels)


def mean_and_spread(values: Sequence[float]) -> str:
    """Formats numbers as their mean and standard deviation; a dash if there are none."""
    if not values:
        return MISSING
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"
