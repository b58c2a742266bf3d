"""The evaluation of a run against counts by hand, and what it leaves behind."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from etils import epath

import stvh_jax
from stvh_jax.codes.filter_matrix import FilterMatrix, compression_ratio
from stvh_jax.evaluation import derived_codes
from stvh_jax.evaluation.evaluate import evaluate, without_nan
from stvh_jax.evaluation.metrics import rank_by_label, retrieval_metrics
from stvh_jax.evaluation.report import curves
from stvh_jax.training.trainer import train
from tests.helpers.fakes import ACTIONS, ACTIVITIES, FakeDataset, small_config


def test_curves_of_a_history():
    history = [
        {"step": 3, "train/loss": 2.0, "clips_per_second": 9.0},
        {"step": 6, "train/loss": 1.5},
    ]
    assert curves(history) == {"train/loss": [(3, 2.0), (6, 1.5)]}


def test_nothing_is_no_number_in_json():
    values = {"a": [float("nan"), 1.0], "b": {"c": float("nan")}, "d": np.float64("nan")}
    assert without_nan(values) == {"a": [None, 1.0], "b": {"c": None}, "d": None}


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    """An evaluation, its encoder, the run's folder and what was written into it."""
    run = epath.Path(tmp_path_factory.mktemp("evaluated") / "run")
    shutil.copytree(trained(), run)
    encoder = stvh_jax.load(run, checkpoint="latest")
    evaluation = evaluate(encoder, FakeDataset(), run=run)
    return evaluation, encoder, run, evaluation.write()


def test_each_query_is_written_where_asked(evaluated):
    evaluation, _, run, written = evaluated
    assert run / "evaluation-test-queries.npz" not in written
    path = evaluation.write(each_query=True)[-1]
    assert path == run / "evaluation-test-queries.npz"
    with np.load(path, allow_pickle=False) as values:
        assert len(values["match"]) == len(values["clip"]) == len(evaluation.queries)
        right, precision = np.nanmean(values["correct"]), np.nanmean(values["ap@10"])
    last = evaluation.results["foci"]["1"]
    np.testing.assert_allclose(right, evaluation.results["activity_accuracy"])
    np.testing.assert_allclose(precision, last["activity_map@10"])


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def test_results_are_json_with_the_keys_of_the_manual(evaluated):
    _, _, run, written = evaluated
    assert written[0] == run / "evaluation-test.json"
    results = json.loads(written[0].read_text(), parse_constant=refuse)
    assert results["run"] == "run"
    assert (results["model"], results["bits"], results["layers"]) == ("mstvh", 16, 1)
    assert results["checkpoint"] == {"step": 12, "kind": "latest"}
    assert results["data"] == {
        "name": "volleyball",
        "variant": "boxes_only",
        "labels": None,
        "still_boxes": False,
        "base_split": "train",
        "query_split": "test",
        "base_clips": 48,
        "query_clips": 23,
        "match_retrieval_clips": 90,
        "exclude_within_frames": None,
        "untracked_share": 1.0,
    }
    assert results["activity_names"] == list(ACTIVITIES)
    assert results["action_names"] == list(ACTIONS)
    assert np.sum(results["confusion_matrix"]) == 23
    assert sorted(results["foci"]) == ["0", "1"]
    for focus in results["foci"].values():
        for relevant in ("activity", "match"):
            for k in (5, 10, 20, 50):
                assert 0 < focus[f"{relevant}_map@{k}"] <= 1
        for k in (1, 5, 10):
            assert 0 < focus[f"actions_iou@{k}"] <= 1
        assert focus["activity_hit@1"] == pytest.approx(focus["activity_precision@1"])
        assert 0 <= focus["bit_balance"] <= 1
    for focus, by_activity in results["map_by_activity"].items():
        # The mean over the queries is that over the activities, weighed by their queries.
        queries = np.bincount(FakeDataset().clips["test"].activity, minlength=len(ACTIVITIES))
        known = [place for place, value in enumerate(by_activity) if value is not None]
        mean = np.average(np.array(by_activity)[known].astype(float), weights=queries[known])
        assert mean == pytest.approx(results["foci"][focus]["activity_map"])
    for focus, kinds in results["curves"].items():
        known = (FakeDataset().clips["train"].activity >= 0).sum()
        for relevant, size in (("activity", known), ("match", 89)):
            curve = kinds[relevant]
            # A query whose name is that of a clip in the base is not searched with itself.
            assert size - 1 <= curve["n"][-1] <= size
            assert curve["recall"][-1] == pytest.approx(1)
            at_10 = curve["precision"][curve["n"].index(10)]
            assert at_10 == pytest.approx(results["foci"][focus][f"{relevant}_precision@10"])


def test_derived_codes_are_judged_as_the_own_are(evaluated):
    evaluation, encoder, run, _ = evaluated
    results = json.loads((run / "evaluation-test.json").read_text())
    (saved,) = (run / "filter_matrix").iterdir()
    matrix = FilterMatrix.from_bytes(saved.read_bytes(), where="here")
    assert results["filter_matrix"] == {
        "values": "binary",
        "per_step": False,
        "normalise": "code",
        "storage_bits": 16 * 16,
        "digest": matrix.digest,
        "facts": matrix.facts,
    }
    assert matrix.facts["clips"] == 48
    assert matrix.facts["checkpoint"] == encoder.name
    assert list(results["derived"]) == ["0"]
    derived = results["derived"]["0"]
    assert set(derived) == set(results["foci"]["0"]) | {
        "bit_agreement_base", "bit_agreement_query",
    }  # fmt: skip
    bits = np.unpackbits(matrix.derive(evaluation.queries.codes[1], 0))
    own = np.unpackbits(evaluation.queries.codes[0])
    assert derived["bit_agreement_query"] == pytest.approx(np.mean(bits == own))
    codes = matrix.derive(evaluation.everything.codes[1], 0)
    assert derived["distinct_codes"] == len({code.tobytes() for code in codes})
    everything = [FakeDataset().clips[split] for split in FakeDataset.splits]
    labels = np.concatenate([part.match for part in everything]).astype(int)
    clips = np.concatenate([part.frame for part in everything])
    ids = np.stack([labels, clips, clips], axis=1)
    ranked = rank_by_label(codes, codes, labels, labels, query_ids=ids, base_ids=ids)
    expected = retrieval_metrics(ranked.groups)
    assert derived["match_map@10"] == expected["map@10"]


def test_storage_is_counted_by_hand():
    matrix = FilterMatrix(np.ones((1, 128, 128), int), 3)
    ways = derived_codes.storage(matrix, clips=3493)
    assert [(way["bits_a_clip"], way["matrix_bits"], way["bits"]) for way in ways] == [
        (384, 0, 1341312),
        (512, 0, 1788416),
        (128, 16384, 463488),
        (256, 16384, 910592),
    ]
    ratios = [way["compression_ratio"] for way in ways]
    assert ratios == pytest.approx([1, 4 / 3, 463488 / 1341312, 910592 / 1341312])
    assert ratios[2] == pytest.approx(compression_ratio(bits=128, layers=3, clips=3493))
    each_step = FilterMatrix(np.ones((3, 128, 128), int), 3, "real")
    assert derived_codes.storage(each_step, clips=1)[2]["matrix_bits"] == 3 * 16 * 128 * 128


def test_bits_agree_by_hand():
    one = np.array([[0b10110000, 0], [1, 2]], np.uint8)
    other = np.array([[0b10010001, 0], [1, 1]], np.uint8)
    assert derived_codes.bit_agreement(one, other) == (32 - 4) / 32
    assert derived_codes.bit_agreement(one, one) == 1


def test_other_filter_matrices_can_be_asked_for(evaluated):
    _, encoder, run, _ = evaluated
    options = {"values": "real", "normalise": "bit"}
    results = evaluate(encoder, FakeDataset(), run=run, filter_options=options).results
    assert (results["filter_matrix"] | options) == results["filter_matrix"]
    assert len(list((run / "filter_matrix").iterdir())) == 2


@pytest.mark.slow
def test_a_model_of_one_focus_has_no_filter_matrix(tmp_path):
    config = small_config(layers=1, bits=8, features=8, name="stvh")
    config.devices = 1
    run = epath.Path(tmp_path / "run")
    train(config, FakeDataset(), run)
    results = evaluate(stvh_jax.load(run), FakeDataset(), run=run).results
    assert not {"filter_matrix", "derived", "storage"} & set(results)
    assert not (run / "filter_matrix").exists()


def test_accuracies_are_those_of_the_encoder(evaluated):
    evaluation, encoder, _, _ = evaluated
    clips = FakeDataset().clips["test"]
    encoding = encoder.encode(None, clips.boxes, clips.actor_mask)
    right = encoding.activity_probabilities.argmax(axis=1) == clips.activity
    assert evaluation.results["activity_accuracy"] == pytest.approx(right.mean())
    actions = encoding.action_probabilities.argmax(axis=2)[clips.actor_mask]
    right = actions == clips.action[clips.actor_mask]
    assert evaluation.results["action_accuracy"] == pytest.approx(right.mean())


def test_map_of_a_focus_is_a_loop_over_random_orders_of_ties(evaluated):
    evaluation, encoder, _, _ = evaluated
    dataset, random = FakeDataset(), np.random.default_rng(0)

    def bits(split):
        clips = dataset.clips[split]
        return np.unpackbits(encoder.encode(None, clips.boxes, clips.actor_mask).codes[1], axis=1)

    queries, base = bits("test"), bits("train")
    labels = dataset.clips["train"].activity
    ids = list(zip(dataset.clips["train"].match, dataset.clips["train"].clip))
    means = []
    for _ in range(200):
        precisions = []
        for index, query in enumerate(queries):
            own = (dataset.clips["test"].match[index], dataset.clips["test"].clip[index])
            kept = [place for place in range(len(base)) if ids[place] != own]
            distance = (base[kept] != query).sum(axis=1) + random.uniform(0, 0.5, len(kept))
            found = labels[kept][np.argsort(distance)] == dataset.clips["test"].activity[index]
            ranks = np.flatnonzero(found[:10])
            at_hits = [(place + 1) / (rank + 1) for place, rank in enumerate(ranks)]
            precisions.append(sum(at_hits) / min(10, found.sum()))
        means.append(np.mean(precisions))
    error = 4 * np.std(means) / np.sqrt(len(means))
    assert evaluation.results["foci"]["1"]["activity_map@10"] == pytest.approx(
        np.mean(means), abs=error
    )


def test_other_splits_can_be_asked_for(evaluated):
    _, encoder, run, _ = evaluated
    evaluation = evaluate(
        encoder, FakeDataset(), run=run, query_split="validation+test", base_split="validation"
    )
    assert evaluation.results["data"]["query_clips"] == 42
    assert evaluation.results["data"]["base_clips"] == 19


def test_a_split_without_clips_is_said(evaluated):
    with pytest.raises(stvh_jax.UserError, match="^split 'tset' has no clips; choose from train, "):
        evaluate(evaluated[1], FakeDataset(), run=evaluated[2], query_split="tset")


def test_what_is_left_in_the_folder(evaluated):
    evaluation, _, _, written = evaluated
    assert [path.name for path in written] == [
        "evaluation-test.json",
        "evaluation-test",
        "evaluation-test.html",
    ]
    names = {path.name for path in written[1].iterdir()}
    assert names == {
        "confusion.png", "class_distances.png", "curves-activity.png", "curves-match.png",
        "derived.png", "foci.png", "training.png",
    }  # fmt: skip
    for path in written[1].iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
    page = written[2].read_text()
    assert "r_spike" in page
    assert f"{100 * evaluation.results['activity_accuracy']:.2f}" in evaluation.table()
    distances = np.array(evaluation.results["class_distances"])
    clips = FakeDataset().clips["test"]
    codes = np.unpackbits(evaluation.queries.codes[1], axis=1)
    apart = (codes[:, None] != codes[None]).sum(axis=-1)[clips.activity == 0][
        :, clips.activity == 3
    ]
    assert distances[0, 3] == pytest.approx(apart.mean())


def test_a_folder_that_cannot_be_written_is_said(evaluated, tmp_path):
    (tmp_path / "file").write_text("")
    elsewhere = dataclasses.replace(evaluated[0], run=epath.Path(tmp_path / "file"))
    with pytest.raises(stvh_jax.UserError, match=r"^cannot write .*/file \(Not a directory\)"):
        elsewhere.write()


def test_a_variant_that_leads_out_of_the_folder_is_refused(evaluated):
    with pytest.raises(stvh_jax.UserError, match=r"^the variant is '\.\./out'; it names a folder"):
        evaluate(evaluated[1], FakeDataset(), run=evaluated[2], variant="../out")


def test_a_data_set_of_other_classes_is_refused(evaluated):
    dataset = FakeDataset()
    dataset.activity_names = ("r_set", "l_set")
    with pytest.raises(
        stvh_jax.UserError, match="activity_names are r_set, r_spike, .*the data set r_set"
    ):
        evaluate(evaluated[1], dataset, run=evaluated[2])
