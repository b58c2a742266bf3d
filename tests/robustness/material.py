"""What the targets break: a run, an index, prepared sets, and a file of every other kind."""

import contextlib
import io
import json
import pathlib
import pickle
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
# All of it; `build` fills it.
FOLDER = ROOT / "soak" / "material"
RUN, INDEX, PACKED = FOLDER / "run", FOLDER / "index", FOLDER / "packed.zip"
RAW, COLLECTIVE, SETS = FOLDER / "raw", FOLDER / "collective", FOLDER / "sets"
ADAPTED, APPEARANCE = FOLDER / "adapted", FOLDER / "appearance.npz"
CLIP, WEIGHTS, FEATURES = FOLDER / "clip", FOLDER / "weights", FOLDER / "features"
CONFIG = pathlib.Path(__file__).with_name("tiny.py")
CLIP_SIZE = (24, 32)


def open_dataset(config):
    """Opens the clips that the run was trained on: the function that --dataset names."""
    from tests.helpers.fakes import FakeDataset

    return FakeDataset()


def build(*, once: bool) -> None:
    """Makes all of it, in a process of its own; where it was made before, `once` keeps that."""
    if once and FOLDER.exists():
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    command = [sys.executable, "-m", "tests.robustness.material"]
    with tempfile.TemporaryFile() as output:
        ended = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        if ended.returncode:
            output.seek(0)
            raise RuntimeError(f"cannot make what is broken: {output.read().decode()}")


def _build() -> None:
    FOLDER.mkdir(parents=True)
    _write_weights()
    _write_clip()
    _write_raw()
    _write_run()
    _write_features()
    _write_adapted()


def _write_run() -> None:
    """Trains the run, evaluates it, indexes its clips and packs it."""
    from stvh_jax.evaluation.evaluate import evaluate
    from stvh_jax.inference.encoder import load
    from stvh_jax.retrieval.index import Index
    from stvh_jax.retrieval.indexing import index_split
    from stvh_jax.runs import folders, packed
    from stvh_jax.training.trainer import train
    from tests.helpers.fakes import FakeDataset, tiny_config

    dataset = FakeDataset()
    train(tiny_config(), dataset, RUN)
    run = folders.open_folder(RUN)
    evaluate(load(run), dataset, run=run).write()
    index_split(run, load(run), dataset, INDEX, split="train", stored_foci=(1,))
    index = Index.open(INDEX)
    index.delete("match = '0' AND clip = '0'")
    index.add(np.eye(2, dtype=np.uint8), match=["it's"] * 2, clip=["1", "two"], start=[0.5, None])
    # Reading a derived focus leaves its codes beside the store.
    index.search(np.zeros(2, np.uint8), focus=0)
    packed.pack(RUN, PACKED)


def _write_adapted() -> None:
    """Writes an index with bit weights, adapted to its clips, and what these show as a .npz."""
    from stvh_jax.codes.bit_weights import laid_out
    from stvh_jax.retrieval.index import Index

    random = np.random.default_rng(1)
    weights = laid_out(bits=16, visual_bits=8, layers=2)
    index = Index.create(ADAPTED, bits=16, stored_foci=(2,), bit_weights=weights)
    names = {"match": ["1", "2"] * 10, "clip": list(range(20))}
    index.add(random.integers(0, 256, (20, 2), np.uint8), **names, start=np.arange(20) * 4.0)
    embedded = random.normal(size=(20, 6)).astype(np.float32)
    index.adapt(embedded, **names)
    index.adapt(embedded**3, **names)
    video, clip = np.array(list(zip(*names.values())), int).T
    np.savez_compressed(APPEARANCE, features=embedded[:, None], video=video, clip=clip)


def _write_features() -> None:
    """Fills the cache of a backbone's features that `cached` reads."""
    cached(FEATURES)


def cached(folder: pathlib.Path):
    """Opens a cache of features of the test clips, whose features are their numbers."""
    from stvh_jax.training.feature_cache import CachedDataset
    from tests.helpers.fakes import frames_dataset

    dataset = CachedDataset(
        frames_dataset(), folder, made_of={"weights": "none"}, shape=(2, 5, 1, 1, 2)
    )

    def compute(clips):
        return np.broadcast_to(clips.boxes[..., None, None, :2], (len(clips.boxes), 2, 5, 1, 1, 2))

    dataset.fill("test", compute, mirrored=False, batch_size=2)
    return dataset


def _write_raw() -> None:
    """Writes raw folders of two layouts with tracks, and prepares one."""
    from data.prepared import builder
    from data.variants import Variant
    from tests.helpers import collective_files, volleyball_files

    people = [(2, 3, 8, 12, "setting"), (20, 5, 9, 14, "standing")]
    annotations = {video: [(10 + video, "r_set", people), (40, "l_spike", people)]
                   for video in range(3)}  # fmt: skip
    splits = {"train": ["0"], "validation": ["1"], "test": ["2"]}
    volleyball_files.write_raw(RAW, annotations, splits=splits)
    tracks = {
        (str(video), str(clip)): {
            frame: np.array([[0.1, 0.05, 0.5, 0.2], [0.2, 0.4, 0.6, 0.6]]) + frame / 1000
            for frame in range(clip - 5, clip + 5)
        }
        for video, clips in annotations.items()
        for clip, _, _ in clips
    }
    (RAW / "tracks_normalized.pkl").write_bytes(pickle.dumps(tracks))
    text = "".join(
        f"{player} {5 * player} 4 {5 * player + 4} 20 {frame} 0 0 0 standing\n"
        for player in range(2)
        for frame in range(35, 45)
    )
    path = RAW / "volleyball_tracking_annotation" / "0" / "40" / "40.txt"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    collective_files.small_set(COLLECTIVE)
    targets = [{frame: (2, 6, 6, 12 + frame) for frame in range(1, 11)}] * 2
    collective_files.write_tracks(COLLECTIVE, 1, targets)
    with contextlib.redirect_stdout(io.StringIO()):
        builder.prepare(
            Variant.parse("volleyball", "frames"), RAW, SETS, allow_missing=False, report=print
        )


def _write_clip() -> None:
    """Writes a clip as a user has it: images of every kind, boxes in both forms."""
    random = np.random.default_rng(0)
    (CLIP / "frames").mkdir(parents=True)
    for number, ending in enumerate(("png", "jpg", "bmp", "webp"), start=1):
        pixels = random.integers(0, 256, (*CLIP_SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(CLIP / "frames" / f"{number}.{ending}")
    lines = ["frame,id,left,top,width,height,score\n"]
    lines += [f"{frame},{person},{4 + 9 * person},5.5,8,12,0.9\n"
              for frame in range(1, 5) for person in range(3)]  # fmt: skip
    (CLIP / "tracks.csv").write_text("".join(lines))
    boxes = np.tile(np.array([0.2, 0.3, 0.6, 0.5]), (4, 3, 1))
    boxes[1, 2] = np.nan
    np.save(CLIP / "boxes.npy", boxes)
    np.save(CLIP / "appearance.npy", random.normal(size=(3, 5)).astype(np.float32))


def _write_weights() -> None:
    """Writes small files of weights in every container there is a package for."""
    import zipfile

    import h5py
    from safetensors.numpy import save_file

    WEIGHTS.mkdir(parents=True)
    random = np.random.default_rng(0)
    kernel, bias = random.normal(size=(3, 3, 4)).astype(np.float32), np.ones(4, np.float16)
    save_file({"a.weight": kernel, "a.bias": bias}, WEIGHTS / "w.safetensors", {"from": "me"})
    with h5py.File(WEIGHTS / "w.h5", "w") as file:
        file.attrs["layer_names"] = [b"conv", b"conv_1"]
        for name in ("conv", "conv_1"):
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel:0".encode()]
            group[f"{name}/kernel:0"] = kernel
    inner = io.BytesIO()
    with h5py.File(inner, "w") as file:
        file["layers/conv/vars/0"] = kernel
        file["layers/conv/vars/1"] = bias
    with zipfile.ZipFile(WEIGHTS / "w.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps({"name": "me"}))
        archive.writestr("model.weights.h5", inner.getvalue())
    with contextlib.suppress(ModuleNotFoundError):
        import torch

        torch.save({"a.weight": torch.tensor(kernel)}, WEIGHTS / "w.pth")


if __name__ == "__main__":
    _build()
