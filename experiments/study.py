"""A study: the runs of an experiment with every seed, and what their evaluations measured."""

import dataclasses
import functools
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from experiments.differences import Difference, query_interval
from experiments.settings import Setting
from experiments.trained_run import TrainedRun
from stvh_jax.reporting.tables import Table

MISSING = "–"
# The name of a mAP whose sum of precisions is divided by the hits among the k, not by min(k, R).
OVER_HITS = " over hits"

# The measures of the activity by the names of the paper, read from an evaluation; in 0..1.
METRICS: dict[str, Callable[[Mapping], float | None]] = {
    "accuracy": lambda results: results["activity_accuracy"],
    "MPCA": lambda results: results["activity_mpca"],
    "action accuracy": lambda results: results["action_accuracy"],
    **{
        f"mAP@{k}{words}": functools.partial(
            lambda name, results: activity(results).get(name), f"activity_map@{k}{suffix}"
        )
        for k in (5, 10, 20, 50)
        for words, suffix in (("", ""), (OVER_HITS, "/over_hits"))
    },
    # Of the full ranking.
    "mAP": lambda results: activity(results).get("activity_map"),
    "precision within 2 bits": (
        lambda results: activity(results).get("activity_precision_hamming_radius_2")
    ),
}


# The name of each metric among the values of each query.
EACH_QUERY = {"accuracy": "correct", "mAP@10": "ap@10"}


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
      options: what follows the colon of the config's path, such as a backbone.
    """

    label: str
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    bits: int | None = None
    paper: Mapping[str, float] = dataclasses.field(default_factory=dict)
    reason: str = ""
    options: str = ""


def _printed(variant: Variant) -> Variant:
    """Gives a row with a code for each focus, unless it says otherwise."""
    changes = {"model.objective": "printed", **variant.changes}
    return dataclasses.replace(variant, changes=changes)


def mstvh_alone(setting: Setting) -> list[Variant]:
    """Gives the one row of an experiment on M-STVH without changes."""
    del setting
    return [Variant("M-STVH", {"model.name": "mstvh"})]


@dataclasses.dataclass(frozen=True)
class Study:
    """The variants of an experiment on the data of a setting, each with every seed.

    Attributes:
      setting: the data and their config.
      variants: the rows.
      seeds: the seeds.
      quoted: the data set that the paper's figures are of; "" if they are not of these data, and
        then none stands beside ours.
    """

    setting: Setting
    variants: Sequence[Variant]
    seeds: Sequence[int]
    quoted: str = ""

    @classmethod
    def of(cls, module: ModuleType, setting: Setting, seeds: Sequence[int], **more: Any) -> "Study":
        """Makes the study of an experiment's module.

        The paper's Table 4, for example, is of Collective Activity, whatever data it is run on.
        """
        of_paper = getattr(module, "DATASET", setting.dataset)
        quoted = "" if setting.is_rendered or of_paper != setting.dataset else of_paper
        variants = module.variants(setting)
        if setting.build_config().model.objective != "printed":
            # The paper's tables are of its own form, a code for each focus.
            variants = [_printed(variant) for variant in variants]
        return cls(setting, variants, seeds, quoted, **more)

    def runs(self, variant: Variant) -> list[TrainedRun]:
        """Gives the runs of a variant, one per seed; none if it cannot be run."""
        if variant.reason:
            return []
        return [
            TrainedRun(self.setting, variant.changes, seed, variant.bits, variant.options)
            for seed in self.seeds
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
        """Reads the evaluations of a variant, as far as they exist, each with its run's folder."""
        found = [(run, run.results()) for run in self.runs(variant)]
        return [
            {**results, "seed": run.seed, "folder": str(run.folder)}
            for run, results in found
            if results is not None
        ]

    def rows_no_more_asked_for(self) -> list[dict]:
        """Gives what a JSON keeps of rows that are not among the variants any more."""
        return []

    def config(self) -> dict[str, Any]:
        """Gives the config of the setting, as plain values."""
        return json.loads(self.setting.build_config().to_json_best_effort())

    def each_query(self, variant: Variant) -> list[dict]:
        """Reads what each query reached, see `stvh_jax.evaluation.by_query`, one per seed."""
        return [run.each_query() for run in self.runs(variant) if run.results() is not None]

    def difference(self, more: Variant, less: Variant, metric: str) -> Difference:
        """Compares two variants by a metric that is kept for each query, see `EACH_QUERY`."""
        by_seed = [
            {one["seed"]: 100 * METRICS[metric](one) for one in self.results(variant)}
            for variant in (more, less)
        ]
        common = sorted(by_seed[0].keys() & by_seed[1].keys())
        differences = [by_seed[0][seed] - by_seed[1][seed] for seed in common]
        interval = self._query_interval(more, less, metric) if common else None
        figures = [variant.paper.get(metric) for variant in (more, less)]
        paper = None if None in figures else figures[0] - figures[1]
        return Difference(more.label, less.label, metric, differences, paper, interval)

    def _query_interval(self, more: Variant, less: Variant, metric: str):
        each = [self.each_query(variant) for variant in (more, less)]
        return query_interval(*each, EACH_QUERY[metric])

    def differences(self, pairs: Sequence[tuple[Variant, Variant]]) -> list[Difference]:
        """Compares pairs of variants by every metric of `EACH_QUERY`."""
        return [
            self.difference(more, less, metric) for more, less in pairs for metric in EACH_QUERY
        ]

    def percent(self, variant: Variant, metric: str) -> list[float]:
        """Gives a metric of `METRICS` in percent, one number per seed."""
        values = [METRICS[metric](results) for results in self.results(variant)]
        return [100 * value for value in values if value is not None]

    def cell(self, variant: Variant, metric: str) -> str:
        """Formats a metric as its mean and spread over the seeds."""
        return mean_and_spread(self.percent(variant, metric))

    def compare(self, heading: str, metrics: Sequence[str]) -> Table:
        """Makes a table with one row per variant.

        Each metric has a column, a mAP a second one over hits, and then the paper's figure follows.
        """
        header, rows = [heading], [[variant.label] for variant in self.variants]

        def add(name: str, cells: Sequence[str]) -> None:
            header.append(name)
            for row, cell in zip(rows, cells):
                row.append(cell)

        for metric in metrics:
            over_hits = [metric + OVER_HITS] if metric + OVER_HITS in METRICS else []
            for name in (metric, *over_hits):
                add(name, [self.cell(variant, name) for variant in self.variants])
            quoted = [self.quote(variant).get(metric) for variant in self.variants]
            if any(figure is not None for figure in quoted):
                name = f"paper, {self.quoted.upper()}"
                add(name, [MISSING if one is None else f"{one:.2f}" for one in quoted])
        return Table(header, rows)

    def quote(self, variant: Variant) -> Mapping[str, float]:
        """Gives the paper's figures of a variant, none if they are of other data."""
        return variant.paper if self.quoted else {}

    def chart(self, metrics: Sequence[str]):
        """Draws what `compare` lists: one row per variant, one panel per metric."""
        from stvh_jax.reporting import plots

        panels = {
            metric: [
                (self.percent(one, metric), self.quote(one).get(metric)) for one in self.variants
            ]
            for metric in metrics
        }
        return plots.comparison([variant.label for variant in self.variants], panels)


@dataclasses.dataclass(frozen=True)
class StoredStudy(Study):
    """A study whose results were stored, as far as its JSON keeps them; nothing is read from runs.

    Attributes:
      stored: the content of the JSON.
    """

    stored: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def results(self, variant: Variant) -> list[dict]:
        """Gives what the JSON keeps of the evaluations of a variant; none if it has no such row."""
        for row in self.stored["runs"]:
            if _is_of(row, variant):
                return row["seeds"]
        return []

    def rows_no_more_asked_for(self) -> list[dict]:
        """Gives the rows of the JSON that are not among the variants."""
        return [
            row
            for row in self.stored["runs"]
            if not any(_is_of(row, variant) for variant in self.variants)
        ]

    def config(self) -> dict[str, Any]:
        """Gives the config that the results were made with."""
        return self.stored["config"]

    def _query_interval(self, more: Variant, less: Variant, metric: str):
        wanted = more.label, less.label, metric
        for one in self.stored.get("differences", []):
            if (one["more"], one["less"], one["metric"]) == wanted:
                return one["interval"]
        return None


def _is_of(row: Mapping, variant: Variant) -> bool:
    """Says whether a row of a JSON is this variant."""
    changes, bits = json.loads(json.dumps([variant.changes, variant.bits]))
    return (row["changes"], row["bits"]) == (changes, bits)


def mean_and_spread(values: Sequence[float]) -> str:
    """Formats numbers as their mean and standard deviation; a dash if there are none."""
    if not values:
        return MISSING
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"
