"""Videos in an index: codes as by hand, nothing without a clip, resumed where it was killed."""

import copy
import pathlib
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from stvh_jax.errors import Damaged, UserError
from stvh_jax.inference.encoder import Encoder, load
from stvh_jax.models.build import build_model
from stvh_jax.models.shapes import example_clips
from stvh_jax.retrieval import kept_tracks, video_indexing
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.video_indexing import Archive, Cutting, Footage, index_video
from stvh_jax.video.frames import read_frames
from tests.helpers.fakes import ACTIONS, ACTIVITIES, frames_config
from tests.helpers.filmed import film, opened

ROOT = pathlib.Path(__file__).resolve().parents[2]
EVERY = Cutting(every=0.2)


@pytest.fixture(scope="module")
def encoder(trained):
    return load(trained())


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return {name: film(folder, name, seed=seed) for seed, name in enumerate(["a", "b"])}


@pytest.fixture
def archive(trained, encoder, tmp_path):
    return lambda cutting=EVERY, uri=tmp_path / "index": Archive(trained(), encoder, uri, cutting)


def add(archive, path, cutting=EVERY, **options):
    video, tracks = opened(path)
    return index_video(archive, Footage(video, tracks, path.stem, keep=True), cutting, **options)


def content(index):
    """Gives names, times and codes of all clips."""
    index = Index.open(index) if not isinstance(index, Index) else index
    table = index.clips()
    names = list(zip(table["match"].to_pylist(), table["clip"].to_pylist()))
    codes, records = index.get(names)
    # Another process may round otherwise.
    known = [{**each, "confidence": pytest.approx(each["confidence"], 1e-4)} for each in records]
    return known, {focus: each.tolist() for focus, each in codes.items()}


def test_codes_are_those_of_the_windows(archive, encoder, videos):
    done = add(archive(), videos["a"])
    assert (done.added, done.held, done.windows) == (20, 0, 20)
    video, tracks = opened(videos["a"])
    index = Index.open(archive().uri)
    assert index.info.origin["frames_per_second"] == 25 and index.info.origin["every"] == 0.2
    for number in (0, 7, 19):
        rows = tracks.frames == 5 * number  # by hand: one frame each fifth of a second
        encoding = encoder.encode(None, tracks.boxes[rows][None])
        codes, (record,) = index.get([("a", str(200 * number))])
        for focus, each in codes.items():
            np.testing.assert_array_equal(each, encoding.codes[focus])
        assert (record["start"], record["stop"]) == pytest.approx((number / 5, number / 5 + 0.04))
        label = encoding.activity_probabilities[0].argmax()
        assert record["predicted"] == encoder.activity_names[label]
        assert record["confidence"] == pytest.approx(encoding.activity_probabilities.max(), 1e-5)
        assert record["activity"] is None and record["split"] is None
        assert record["media"] == str(video.path)
    kept = kept_tracks.read(index.uri, "a", video)
    np.testing.assert_array_equal(kept.boxes, tracks.boxes)


def test_a_second_call_adds_nothing_and_a_new_video_is_added(archive, videos):
    add(archive(), videos["a"])
    before = content(archive().index)
    version = archive().index.version
    done = add(archive(), videos["a"])
    assert (done.added, done.held) == (0, 20) and done.summary(decoded=False).startswith("no new")
    assert Index.open(archive().uri).version == version
    done = add(archive(), videos["b"])
    assert done.added == 20 and "20 clips;" in done.summary(decoded=False)
    after = content(archive().index)
    assert after[0][:20] == before[0] and len(after[0]) == 40
    more = add(archive(), videos["a"], Cutting(every=0.1))  # those between are new
    assert (more.added, more.held) == (20, 20)


@pytest.mark.parametrize("batches", [1, 2])
def test_what_is_cut_short_is_resumed(archive, videos, monkeypatch, tmp_path, batches):
    monkeypatch.setattr(video_indexing, "_CLIPS_AT_ONCE", 1)
    add(archive(), videos["a"])
    real = video_indexing.clips

    def failing(*arguments, **options):
        for number, batch in enumerate(real(*arguments, **options)):
            if number == batches:
                raise Damaged("the disk is gone")
            yield batch

    other = tmp_path / "other"
    monkeypatch.setattr(video_indexing, "clips", failing)
    with pytest.raises(Damaged, match="the disk is gone"):
        add(archive(uri=other), videos["a"])
    assert len(Index.open(other)) == 8 * batches
    monkeypatch.setattr(video_indexing, "clips", real)
    done = add(archive(uri=other), videos["a"])
    assert (done.added, done.held) == (20 - 8 * batches, 8 * batches)
    assert content(other) == content(archive().index)


PROGRAM = """
import sys, time
from etils import epath
from stvh_jax.inference.encoder import load
from stvh_jax.retrieval import video_indexing as v
from tests.helpers.filmed import opened
import pathlib
run, video, out = map(pathlib.Path, sys.argv[1:])
v._CLIPS_AT_ONCE = 1
cutting = v.Cutting(every=0.2)
def progress(done, total):
    print(done, flush=True)
    time.sleep(60)
archive = v.Archive(epath.Path(run), load(run), out, cutting)
v.index_video(archive, v.Footage(*opened(video), video.stem, keep=True), cutting, progress=progress)
"""


def test_a_killed_indexing_is_resumed(archive, trained, videos, tmp_path):
    other = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(trained()), videos["a"], other],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "8\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert len(Index.open(other)) == 8
    done = add(archive(uri=other), videos["a"])
    assert (done.added, done.held) == (12, 8)
    add(archive(), videos["a"])
    assert content(other) == content(archive().index)


def test_windows_without_anybody_are_told(archive, tmp_path):
    path = film(tmp_path, "gap", nobody=range(10, 60))
    lines, seen = [], []
    done = add(archive(), path, report=lines.append, progress=lambda *each: seen.append(each))
    assert (done.added, done.windows) == (10, 20) and lines == ["windows without people: 10"]
    assert seen[-1] == (20, 20) and seen == sorted(seen)


@pytest.mark.parametrize(
    ("cutting", "message"),
    [
        (Cutting(start=5), "no 1 frames at 25 per second from 0:00:05.0 to 0:00:04.0"),
        (Cutting(start=2, stop=1), "from 0:00:02.0 to 0:00:01.0"),
        (Cutting(every=float("nan")), "every is nan; give a finite number"),
        (Cutting(every=0), "every is 0 seconds"),
        (Cutting(rate=0), "rate 0; give more than 0"),
        (Cutting(region=np.array([[0, 0], [0.01, 0], [0, 0.01]])),
         "has no clip: windows without people: 8"),
    ],
)  # fmt: skip
def test_nothing_is_made_without_a_clip(archive, videos, cutting, message, tmp_path):
    with pytest.raises(UserError, match=message):
        add(archive(cutting), videos["a"], cutting)
    assert not (tmp_path / "index").exists()


def test_a_match_is_one_video(archive, videos, tmp_path):
    add(archive(), videos["a"])
    other = film(tmp_path, "a", seed=5)
    kept = kept_tracks.path_of(archive().uri, "a").read_bytes()
    with pytest.raises(UserError, match="clips of a match a already, from .*a.mp4, which is still"):
        add(archive(), other)
    assert kept_tracks.path_of(archive().uri, "a").read_bytes() == kept
    assert len(archive().index) == 20
    roundabout = videos["a"].parent / ".." / videos["a"].parent.name / "a.mp4"
    assert add(archive(), roundabout).held == 20


def test_names_that_no_clip_can_have(archive, videos):
    video, tracks = opened(videos["a"])
    for name in ("a\nb", "\udcff", "x" * 201):
        with pytest.raises(UserError, match="no match can be called"):
            index_video(archive(), Footage(video, tracks, name), EVERY)
    assert archive().index is None


def test_an_index_has_one_model_and_one_rate(archive, encoder, videos, trained, tmp_path):
    add(archive(), videos["a"])
    with pytest.raises(UserError, match="25 frames per second, not 30; give --fps 25"):
        archive(Cutting(rate=30))
    variables = jax.tree.map(lambda leaf: leaf + 1, encoder.variables)
    other = Encoder(encoder.config, variables, step=1, checkpoint="best")
    with pytest.raises(UserError, match="holds codes of checkpoint"):
        Archive(trained(), other, tmp_path / "index", EVERY)


def test_models_of_what_is_in_no_video_are_refused(trained, encoder, tmp_path):
    other = copy.copy(encoder)
    other.config = copy.deepcopy(encoder.config)
    with other.config.unlocked():
        other.config.model.source = "boxes_and_appearance"
    with pytest.raises(UserError, match="takes boxes and appearance, which are not in a video"):
        Archive(trained(), other, tmp_path / "x", EVERY)


def test_frames_are_decoded_for_a_model_of_frames(trained, videos, tmp_path):
    config = frames_config(detailed_boxes=False, symmetric=False)
    with config.unlocked():
        config.activity_names, config.action_names = list(ACTIVITIES), list(ACTIONS)
    model = build_model(config.model, activity_names=ACTIVITIES, action_names=ACTIONS)
    made = jax.jit(lambda key: model.init(key, example_clips(config), train=False))
    encoder = Encoder(config, made(jax.random.key(0)), step=0, checkpoint="latest")
    archive, cutting = Archive(trained(), encoder, tmp_path / "frames", EVERY), Cutting(every=1)
    done = add(archive, videos["a"], cutting)
    assert done.added == 4
    video, tracks = opened(videos["a"])
    pictures = dict(read_frames(video, [50, 51], size=(24, 32)))
    boxes = np.stack([tracks.boxes[tracks.frames == number] for number in (50, 51)])
    encoding = encoder.encode(np.stack([pictures[50], pictures[51]]), boxes)
    codes, _ = archive.index.get([("a", "2000")])
    for focus, each in codes.items():
        np.testing.assert_array_equal(each, encoding.codes[focus])
