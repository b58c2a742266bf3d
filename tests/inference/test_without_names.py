"""A model that learned without labels: it has codes, and names nothing, from encoding to hits."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest
from etils import epath

import stvh_jax
from stvh_jax.errors import UserError
from stvh_jax.evaluation import judging
from stvh_jax.evaluation.evaluate import evaluate
from stvh_jax.inference.encoded_clips import encode_split
from stvh_jax.retrieval import asking
from stvh_jax.retrieval.encoded_queries import files_query, moment_query
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.indexing import index_split
from stvh_jax.retrieval.queries import Query
from stvh_jax.retrieval.video_indexing import Archive, Cutting, Footage, index_video
from tests.helpers.fakes import ACTIVITIES, FakeDataset, Unlabelled
from tests.helpers.filmed import film, opened

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def encoder(label_free):
    return stvh_jax.load(label_free)


@pytest.fixture(scope="module")
def index(label_free, encoder, tmp_path_factory):
    """An index of the training clips, to be read only."""
    folder = epath.Path(tmp_path_factory.mktemp("nameless"))
    return index_split(label_free, encoder, FakeDataset(), folder / "index", split="train")


def test_it_names_nothing_but_its_codes_are_those_of_the_network(encoder):
    assert not encoder.names_activities
    assert encoder.activity_names == encoder.action_names == ()
    assert encoder.readout is None and encoder.code_format["readout"] is None
    assert repr(encoder).endswith("no activities)")
    clips = FakeDataset().clips["test"]
    encoding = encoder.encode(None, clips.boxes, clips.actor_mask)
    assert encoding.activity_probabilities is None and encoding.action_probabilities is None
    split = encode_split(encoder, FakeDataset(), "test")
    assert split.activity_scores is split.activity_scores_from_code is split.action_scores is None
    assert encoding.codes.keys() == split.codes.keys()
    for focus, codes in encoding.codes.items():
        np.testing.assert_array_equal(codes, split.codes[focus])
    np.testing.assert_array_equal(split.activity, clips.activity)


def test_a_run_before_there_was_a_choice_names_activities(graded):
    encoder = stvh_jax.load(graded)
    config = encoder.config.copy_and_resolve_references()
    with config.unlocked():
        del config.objective
    older = type(encoder)(config, encoder.variables, step=1, checkpoint="latest")
    assert older.names_activities and older.activity_names == ACTIVITIES


def test_an_index_has_no_predictions(index):
    assert index.info.readout is None
    table = index.clips()
    assert table["predicted"].null_count == table["confidence"].null_count == len(table) == 48
    labels = FakeDataset().clips["train"].activity
    given = dict(zip(table["clip"].to_pylist(), table["activity"].to_pylist()))
    assert given["500"] == ACTIVITIES[labels[5]]  # which the set has all the same


def test_a_clip_is_ranked_by_what_is_known_of_it(index, encoder):
    stored = Query(*index.get([("2", "500")]))
    assert asking.ask(index, stored).way == "hamming"
    clips = FakeDataset().clips["test"]
    encoded = files_query(index, encoder, None, clips.boxes[0], clips.actor_mask[0])
    assert encoded.records[0]["predicted"] is None
    asked = asking.ask(index, encoded)
    assert asked.way == "asymmetric: asymmetric"
    assert len(asking.search(index, asked, k=3)) == 3
    nothing = "learned without labels and knows no activities; "
    with pytest.raises(UserError, match=f"{nothing}rank by hamming or asymmetric$"):
        asking.ask(index, encoded, ranking="class")
    with pytest.raises(UserError, match=f"'l_set': the model of this index {nothing}ask by a clip"):
        asking.ask(index, activity="l_set")
    liked = asking.ask(index, liked=[("2", "500")], not_liked=[("0", "0")])
    assert len(asking.search(index, liked, k=3)) == 3


def test_videos_are_indexed_and_searched_without_names(label_free, encoder, tmp_path):
    video, tracks = opened(film(tmp_path, "game", 40))
    cutting = Cutting(every=0.2)
    archive = Archive(label_free, encoder, tmp_path / "index", cutting)
    footage = Footage(video, tracks, "game", keep=True)
    assert index_video(archive, footage, cutting).added == 8
    index = Index.open(tmp_path / "index")
    assert index.info.readout is None and set(index.clips()["predicted"].to_pylist()) == {None}
    query = moment_query(index, lambda: encoder, footage, 0.5)
    assert query.records[0]["predicted"] is None
    hits = asking.search(index, asking.ask(index, query), k=2)
    assert [hit.record["predicted"] for hit in hits] == [None, None]


def test_the_commands_say_what_it_does_not_know(label_free, monkeypatch, tmp_path, capsys):
    from data import open_dataset
    from stvh_jax.cli import search

    monkeypatch.setattr("data.prepared.pipeline.open_dataset", lambda config: FakeDataset())
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        status = search.main(open_dataset, list(arguments))
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    made = command("index", "--run", str(label_free), "--split", "train", "--out", "index")
    assert (made[0], made[2]) == (0, "")
    clip = ["query", "--index", "index", "--clip", "2/500"]
    status, out, err = command(*clip)
    assert (status, err) == (0, "") and "hamming" in out
    for options in (["--rank", "class"], ["--activity", "l_set"]):
        status, out, err = command(*clip, *options)
        assert (status, out) == (2, "")
        assert err.startswith("error: ") and err.count("\n") == 1
        assert "learned without labels and knows no activities" in err
    status, out, _ = command("query", "--index", "index", "--like", "2/500", "--k", "2")
    assert status == 0 and "1 liked, 0 not" in out


@pytest.fixture
def run(label_free, tmp_path):
    shutil.copytree(label_free, tmp_path / "run")
    return epath.Path(tmp_path / "run")


def test_an_evaluation_judges_what_is_found_and_nothing_that_is_named(encoder, run):
    evaluation = evaluate(encoder, FakeDataset(), run=run)
    results = evaluation.results
    accuracies = ("activity_accuracy", "activity_mpca", "action_accuracy", "confusion_matrix")
    assert [results[name] for name in accuracies] == [None] * 4
    assert results["objective"] == "label_free"
    assert results["activity_names"] == list(ACTIVITIES)
    queries, base, everything = evaluation.queries, evaluation.base, evaluation.everything
    expected = judging.measures(judging.rank(queries, base, everything))
    for focus, measures in expected.items():
        assert results["foci"][focus]["activity_map@10"] == measures["activity_map@10"]
        assert 0 < measures["activity_map@10"] < 1
    table = evaluation.table()
    assert "trained without labels: it names no activities, and has no accuracies" in table
    assert "activity accuracy" not in table and "mAP@10" in table
    written = evaluation.write(each_query=True)
    page = (run / "evaluation-test.html").read_text()
    assert "trained without labels" in page and "Confusion matrix" not in page
    assert not (run / "evaluation-test" / "confusion.png").exists()
    with np.load(written[-1], allow_pickle=False) as values:
        assert np.isnan(values["correct"]).all() and np.isfinite(values["ap@10"]).any()


def test_where_no_clip_has_a_label_matches_are_what_is_judged(encoder, run):
    evaluation = evaluate(encoder, Unlabelled(), run=run)
    for measures in evaluation.results["foci"].values():
        assert measures["activity_map@10"] is None and measures["actions_map"] is None
        assert 0 < measures["match_map@10"] < 1 and 0 <= measures["bit_balance"] <= 1
    for name in ("class_distances", "map_by_activity"):
        assert evaluation.results[name] is None
    assert "no query has a label that another clip has: judged by the match" in evaluation.table()
    evaluation.write()
    assert (run / "evaluation-test.html").exists()


def test_it_takes_a_set_of_any_classes(encoder, run):
    """Not one of which it was taught."""
    dataset = FakeDataset()
    dataset.activity_names = ("pass", *ACTIVITIES)
    for split, clips in dataset.clips.items():
        dataset.clips[split] = dataclasses.replace(clips, activity=clips.activity + 1)
    other = evaluate(encoder, dataset, run=run).results
    own = evaluate(encoder, FakeDataset(), run=run).results
    jax.tree.map(np.testing.assert_array_equal, other["foci"]["1"], own["foci"]["1"])
    assert other["map_by_activity"]["1"][0] is None
    assert other["map_by_activity"]["1"][1:] == own["map_by_activity"]["1"]
