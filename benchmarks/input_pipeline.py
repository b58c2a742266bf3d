"""The input pipeline alone, by cores: clips a second from JPEG frames to batches of uint8 arrays.

python -m benchmarks.input_pipeline [--cores=1,2] [--small] [--rounds=3] [--out=FILE]

A few clips are rendered at the size of the demo and of the paper's sets, prepared, and read over
and over, as training reads them: at their own size, mirrored at random, and resized. PyTorch, which
is defined here on its own, reads the same JPEG bytes by a DataLoader of as many workers, decodes
and resizes them with Pillow, and mirrors them. Every measurement is a process of its own, which may
use so many cores and no others.
"""

import argparse
import importlib.metadata
import io
import json
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import processes, timing

BATCH, FRAMES, ACTORS = 4, 10, 12
# The rendered frames by the name of the set, and the size that they are resized to.
SETS = {
    "demo": ((96, 160), (64, 112)),
    "480x720": ((480, 720), (240, 360)),
    "720x1280": ((720, 1280), (360, 640)),
}
MATCHES, CLIPS = 3, 2
# Parts of a measurement, whose median counts: other work of the machine comes in bursts.
WINDOWS = 5


def render(folder: pathlib.Path, size: tuple[int, int]) -> None:
    """Renders and prepares a set of a few clips."""
    from data.prepared import builder
    from data.synthetic.volleyball_files import synthesize_volleyball
    from data.variants import Variant

    raw = folder / "raw"
    synthesize_volleyball(raw, matches=MATCHES, clips_per_match=CLIPS, image_size=size)
    variant = Variant.parse("volleyball", "frames")
    builder.prepare(variant, raw, folder, allow_missing=True, report=lambda line: None)


def our_batches(folder: str, size: tuple[int, int], flip: bool) -> Iterator[np.ndarray]:
    """Reads as training does."""
    from data.prepared.pipeline import open_dataset
    from stvh_jax import config as base

    data = base.get_config().data
    data.dir, data.image_size = folder, size
    dataset = open_dataset(data)
    split = "+".join(dataset.splits)
    for clips in dataset.training_batches(split, batch_size=BATCH, seed=0, flip=flip):
        yield clips.frames


def jpegs_of(folder: str) -> list[list[bytes]]:
    """Reads the raw frames of every clip."""
    frames = sorted(pathlib.Path(folder, "raw").rglob("*.jpg"))
    clips: dict[pathlib.Path, list[bytes]] = {}
    for frame in frames:
        clips.setdefault(frame.parent, []).append(frame.read_bytes())
    return [found[:FRAMES] for found in clips.values()]


def peer_batches(folder: str, size: tuple[int, int], flip: bool, workers: int) -> Iterator[Any]:
    """Reads the same clips in PyTorch, shuffled and without end."""
    import torch
    from PIL import Image

    jpegs = jpegs_of(folder)

    class Clips(torch.utils.data.Dataset):
        def __len__(self):
            return 1 << 20  # without end

        def __getitem__(self, place):
            random = np.random.default_rng(place)
            frames = []
            for jpeg in jpegs[random.integers(len(jpegs))]:
                image = Image.open(io.BytesIO(jpeg)).convert("RGB")
                if image.size != size[::-1]:
                    image = image.resize(size[::-1], Image.Resampling.BILINEAR)
                frames.append(np.asarray(image))
            clip = np.stack(frames)
            if flip and random.random() < 0.5:
                clip = np.ascontiguousarray(clip[:, :, ::-1])
            return torch.from_numpy(clip)

    loader = torch.utils.data.DataLoader(Clips(), batch_size=BATCH, num_workers=workers)
    yield from loader


def clips_a_second(
    way: str, folder: str, size: tuple[int, int], *, cores: int, flip: bool, seconds: float
) -> dict[str, Any]:
    """Measures one way in this process, on some cores alone."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    batches = peer_batches(folder, size, flip, cores) if way == "peer" else None
    batches = batches or our_batches(folder, size, flip)
    for _ in range(3):  # opens, starts workers, fills what is read ahead
        shape = next(batches).shape
    rates = []
    for _ in range(WINDOWS):
        read, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds / WINDOWS:
            next(batches)
            read += BATCH
        rates.append(read / spent)
    return {"clips_a_second": statistics.median(rates), "shape": list(shape)}


def compare(folder: str, name: str, cores: int, rounds: int, seconds: float) -> list[dict]:
    """Measures both ways in turn: as stored, mirrored, and resized and mirrored."""
    stored, smaller = SETS[name]
    works = {"as stored": (stored, False), "mirrored": (stored, True)}
    works["resized, mirrored"] = (smaller, True)
    rows = []
    for work, (size, flip) in works.items():
        asked = {"folder": folder, "size": size, "cores": cores, "flip": flip, "seconds": seconds}
        found: dict[str, list[float]] = {"ours": [], "peer": []}
        for _ in range(rounds):
            for way, rates in found.items():
                measured = processes.apart(
                    "benchmarks.input_pipeline", asked | {"way": way}, _SILENCE
                )
                rates.append(measured["clips_a_second"])
        rows.append({"set": name, "work": work, "cores": cores, **found})
    return rows


# What TensorFlow says as it starts.
_SILENCE = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}


def main() -> None:
    """Prints clips a second of both ways, and the ratio of the times of a clip."""
    parser = timing.parser(__doc__, rounds=3)
    everything = ",".join(str(1 << power) for power in range((os.cpu_count() or 1).bit_length()))
    parser.add_argument("--cores", default=everything, help="how many, joined by commas")
    parser.add_argument("--small", action="store_true", help="the demo's set alone")
    parser.add_argument("--asked", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if asked := arguments.asked:
        if "render" in asked:
            print(json.dumps(render(pathlib.Path(asked["render"]), tuple(asked["size"]))))
        else:
            print(json.dumps(clips_a_second(**asked | {"size": tuple(asked["size"])})))
        return
    peer = f"{timing.needs_torch()} with Pillow {importlib.metadata.version('pillow')}"
    rows = []
    for name in ["demo"] if arguments.small else SETS:
        with tempfile.TemporaryDirectory() as folder:
            asked = {"render": folder, "size": SETS[name][0]}
            processes.apart("benchmarks.input_pipeline", asked, _SILENCE)
            for cores in map(int, arguments.cores.split(",")):
                seconds = 1.0 if arguments.small else 3.0
                rows += compare(folder, name, cores, arguments.rounds, seconds)
        report(rows, peer, arguments.out)  # after each set, for this takes long


def report(rows: list[dict], peer: str, out: pathlib.Path | None) -> None:
    """Prints the time of a clip by both ways, and writes it where `out` is given."""
    timing.report(
        "Input pipeline, a clip of ten frames",
        [
            timing.Comparison(
                f"{row['set']}, {row['work']}, {row['cores']} cores",
                [1 / rate for rate in row["ours"]],
                [1 / rate for rate in row["peer"]],
            )
            for row in rows
        ],
        peer=peer,
        out=out,
    )


if __name__ == "__main__":
    main()
