"""The experiments on codes without labels, where training is replaced by what is there."""

import functools
import json
import types

import numpy as np
import pytest

from experiments import feature_clips
from experiments.paper import label_counts, label_free, label_free_views
from experiments.settings import SETTINGS
from experiments.study import Study
from stvh_jax.evaluation import few_labels, judging
from stvh_jax.evaluation.few_labels import Reading
from stvh_jax.inference.encoded_clips import at_every_focus, encode_split
from stvh_jax.inference.encoder import load
from tests.experiments.fake_commands import run
from tests.helpers.fakes import FakeDataset


def test_one_run_has_the_codes_of_every_length():
    study = Study.of(label_free, SETTINGS["vd_boxes"], (0, 1))
    nested, one_code, supervised = study.variants
    assert nested.changes["model.bits"] == (16, 32, 64, 128)
    assert [variant.options for variant in study.variants] == ["label_free", "label_free", ""]
    assert one_code.changes == {"model.objective": "graded"}
    assert [str(study.runs(variant)[1].folder) for variant in study.variants] == [
        "runs/vd_boxes_label_free-stvh-16+32+64+128-1",
        "runs/vd_boxes_label_free-mstvh-128-32_visual-1",
        "runs/vd_boxes-stvh-128-1",
    ]
    assert "--config=configs/vd_boxes.py:label_free" in study.runs(nested)[0].train_command()


def test_the_views_are_those_of_the_config():
    study = Study.of(label_free_views, SETTINGS["vd_boxes"], (0,))
    labels = [variant.label for variant in study.variants]
    assert labels[:2] == ["as configured", "without contrast of views"]
    assert {"without arrangements", "without tilt", "without mirrored clips"} < {*labels}
    assert "without another moment" not in labels  # of one frame there is no other
    assert labels[-4:] == [
        "with attributes of people",
        "attributes of people alone",
        "with masked people",
        "masked people alone",
    ]
    commands = {
        label: " ".join(run.train_command())
        for label, run in zip(labels, study.all_runs(), strict=True)
    }
    assert "--config.label_free" not in commands["as configured"]
    assert "--config.label_free.tilt=0.0" in commands["without tilt"]
    assert "--config.data.flip=False" in commands["without mirrored clips"]
    assert "--config.label_free.contrast=vicreg" in commands["contrast: vicreg"]
    alone = commands["masked people alone"]
    assert "--config.label_free.masked_people_weight=1.0" in alone
    assert "--config.label_free.contrast_weight=0.0" in alone
    of_tracks = Study.of(label_free_views, SETTINGS["cad_boxes"], (0,)).all_runs()[-1]
    assert "--config.label_free.next_frames=3" in of_tracks.train_command()
    both = Study.of(label_free, SETTINGS["vd_boxes"], (0,))
    assert study.all_runs()[0].folder == both.all_runs()[0].folder


def test_few_labels_are_learned_from_scratch_and_from_a_run_without_labels():
    study = Study.of(label_counts, SETTINGS["vd_boxes"], (0, 1))
    runs = study.all_runs()
    assert len(runs) == 2 * (1 + 2 * len(label_counts.LABELS))
    assert len({run.folder for run in runs}) == len(runs)
    first, of_one_seed = runs[0], runs[1 : len(runs) // 2]
    assert "--config=configs/vd_boxes.py:label_free" in first.train_command()
    for one in of_one_seed:
        assert "label_free" not in one.options and one.config.objective == "supervised"
        assert one.config.model.features == first.config.model.features
        assert one.config.train.start_from in ("", str(first.folder))
        assert one.folder.parent.name == "experiments"
    few = [one.config.data.labels_per_activity for one in of_one_seed]
    assert few == [1, 1, 5, 5, 10, 10, 50, 50, 0, 0]


@pytest.mark.parametrize("name", ["label_free", "label_free_views", "label_counts"])
def test_other_data_are_refused_in_one_line(name, folder, capsys):
    assert label_free.variants(SETTINGS["vd"]) == label_free_views.variants(SETTINGS["vd"]) == []
    assert run(name, "--data", "vd") == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"error: {name} trains without labels, and configs/vd.py has no option for that; use --data"
    )
    assert said.count("\n") == 1


def test_the_report_has_means_over_seeds_and_draws(monkeypatch):
    study = Study.of(label_free, SETTINGS["vd_boxes"], (0, 1))
    columns = dict.fromkeys(feature_clips.COLUMNS, 0.25)

    def judge_seed(study, place):
        curve = {
            count: Reading(accuracy=[0.5 + place, 0.6 + place], recall=[0.1]) for count in (1, None)
        }
        judged = {"label-free, real features": columns | {"hit@1": 0.7 + 0.1 * place}}
        boxes = {} if place else {"sorted boxes": columns}
        return judged | boxes, {"label-free, real features": {"linear": curve}}

    monkeypatch.setattr(label_free, "judge_seed", judge_seed)
    report = label_free.report(study)
    found, curve, others = report.tables
    assert found.rows[0][:3] == ["label-free, real features", "75.0 ± 7.1", "25.0 ± 0.0"]
    assert found.rows[1][:2] == ["sorted boxes", "25.0"]
    assert curve.header[3:] == ["1 per class", "all labels"]
    spread = np.std([50, 60, 150, 160], ddof=1)
    assert curve.rows[0][2:] == ["accuracy", *[f"105.0 ± {spread:.1f}"] * 2]
    assert curve.rows[-2] == ["supervised", "its classifier", "accuracy", "–", "–"]  # not there
    hits = {row[0]: row[-1] for row in others.rows}
    assert hits["label-free, real features (ours)"] == "75.0 ± 7.1"
    assert hits["GAFL-PAF, arXiv 2403.02753 (quoted)"] == "not known"
    (axes,) = report.figures[""].axes
    assert [line.get_xydata().tolist() for line in axes.get_lines()] == [[[1, 105]]]
    assert json.loads(json.dumps(report.values)) == report.values


@pytest.mark.slow
def test_runs_are_judged_as_evaluations_judge_them(trained, graded, monkeypatch):
    monkeypatch.setattr(feature_clips, "BITS", (8, 16))
    once = functools.partial(few_labels.label_curve, per_class=(5, None), draws=1)
    monkeypatch.setattr(few_labels, "label_curve", once)
    encoders = [load(trained(1)), load(graded), load(trained(1))]
    dataset = FakeDataset(appearance=(2, 7))
    study = types.SimpleNamespace(
        setting=types.SimpleNamespace(has_appearance=True),
        variants=range(3),
        runs=lambda variant: [variant],
        open=lambda place: (encoders[place], dataset),
    )
    judged, curves = label_free.judge_seed(study, 0)
    assert list(judged) == [
        "label-free, real features", "label-free, 8 bits", "label-free, 16 bits",
        "appearance of whole frames, less the mean of each match",
        "label-free, real features and appearance",
        "label-free, 128 bits, one code for all foci", "supervised, real features",
        "supervised, 16 bits", "sorted boxes, Euclidean distance",
        "sorted boxes, standardised, cosine",
    ]  # fmt: skip
    of_match = [
        clips.appearance.mean(axis=1) for clips in map(dataset.clips.get, ("test", "train"))
    ]
    for found, clips in zip(of_match, map(dataset.clips.get, ("test", "train"))):
        for match in np.unique(clips.match):
            found[clips.match == match] -= found[clips.match == match].mean(axis=0)
    queries, base = feature_clips.of_appearance(encoders[1], dataset)
    np.testing.assert_allclose(queries @ base.T, of_match[0] @ of_match[1].T, atol=2e-2)
    rows = {"supervised, 16 bits": 0, "label-free, 128 bits, one code for all foci": 1}
    for name, place in rows.items():
        encoder, dataset = encoders[place], FakeDataset()
        queries, base = (
            at_every_focus(encoder, encode_split(encoder, dataset, split))
            for split in ("test", "train")
        )
        measured = judging.measures(judging.rank(queries, base, base))[str(encoder.foci[-1])]
        for measure in ("hit@1", "hit@10", "precision@10", "map@10"):
            assert judged[name][measure] == pytest.approx(measured[f"activity_{measure}"])
    assert list(curves) == [
        "label-free, real features", "label-free, 16 bits", "sorted boxes, standardised, cosine",
    ]  # fmt: skip
    # The activity of these clips shows in their boxes.
    assert curves["sorted boxes, standardised, cosine"]["linear"][None].accuracy[0] > 0.5
    assert judged["sorted boxes, standardised, cosine"]["hit@1"] > 0.5
