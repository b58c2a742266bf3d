"""The experiment on two sets of labels, against counts by hand."""

import types

import numpy as np
import pytest

from experiments import results
from experiments.paper import labels as subject
from experiments.settings import SETTINGS
from experiments.study import Study
from stvh_jax.evaluation.evaluate import evaluate
from stvh_jax.inference.encoder import load
from tests.experiments.fake_commands import run
from tests.helpers.fakes import FakeDataset, take


def test_each_labels_are_trained_on_in_a_run_of_their_own():
    study = Study.of(subject, SETTINGS["vd_boxes"], (0,))
    assert [(str(one.folder), one.config.data.variant) for one in study.all_runs()] == [
        ("runs/vd_boxes-stvh-128-0", "boxes_only"),
        (
            "runs/experiments/vd_boxes-stvh-128-0,variant=boxes_only-corrected",
            "boxes_only-corrected",
        ),
    ]
    assert [variant.label for variant in study.variants] == ["STVH, original", "STVH, corrected"]


def test_other_data_have_one_set_of_labels(folder, capsys):
    assert subject.variants(SETTINGS["demo"]) == []
    assert run("labels", "--data", "cad_boxes") == 2
    assert capsys.readouterr().err == (
        "error: labels compares two sets of labels, and cad_boxes has one; "
        "use --data vd_boxes or vd_features or vd\n"
    )


def corrected_dataset():
    """A data set with the third test clip removed, and the activity of the first two changed."""
    dataset = FakeDataset()
    test = take(dataset.clips["test"], np.delete(np.arange(23), 2))
    test.activity[:2] = (test.activity[:2] + 1) % 4
    dataset.clips["test"] = test
    return dataset


@pytest.mark.slow
def test_a_run_is_judged_by_both(trained):
    encoder = load(trained())
    datasets = {"boxes_only": FakeDataset(), "boxes_only-corrected": corrected_dataset()}
    study = types.SimpleNamespace(open=lambda run, variant: (encoder, datasets[variant]))
    prepared = {"original": "boxes_only", "corrected": "boxes_only-corrected"}
    judged = subject.judge(study, types.SimpleNamespace(config=encoder.config), prepared)
    for labels, variant in prepared.items():
        evaluation = evaluate(
            encoder, datasets[variant], run=trained(), filter_options={"values": "none"}
        )
        measured = evaluation.results
        assert judged[f"accuracy, {labels}"] == pytest.approx(100 * measured["activity_accuracy"])
        last = measured["foci"]["1"]["activity_map@10"]
        assert judged[f"mAP@10, {labels}"] == pytest.approx(100 * last)
        # Clips 3 to 22 have the same activity in both; the first are two or three others.
        queries = evaluation.queries
        right = queries.activity_scores.argmax(axis=1)[-20:] == queries.activity[-20:]
        assert judged["accuracy where both agree"] == pytest.approx(100 * right.mean())
    assert judged["clips where both agree"] == 20
    assert (judged["clips, original"], judged["clips, corrected"]) == (23, 22)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([{"name": "volleyball", "labels": "corrected"}], ", corrected labels"),
        ([{"name": "volleyball", "labels": "original"}] * 2, ", original labels"),
        ([{"name": "volleyball"}], ", original labels"),
        ([{"labels": "original"}, {"labels": "corrected"}], ", original and corrected labels"),
        ([{"name": "collective_activity", "labels": None}], ""),
        ([{}], ""),
    ],
)
def test_the_line_under_a_table_says_which_labels(data, said):
    assert results._labels([{"data": one} for one in data]) == said
