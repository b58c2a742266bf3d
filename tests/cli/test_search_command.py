"""search.py: from a trained run to an index, and from clips to hits, as a user sees it."""

import csv
import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from etils import epath
from PIL import Image

from stvh_jax.codes.packing import hamming_distances
from stvh_jax.inference.encoder import load
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.indexing import index_split
from stvh_jax.runs import packed
from stvh_jax.training.trainer import train
from tests.helpers.fakes import FakeDataset, frames_config, frames_dataset, tiny_config

pytestmark = pytest.mark.slow

CLIP = ["--clip", "1/100"]
HAMMING = ["--rank", "hamming"]
ROOT = pathlib.Path(__file__).resolve().parents[2]


def nearest(encoded, focus, place, *, query_split="test"):
    """Finds the training clips nearest to a clip by its own codes, in order."""
    queries, base = encoded[query_split], encoded["train"]
    distances = hamming_distances(queries.codes[focus][place][None], base.codes[focus])[0]
    numbers = base.match.astype(int), base.clip.astype(int)
    order = np.lexsort((numbers[1], numbers[0], distances))
    return [(int(distances[row]), str(base.match[row]), str(base.clip[row])) for row in order]


def test_an_index_is_made_of_a_run(command, trained, tmp_path):
    shutil.copytree(trained(), tmp_path / "run")
    status, out, err = command("index", "--run", "run", "--split", "train", "--out", "index")
    assert (status, err) == (0, "")
    assert out == ("index: 48 clips, 32 bits each, the codes of focus 0, 1\n")
    status, out, _ = command(
        "index", "--run", "run", "--split", "train", "--out", "one", "--stored-foci", "1",
        "--fps", "10", "--filter-values", "01", "--filter-per-step",
        "--media", "videos/{match}.mp4",
    )  # fmt: skip
    assert status == 0
    assert out.endswith(" 16 bits each, the codes of focus 1; derived: 0\n")
    (matrix,) = (tmp_path / "run" / "filter_matrix").iterdir()
    index = Index.open("one")
    assert index.info.filter_matrix.facts["base_split"] == "train"
    assert matrix.name.endswith("-train-01-per_step-code.npz")
    assert set(np.unique(index.info.filter_matrix.factors)) <= {0, 1}
    _, (record,) = index.get([("2", 500)])
    clips = FakeDataset().clips["train"]
    assert record["activity"] == FakeDataset.activity_names[clips.activity[5]]
    assert (record["start"], record["stop"]) == (50.0, 50.1)
    assert (record["split"], record["media"]) == ("train", "videos/2.mp4")
    assert 0.25 <= record["confidence"] <= 1


def test_an_index_is_made_of_a_shared_run(command, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    packed.pack(trained(), tmp_path / "run.zip")
    status, _, err = command(
        "index", "--run", "run.zip", "--split", "test", "--out", "index", "--stored-foci", "1"
    )
    assert (status, err) == (0, "")
    status, out, _ = command("query", "--index", "index", "--clip", "2/500", "--k", "1")
    assert status == 0
    assert Index.open("index").info.origin["checkpoint"] == load(trained()).name


def test_own_codes_are_indexed(indexed, encoded):
    index, base = Index.open(indexed / "index"), encoded["train"]
    names = [(str(match), int(clip)) for match, clip in zip(base.match, base.clip)]
    stored, records = index.get(names)
    for focus in (0, 1):
        np.testing.assert_array_equal(stored[focus], base.codes[focus])
    assert [record["activity"] for record in records] == [
        FakeDataset.activity_names[label] for label in base.activity
    ]
    assert [record["predicted"] for record in records] == [
        FakeDataset.activity_names[label] for label in base.activity_scores.argmax(axis=1)
    ]


def test_a_killed_indexing_goes_on(indexed, encoded, tmp_path, monkeypatch):
    monkeypatch.setattr("stvh_jax.retrieval.indexing._CLIPS_AT_ONCE", 16)
    folder, encoder = tmp_path / "index", load(indexed / "run")

    class Killed(Exception):
        pass

    class Dataset(FakeDataset):
        read = 0

        def evaluation_batches(self, split, **options):
            for batch in super().evaluation_batches(split, **options):
                Dataset.read += options.get("frames", True)
                yield batch
                if Dataset.read == 3 and options.get("frames", True):
                    raise Killed

    with pytest.raises(Killed):
        index_split(indexed / "run", encoder, Dataset(), folder, split="train")
    assert len(Index.open(folder)) == 16
    index = index_split(indexed / "run", encoder, Dataset(), folder, split="train")
    # 48 clips are six batches of 8, of which two were kept and three had been read.
    assert Dataset.read == 3 + 4
    names = [
        (str(match), str(clip))
        for match, clip in zip(encoded["train"].match, encoded["train"].clip)
    ]
    np.testing.assert_array_equal(index.get(names)[0][1], encoded["train"].codes[1])
    again = index_split(indexed / "run", encoder, Dataset(), folder, split="train")
    assert (Dataset.read, len(again)) == (7, 48)


def test_a_clip_of_the_index_finds_others(command, indexed, encoded):
    place = 7
    match, clip = int(encoded["train"].match[place]), int(encoded["train"].clip[place])
    for focus, name in ((0, "visual"), (1, "activity")):
        status, out, err = command(
            "query", "--index", indexed / "index", "--clip", f"{match}/{clip}", "--focus", name,
            "--k", 5, "--json", *HAMMING,
        )  # fmt: skip
        assert (status, err) == (0, "")
        found = json.loads(out)
        wanted = nearest(encoded, focus, place, query_split="train")
        wanted = [one for one in wanted if one[1:] != (str(match), str(clip))]
        hits = found["hits"]
        assert [(hit["distance"], hit["match"], hit["clip"]) for hit in hits] == wanted[:5]
        assert [hit["rank"] for hit in hits] == [1, 2, 3, 4, 5]
        assert found["ties_at_k"] == sum(one[0] == wanted[4][0] for one in wanted)
        assert (found["clips"], found["bits"], found["focus"]) == (48, 16, name)
        for hit in hits:
            assert len(hit["agreeing_bits"]) == 16 - hit["distance"]
            assert hit["distances"][str(focus)] == hit["distance"]


def test_a_scale_names_the_focus(command, indexed):
    query = ["query", "--index", indexed / "index", *CLIP, *HAMMING, "--json"]
    for scale, focus in (("0", "0.0"), ("0.25", "0.25"), ("1", "1.0")):
        by_scale, by_focus = command(*query, "--scale", scale), command(*query, "--focus", focus)
        assert by_scale[0] == 0
        assert json.loads(by_scale[1]) == json.loads(by_focus[1]) | {"focus": float(focus)}
    status, out, _ = command(*query[:-1], "--scale", "0.5")
    assert status == 0 and out.startswith(
        "like 1/100 at focus 0.5: 10 of 48 clips, ranked by hamming\n"
    )


def test_one_code_is_indexed_and_searched_at_every_focus(command, graded):
    index = ["index", "--run", graded, "--split", "train", "--out", "index"]
    status, out, err = command(*index)
    assert (status, err) == (0, "")
    assert out == (
        "index: 48 clips, 24 bits each, one code for the foci 0 to 1, which weigh its bits\n"
    )
    assert command(*index, "--stored-foci", "1")[0] == 0
    opened = Index.open("index")
    assert opened.info.filter_matrix is None and "filter_matrix" not in opened.info.origin
    status, out, err = command(
        "query", "--index", "index", *CLIP, "--scale", "0.5", *HAMMING, "--json"
    )
    assert (status, err) == (0, "")
    for hit in json.loads(out)["hits"]:
        mean = np.mean([hit["distances"][focus] for focus in "01"])
        assert hit["distance"] == pytest.approx(mean)
    for flags, message in (
        (["--filter-values", "real"], "this model has one code for all foci, and no filter matrix"),
        (["--stored-foci", "0,1"], "stored foci [0, 1]; choose from [1], and include 1"),
    ):
        status, _, err = command(*index, *flags)
        assert status == 2 and err.startswith(f"error: {message}") and err.count("\n") == 1


def test_an_index_is_adapted_by_a_flag(command, graded, trained):
    index = ["index", "--run", graded, "--split", "train", "--out", "index"]
    status, out, err = command(*index, "--adapt")
    assert (status, err) == (0, "")
    assert out == (
        "index: 48 clips, 24 bits each, the visual ones adapted, one code for the foci 0 to 1, "
        "which weigh its bits\n"
    )
    number = Index.open("index").adaptation.number
    assert command(*index, "--adapt")[0] == 0
    assert Index.open("index").adaptation.number == number  # the same clips, the same fit
    status, out, err = command(
        "query", "--index", "index", *CLIP, "--scale", "0", *HAMMING, "--json"
    )
    assert (status, err) == (0, "")
    status, _, err = command(
        "index", "--run", trained(), "--split", "train", "--out", "other", "--adapt"
    )
    assert status == 2 and err.count("\n") == 1 and "has a code for each focus" in err


def test_features_of_whole_frames_are_for_models_that_take_them(command, graded):
    assert command("index", "--run", graded, "--split", "train", "--out", "index")[0] == 0
    np.save("boxes.npy", FakeDataset().clips["test"].boxes[0])
    np.save("features.npy", np.zeros((3, 5), np.float32))
    query = ["query", "--index", "index", "--appearance", "features.npy"]
    status, _, err = command(*query, "--clip", "1/100")
    assert (status, err) == (2, "error: --appearance is of the clip of --boxes FILE; give that\n")
    status, _, err = command(*query, "--boxes", "boxes.npy")
    assert status == 2 and err.count("\n") == 1
    assert "this model takes boxes, see config.model.source" in err


def test_a_clip_of_another_split_is_encoded(command, indexed, encoded, monkeypatch):
    # In the fake data the splits share their names; here the test split has its own.
    def other_names(config):
        dataset = FakeDataset()
        clips = dataset.clips["test"]
        matches = (clips.match.astype(int) + 10).astype(str)
        dataset.clips["test"] = dataclasses.replace(clips, match=matches)
        return dataset

    monkeypatch.setattr("data.prepared.pipeline.open_dataset", other_names)
    match, clip = int(encoded["test"].match[19]), int(encoded["test"].clip[19])
    status, out, err = command(
        "query", "--index", indexed / "index", "--clip", f"{match + 10}/{clip}", "--json", *HAMMING
    )
    assert (status, err) == (0, "")
    found = json.loads(out)
    hits = [(hit["distance"], hit["match"], hit["clip"]) for hit in found["hits"]]
    assert hits == nearest(encoded, 1, 19)[:10]
    assert found["query"][0]["split"] == "test"


def test_a_table_and_exports(command, indexed):
    for ending in ("csv", "json", "parquet"):
        status, out, err = command(
            "query", "--index", indexed / "index", "--clip", "1/100", "--where", "match = '2'",
            "--export", f"hits.{ending}", *HAMMING,
        )  # fmt: skip
        assert (status, err) == (0, "")
    assert out.startswith("like 1/100 at focus activity: 10 of 48 clips, ranked by hamming\n")
    assert "focus 0  focus 1" in out
    assert out.endswith("wrote hits.parquet\n")
    with open("hits.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["match"] for row in rows] == ["2"] * 10
    assert json.loads(pathlib.Path("hits.json").read_text())[0]["clip"] == rows[0]["clip"]


def test_what_is_near_the_query_is_left_out(command, indexed):
    """Clips are 100 frames apart, four seconds at 25 a second; those of a match, 12."""

    def matches_and_clips(*options):
        status, out, _ = command(
            "query", "--index", indexed / "index", "--clip", "1/1000", "--k", 48, "--json", *options
        )
        assert status == 0
        return {(int(hit["match"]), int(hit["clip"])) for hit in json.loads(out)["hits"]}

    everything = {(row % 3, 100 * row) for row in range(48)}
    assert matches_and_clips() == everything - {(1, 1000)}
    near = {(1, 1000), (1, 700), (1, 1300)}
    assert matches_and_clips("--exclude-near", "13") == everything - near
    own = {one for one in everything if one[0] == 1}
    assert matches_and_clips("--exclude-match") == everything - own
    several = matches_and_clips("--clip", "2/200", "--exclude-match")
    assert several == {one for one in everything if one[0] == 0}
    assert len(matches_and_clips("--radius", "16", "--k", "3")) == 3


def test_files_of_ones_own(command, indexed, encoded):
    place = 4
    clips = FakeDataset().clips["test"]
    present = clips.actor_mask[place]
    boxes = clips.boxes[place][:, present].astype(np.float64)
    np.save("boxes.npy", boxes)
    status, out, err = command(
        "query", "--index", indexed / "index", "--boxes", "boxes.npy", "--json", "--k", 4, *HAMMING
    )
    assert (status, err) == (0, "")
    hits = [(hit["distance"], hit["match"], hit["clip"]) for hit in json.loads(out)["hits"]]
    assert hits == nearest(encoded, 1, place)[:4]


def test_of_more_frames_it_is_said_which_are_searched_with(command, indexed, encoded):
    clips = FakeDataset().clips["test"]
    present = clips.actor_mask[2]
    wanted = clips.boxes[2][:, present].astype(np.float64)
    np.save("boxes.npy", np.concatenate([wanted, np.full((3, *wanted.shape[1:]), 0.5)]))
    query = ["query", "--index", indexed / "index", "--boxes", "boxes.npy", "--json", "--k", 4]
    status, _, err = command(*query)
    assert (status, err) == (0, "searching with frame 2 of 4; choose others with --start\n")
    status, out, err = command(*query, "--start", 1)
    assert (status, err) == (0, "searching with frame 1 of 4; choose others with --start\n")
    np.save("boxes.npy", wanted)
    assert json.loads(command(*query)[1])["hits"] == json.loads(out)["hits"]


def test_a_grid_of_key_frames(command, tmp_path, monkeypatch):
    dataset = frames_dataset()
    train(frames_config(), dataset, epath.Path(tmp_path / "run"))

    class WithPictures(type(dataset)):
        def key_frame_images(self, split, clips):
            by_name = {(m, c): f for m, c, f in zip(*(getattr(self.clips[split], n) for n in (
                "match", "clip", "frames")))}  # fmt: skip
            return {name: by_name[name][1] for name in clips}

    dataset.__class__ = WithPictures
    monkeypatch.setattr("data.prepared.pipeline.open_dataset", lambda config: dataset)
    status, _, err = command("index", "--run", "run", "--out", "index")
    assert (status, err) == (0, "")
    status, out, err = command(
        "query", "--index", "index", "--clip", "1/100", "--k", 3, "--grid", "hits.png",
        "--focus", "visual",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert out.endswith("wrote hits.png\n")
    with Image.open("hits.png") as image:
        assert image.width > 2 * image.height
    # The same clip as files: the frames, and its people as an array.
    pathlib.Path("frames").mkdir()
    for number, frame in enumerate(dataset.clips["train"].frames[1]):
        Image.fromarray(frame).save(f"frames/{number}.png")
    present = dataset.clips["train"].actor_mask[1]
    np.save("boxes.npy", dataset.clips["train"].boxes[1][:, present].astype(float))
    status, out, err = command(
        "query", "--index", "index", "--frames", "frames", "--boxes", "boxes.npy", "--json",
        "--k", 8, "--grid", "own.svg",
    )  # fmt: skip
    assert (status, err) == (0, "wrote own.svg\n")
    hits = {(hit["match"], hit["clip"]): hit["distance"] for hit in json.loads(out)["hits"]}
    assert hits["1", "100"] == 0
    assert pathlib.Path("own.svg").read_text().startswith("<?xml")
    status, _, err = command(
        "query", "--index", "index", "--clip", "1/100", "--exclude-match", "--grid", "x.gif"
    )
    assert (status, err) == (2, "error: x.gif cannot be written; its name must end in .png, .svg\n")


def test_clips_that_are_missing_are_added(indexed, encoded, tmp_path):
    folder, encoder = tmp_path / "index", load(indexed / "run")
    index = index_split(indexed / "run", encoder, FakeDataset(), folder, split="train")
    assert index.delete("clip IN ('600', '700', '800', '900', '1000', '2000')") == 6
    index = index_split(indexed / "run", encoder, FakeDataset(), folder, split="train")
    names = [
        (str(match), str(clip))
        for match, clip in zip(encoded["train"].match, encoded["train"].clip)
    ]
    np.testing.assert_array_equal(index.get(names)[0][0], encoded["train"].codes[0])


def test_the_model_is_that_of_the_index(command, indexed, trained, tmp_path):
    config = tiny_config()
    config.seed = 7
    train(config, FakeDataset(), epath.Path(tmp_path / "other"))
    np.save("boxes.npy", np.full((1, 2, 4), 0.5))
    for query in (["--boxes", "boxes.npy"], ["--clip", "9/9"]):
        status, _, err = command("query", "--index", indexed / "index", "--run", "other", *query)
        assert status == 2
        assert re.fullmatch(
            r"error: the index was made with checkpoint \S+, but this run has checkpoint \S+; .*\n",
            err,
        )


def test_a_run_that_was_moved(command, indexed, tmp_path):
    shutil.copytree(indexed, tmp_path / "there")
    shutil.copytree(indexed / "run", "run")
    index_split(epath.Path("run"), load("run"), FakeDataset(), "index", split="train")
    shutil.move("run", "elsewhere")
    assert command("query", "--index", "index", *CLIP)[0] == 0
    status, _, err = command("query", "--index", "index", "--clip", "9/9")
    assert status == 2
    assert re.fullmatch(r"error: \S*run, the run that made the index, is not there; .*\n", err)
    status, _, err = command("query", "--index", "index", "--clip", "9/9", "--run", "elsewhere")
    assert err.startswith("error: clip 9/9 is neither in the index nor in")


def test_an_index_of_codes_of_ones_own(command, indexed, encoded):
    """Without a word on where its codes come from."""
    index = Index.create("mine", bits=16, stored_foci=(0, 1))
    index.add(encoded["train"].codes, match=["m"] * 48, clip=range(48))
    status, out, _ = command("query", "--index", "mine", "--clip", "m/3", "--k", 2)
    assert status == 0
    status, _, err = command("query", "--index", "mine", "--clip", "1/100")
    assert (status, err) == (
        2, "error: the index does not say which model made its codes; give --run FOLDER\n",
    )  # fmt: skip
    run = indexed / "run"
    assert command("query", "--index", "mine", "--clip", "1/100", "--run", run)[0] == 0


def test_who_reads_no_further_is_no_mistake(indexed):
    program = f"{sys.executable} {ROOT / 'search.py'} query --index {indexed / 'index'}"
    done = subprocess.run(
        f"{program} --clip 1/100 --k 48 --json | head -1",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_codes_of_another_run_are_not_mixed_in(command, indexed, trained, tmp_path):
    shutil.copytree(trained(), tmp_path / "other")
    status, _, err = command("index", "--run", "other", "--out", indexed / "index")
    assert status == 2
    assert re.search(
        r"holds an index with run = '\S+/run', not '\S+/other'; give another place", err
    )
