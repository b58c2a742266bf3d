"""Times encoding beside PyTorch, from JPEG bytes to packed codes, in one run: read the ratios.

python -m benchmarks.encoding [--image-size 480 720] [--rounds 5] [--out FILE]

A clip of configs/cad.py, ten frames with thirteen people, goes through Pillow,
Inception-v3, RoIAlign and M-STVH with `Encoder.encode`, as any user's does. PyTorch reads the same
bytes and has layers of the same sizes with weights of its own: that its backbone,
RoIAlign and layers compute what ours do is shown in benchmarks/{backbones,roi_align,head}.py.
"""

import dataclasses
import io

import numpy as np
from PIL import Image

from benchmarks import timing
from benchmarks.random_models import RandomClasses, random_clips, random_model
from configs import cad
from stvh_jax.inference.encoder import Encoder

GOAL = 0.9


def jpeg_of(seed: int, height: int, width: int) -> bytes:
    """Draws a picture as smooth as a photograph, and packs it as JPEG."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (height // 16, width // 16, 3), np.uint8))
    packed = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(packed, "JPEG", quality=90)
    return packed.getvalue()


def main() -> None:
    """Prints one row."""
    parser = timing.parser(__doc__)
    parser.add_argument("--image-size", type=int, nargs=2, default=(480, 720))
    given = parser.parse_args()
    peer_name = timing.needs_torch()
    from benchmarks.peers import encoding as peer
    from benchmarks.peers.hasher import Batch

    config = cad.get_config()
    config.data.image_size = tuple(given.image_size)
    made = random_model(config)
    with config.unlocked():
        config.update(RandomClasses()._asdict())
    encoder = Encoder(config, made.variables, step=0, checkpoint="random")
    clips = random_clips(config, batch=1)
    jpegs = [jpeg_of(seed, *given.image_size) for seed in range(config.model.num_frames)]
    model = made.model.config
    visual = dataclasses.replace(model.visual, source="features")
    theirs = peer.Encoder(dataclasses.replace(model, visual=visual)).eval()
    batch = Batch.of(clips)._replace(features=None)

    def ours():
        frames = np.stack([np.asarray(Image.open(io.BytesIO(one))) for one in jpegs])
        return encoder.encode(frames[None], clips.boxes, clips.actor_mask).codes

    def in_torch():
        return theirs(peer.decoded(jpegs), batch)

    for codes in ours().values():
        assert codes.shape == (1, config.model.bits // 8)
    size = "x".join(map(str, given.image_size))
    row = timing.compare(f"a clip of {size}", ours, in_torch, rounds=given.rounds, goal=GOAL)
    title = "Encoding, JPEG bytes to codes"
    timing.report(title, [row], peer=peer_name, out=given.out)


if __name__ == "__main__":
    main()
