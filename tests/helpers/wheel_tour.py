"""What someone with the wheel alone does: load a model, encode a clip of their own, search.

    python wheel_tour.py RUN.zip FOLDER

FOLDER gets images, a file of tracks and an index. Prints one JSON object of what came out.
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image

import stvh_jax

FRAMES, HEIGHT, WIDTH = 12, 90, 160


def write_clip(folder: pathlib.Path, seed: int) -> None:
    """Writes a folder of images and what a tracker would write of three people in them."""
    (folder / "frames").mkdir(parents=True)
    random = np.random.default_rng(seed)
    lines = ["frame,person,left,top,width,height"]
    for frame in range(1, FRAMES + 1):
        pixels = random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "frames" / f"{frame}.png")
        lines += [f"{frame},{p},{10 + 40 * p + frame},{20 + seed},16,40" for p in range(3)]
    (folder / "tracks.csv").write_text("\n".join(lines))


def main() -> None:
    """Runs the tour."""
    run, folder = map(pathlib.Path, sys.argv[1:])
    model = stvh_jax.load(run)
    clips = []
    for seed in range(3):
        write_clip(folder / str(seed), seed)
        frames, boxes, people = stvh_jax.read_clip(
            folder / str(seed) / "tracks.csv",
            folder / str(seed) / "frames",
            num_frames=model.config.model.num_frames,
        )
        clips.append(model.encode(frames, boxes, people))
    codes = {focus: np.concatenate([clip.codes[focus] for clip in clips]) for focus in model.foci}
    index = stvh_jax.Index.create(folder / "index", bits=model.bits, stored_foci=model.foci)
    index.add(codes, match=["own"] * 3, clip=[0, 1, 2])
    (hits,) = index.search({focus: codes[focus][1:2] for focus in codes}, focus="visual", k=3)
    print(
        json.dumps(
            {
                "package": str(pathlib.Path(stvh_jax.__file__).parents[1]),
                "version": stvh_jax.__version__,
                "clips": len(index),
                "first": [hits[0].match, hits[0].clip, hits[0].distance],
                "checkout": sorted({"data", "configs", "experiments"} & set(sys.modules)),
            }
        )
    )


if __name__ == "__main__":
    main()
