"""Features of whole frames: how their file is read, refused, prepared and given to a model."""

import hashlib
import json
import re
import zipfile

import ml_collections
import numpy as np
import pytest

from data.__main__ import main
from data.appearance import read_appearance
from data.prepared import pipeline
from data.variants import Variant
from stvh_jax.errors import Damaged, NotFound
from tests.data.test_corrected_labels import LABELS, SPLITS, VIDEOS, write_labels
from tests.helpers.volleyball_files import REAL, write_raw

FEATURES = REAL.parent / "volleyball_features"
# In an order of their own, with a clip that the data set does not have.
KEYS = [(4, 10), (1, 30), (1, 10), (7, 10), (1, 20)]
ROWS = np.random.default_rng(0).normal(size=(5, 3, 6)).astype(np.float32)


def write(path, features=ROWS, keys=KEYS, **arrays):
    """Writes a file of features; `arrays` replace or add to its own."""
    video, clip = np.array(keys).T
    np.savez_compressed(path, **{"features": features, "video": video, "clip": clip, **arrays})
    return path


@pytest.fixture
def root(tmp_path):
    """Three clips to train on and one to test."""
    return write_raw(tmp_path / "raw", VIDEOS, splits=SPLITS)


def command(root, path, *options, name="prepare"):
    arguments = [name, "volleyball", "--raw", str(root), "--boxes-only", "--features", str(path)]
    return [*arguments, *(["--out", str(root / "sets")] if name == "prepare" else []), *options]


def opened(folder, variant="boxes_and_appearance"):
    config = {"name": "volleyball", "variant": variant, "dir": str(folder)}
    config |= {"image_size": (9, 9), "num_frames": 1, "num_actors": 12, "still_boxes": False}
    return pipeline.open_dataset(ml_collections.ConfigDict(config))


def batch_of(dataset, split, **options):
    (batch,) = dataset.evaluation_batches(split, batch_size=dataset.num_clips(split), **options)
    return batch


def set_of(root, variant="boxes_and_appearance"):
    return root / "sets/volleyball" / variant / "3.0.0"


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("features", [ROWS, ROWS[:, 0], np.asfortranarray(ROWS)], ids=str)
def test_rows_are_found_by_their_names(tmp_path, features, kind):
    found = read_appearance(write(tmp_path / "a.npz", features.astype(kind), offset=np.arange(3)))
    assert found.shape == ((3, 6) if features.ndim == 3 else (1, 6))
    assert found.features.dtype == np.float16
    for row, (video, clip) in enumerate(KEYS):
        values = np.atleast_2d(features[row]).astype(np.float16)
        np.testing.assert_array_equal(found.of(str(video), str(clip)), values)
    assert found.has("1", "20") and not found.has("20", "1")


def test_names_may_be_texts(tmp_path):
    keys = [("cup final", "rally 3"), ("friendly", "1310")]
    found = read_appearance(write(tmp_path / "a.npz", ROWS[:2, 0], keys))
    np.testing.assert_array_equal(
        found.of("friendly", "1310"), ROWS[1:2, 0].astype(np.float16), strict=True
    )


def nan_at(row, value=np.nan):
    features = ROWS.copy()
    features[row, 1, 2] = value
    return features


def long_header(path):
    """Writes features whose header promises far more numbers than follow."""
    write(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    shape = b"(5, 3, 6), }" + b" " * 6
    members["features.npy"] = members["features.npy"].replace(shape, b"(50000, 3, 6), }  ")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def later_format(path):
    """Writes features in a format whose headers may be of any length."""
    with zipfile.ZipFile(path, "w") as archive, archive.open("features.npy", "w") as stream:
        np.lib.format.write_array(stream, ROWS, version=(2, 0))


def save_array(path):
    np.save(path.with_suffix(".npy"), ROWS)
    path.with_suffix(".npy").rename(path)


MISTAKES = {
    "no array": (lambda path: np.savez(path, features=ROWS), "it has no array video"),
    "NaN": (lambda path: write(path, nan_at(2)), "the features of video 1, clip 10 are not finite"),
    "infinite": (lambda path: write(path, nan_at(0, np.inf)), "of video 4, clip 10 are not finite"),
    "too large": (lambda path: write(path, nan_at(1, 1e5)), "of video 1, clip 30 are not finite, "),
    "doubled": (
        lambda path: write(path, keys=[*KEYS[:4], (4, 10)]), "video 4, clip 10 is there 2 times",
    ),
    "an object": (
        lambda path: write(path, ROWS.astype(object)), "features holds Python objects, not plain",
    ),
    "whole numbers": (
        lambda path: write(path, ROWS.astype(int)), r"are int64 \(5, 3, 6\); floats \[clips, ",
    ),
    "one axis": (lambda path: write(path, ROWS[:, 0, 0]), r"features are float32 \(5,\); floats "),
    "four axes": (lambda path: write(path, ROWS[None]), r"features are float32 \(1, 5, 3, 6\); "),
    "empty": (lambda path: write(path, ROWS[:0], KEYS[:0] or np.zeros((0, 2), int)), "is empty"),
    "no channels": (lambda path: write(path, ROWS[..., :0]), r"of shape \(5, 3, 0\) is empty"),
    "many channels": (
        lambda path: write(path, np.zeros((5, 1, 16385), np.float16)), "1024 frames of 16384 chan",
    ),
    "other lengths": (
        lambda path: write(path, ROWS[:4]), "4 rows of features, but 5 of video",
    ),
    "names in fractions": (
        lambda path: write(path, video=np.arange(5.0)), "have to be whole numbers or texts",
    ),
    "names in two axes": (
        lambda path: write(path, clip=np.zeros((5, 1), int)), r"one is int64 \(5, 1\)",
    ),
    "long names": (lambda path: write(path, clip=np.array(["x" * 201] * 5)), "one is <U201"),
    "a later format": (later_format, "features is not an array of numbers or texts"),
    "a long header": (long_header, "features is cut"),
    "no archive": (lambda path: path.write_bytes(b"features"), "File is not a zip file"),
    "an array alone": (save_array, "File is not a zip file"),
    "cut": (
        lambda path: path.write_bytes(write(path).read_bytes()[:-30]), "File is not a zip file",
    ),
    "flipped": (lambda path: flip(write(path)), "Bad CRC-32|invalid|Error -3|is cut|incorrect"),
    "nothing": (lambda path: path.write_bytes(b""), "File is not a zip file"),
}  # fmt: skip


def flip(path):
    content = bytearray(path.read_bytes())
    content[200] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize(("make", "reason"), MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_read_is_said_in_a_line(tmp_path, capsys, root, make, reason):
    path = tmp_path / "a.npz"
    make(path)
    with pytest.raises(Damaged, match=reason):
        read_appearance(path)
    assert main(command(root, path)) == 2
    printed = capsys.readouterr()
    start = f"error: {path} is not a .npz of features, video and clip ("
    assert printed.err.startswith(start) and printed.err.count("\n") == 1 and not printed.out
    assert printed.err.endswith("); write it as docs/data.md says, or fetch it again\n")
    assert not (root / "sets").exists()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(NotFound, match=f"^{re.escape(str(tmp_path))}/a.npz: no such file; "):
        read_appearance(tmp_path / "a.npz")


def test_features_take_the_place_of_frames(root, capsys):
    arguments = [part for part in command(root, write(root / "a.npz")) if part != "--boxes-only"]
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        "error: --features takes the place of frames; give --boxes-only with it\n"
    )


def test_a_set_has_the_features_of_its_clips(root, capsys):
    path = write(root / "a.npz")
    assert main(command(root, path)) == 0
    out = capsys.readouterr().out
    line = f"features of whole frames: {path}, 5 clips, 3 x 6 numbers each; 1 are of no clip of the"
    assert out.startswith(f"{line} set\n")
    dataset = opened(root / "sets")
    assert (dataset.appearance_channels, dataset.has_frames) == (6, False)
    rows = dict(zip(KEYS, ROWS.astype(np.float16)))
    for split, mirrored in (("train", False), ("train", True), ("test", False)):
        batch = batch_of(dataset, split, mirrored=mirrored)
        assert batch.appearance.dtype == np.float16
        for match, clip, found in zip(batch.match, batch.clip, batch.appearance):
            np.testing.assert_array_equal(found, rows[int(match), int(clip)])
    (batch,) = dataset.evaluation_batches("train", batch_size=5)
    assert not batch.appearance[~batch.clip_mask].any()
    first = next(dataset.training_batches("train", batch_size=2, seed=0, flip=True))
    assert first.appearance.shape == (2, 3, 6)


def test_a_set_says_where_its_features_are_from(root):
    path = write(root / "resnet.npz")
    assert main(command(root, path)) == 0
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    information = json.loads((set_of(root) / "dataset_info.json").read_text())
    assert information["configDescription"] == (
        f"Features of whole frames from resnet.npz (SHA-256 {digest}), float16 [3, 6] per clip: "
        "frames, channels."
    )
    sources = json.loads((set_of(root) / "sources.json").read_text())
    described = {"file": "resnet.npz", "shape": [3, 6], "sha256": digest}
    assert sources["appearance"] == described


def test_other_features_make_another_set(root, capsys):
    path = write(root / "a.npz")
    assert main(command(root, path)) == 0
    before = opened(root / "sets").content_digest
    assert main(command(root, path.rename(root / "renamed.npz"))) == 0
    assert "is already prepared" in capsys.readouterr().out
    write(path, nan_at(2, 7))
    assert main(command(root, path)) == 2
    cause = f"{path} is not the a.npz that its features are from; delete {set_of(root)}"
    assert cause in capsys.readouterr().err
    assert main([*command(root, path)[:-1], str(root / "others")]) == 0
    assert opened(root / "others").content_digest != before


def test_clips_without_features_are_refused_or_left_out(root, capsys):
    path = write(root / "a.npz", ROWS[:4], KEYS[:4])
    assert main(command(root, path)) == 2
    assert capsys.readouterr().err == (
        f"error: {path} has no features of 1 of 4 clips, first video 1, clip 20; compute these "
        "too, or give --allow-missing to prepare the rest\n"
    )
    assert main(command(root, path, "--allow-missing")) == 0
    assert "train: 2 clips, 4 actors, 100.0% without a track, 1 skipped" in capsys.readouterr().out
    assert sorted(batch_of(opened(root / "sets"), "train").clip) == ["10", "30"]


def test_the_check_names_clips_without_features(root, capsys):
    path = write(root / "a.npz")
    assert main(command(root, path, name="check")) == 0
    assert "3 x 6 numbers each" in capsys.readouterr().out
    write(path, ROWS[:4], KEYS[:4])
    assert main(command(root, path, name="check")) == 1
    problem = f"  {path} has no features of 1 of 3 clips, first video 1, clip 20\n"
    assert problem in capsys.readouterr().out


def test_corrected_labels_go_with_features(root):
    write_labels(root, LABELS)
    path = write(root / "a.npz")
    for options in ([], ["--labels", "corrected"]):
        assert main(command(root, path, *options)) == 0
    assert opened(root / "sets").num_clips("train") == 3
    corrected = opened(root / "sets", "boxes_and_appearance-corrected")
    assert (corrected.num_clips("train"), corrected.labels) == (2, "corrected")
    batch = batch_of(corrected, "train")
    row = KEYS.index((1, int(batch.clip[0])))
    np.testing.assert_array_equal(batch.appearance[0], ROWS[row].astype(np.float16))


def test_a_set_of_boxes_alone_has_no_appearance(root):
    assert main([*command(root, "")[:5], "--out", str(root / "sets")]) == 0
    dataset = opened(root / "sets", "boxes_only")
    assert dataset.appearance_channels is None
    assert batch_of(dataset, "train").appearance is None


def test_the_command_that_prepares_it_is_named(tmp_path):
    with pytest.raises(NotFound, match=r"run: .* --boxes-only --features FILE.npz$"):
        opened(tmp_path)
    flags = " --boxes-only --features FILE.npz --labels corrected"
    assert Variant.parse("volleyball", "boxes_and_appearance-corrected").flags == flags


@pytest.mark.slow
@pytest.mark.skipif(not FEATURES.exists(), reason="real features are not present")
def test_the_real_features_are_those_of_the_file(tmp_path, capsys):
    path = FEATURES / "resnet50_frame_mean.npz"
    arguments = ["prepare", "volleyball", "--raw", str(REAL), "--boxes-only", "--out"]
    assert main([*arguments, str(tmp_path), "--features", str(path)]) == 0
    assert "2048 numbers each\n" in capsys.readouterr().out
    dataset = opened(tmp_path)
    assert [dataset.num_clips(split) for split in dataset.splits] == [2152, 1341, 1337]
    with np.load(path) as arrays:
        names = zip(arrays["video"].tolist(), arrays["clip"].tolist())
        rows = dict(zip(names, arrays["features"]))
    for split in dataset.splits:
        batch = batch_of(dataset, split)
        assert batch.appearance.shape == (dataset.num_clips(split), 1, 2048)
        for place in range(0, len(batch.match), 100):
            row = rows[int(batch.match[place]), int(batch.clip[place])]
            np.testing.assert_array_equal(batch.appearance[place, 0], row)


def test_people_are_those_of_the_set_without_features(root):
    """The boxes and labels of a set do not depend on its features."""
    path = write(root / "a.npz")
    assert main(command(root, path)) == 0
    assert main([*command(root, "")[:5], "--out", str(root / "sets")]) == 0
    one, other = opened(root / "sets"), opened(root / "sets", "boxes_only")
    for name in ("boxes", "actor_mask", "action", "activity", "clip", "match", "frame"):
        batches = (batch_of(dataset, "train") for dataset in (one, other))
        np.testing.assert_array_equal(*(getattr(batch, name) for batch in batches))
