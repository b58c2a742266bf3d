"""The index that the benchmark of the page serves: matches cut into windows, each of an activity.

Codes have a structure as trained ones do: clips of one activity are near to each other in the bits
of the activity, clips of one match in the visual bits, and windows that follow one another share
most of both.
"""

import pathlib
from collections.abc import Iterator

import av
import numpy as np

from stvh_jax.codes.bit_weights import laid_out
from stvh_jax.codes.readout import Readout
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.origin import EVERY

BITS, VISUAL_BITS, LAYERS = 128, 24, 4
ACTIVITIES = ("left_pass", "left_set", "left_spike", "left_winpoint") + (
    "right_pass",
    "right_set",
    "right_spike",
    "right_winpoint",
)
# Seconds: between the beginnings of windows, of a window, and of what is done before the next.
STEP, WINDOW, LASTS = 0.5, 2.0, 6.0
# Clips of a match, which lasts 21 minutes.
CLIPS_EACH = 2500
# The share of bits in which a clip differs: from its activity, and from its match.
_NOISE = 0.2
# Frames per second of the video that stands for all matches, and its height and width.
_RATE, _SIZE = 5, (144, 256)


def make(folder: pathlib.Path, clips: int) -> str:
    """Makes the index, and a video that every match has under a name of its own.

    Args:
      folder: where the files are made.
      clips: how many.

    Returns:
      Where the index is.
    """
    write_video(folder / "match.mp4", CLIPS_EACH * STEP + WINDOW)
    (folder / "videos").mkdir()
    uri = str(folder / "index")
    random = np.random.default_rng(0)
    centres = random.random((len(ACTIVITIES), BITS - VISUAL_BITS)) < 0.5
    index = Index.create(
        uri,
        bits=BITS,
        stored_foci=[LAYERS],
        bit_weights=laid_out(bits=BITS, visual_bits=VISUAL_BITS, layers=LAYERS),
        readout=_readout(centres),
        origin={EVERY: STEP},
    )
    for codes, record in batches(clips, centres):
        for match in np.unique(record["match"]):
            (folder / "videos" / f"{match}.mp4").symlink_to("../match.mp4")
        videos = [str(folder / "videos" / f"{match}.mp4") for match in record["match"]]
        index.add(codes, **record, media=videos)
    return uri


def batches(clips: int, centres: np.ndarray) -> Iterator[tuple[np.ndarray, dict]]:
    """Draws clips, some matches at a time: packed codes and records.

    Args:
      clips: how many.
      centres: `[activities, bits]`, of each activity the code in the middle of its clips.
    """
    matches = -(-clips // CLIPS_EACH)
    for start in range(0, matches, 40):
        drawn = [_match(number, centres) for number in range(start, min(start + 40, matches))]
        left = clips - start * CLIPS_EACH
        codes = np.concatenate([own for own, _ in drawn])[:left]
        names = drawn[0][1]
        yield codes, {n: np.concatenate([own[n] for _, own in drawn])[:left] for n in names}


def _match(number: int, centres: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draws the clips of a match."""
    random = np.random.default_rng((1, number))
    starts = STEP * np.arange(CLIPS_EACH)
    done = (starts // LASTS).astype(int)
    activity = random.integers(len(centres), size=done[-1] + 1)[done]
    # What is done looks much the same in each of its windows, and each differs a little.
    of_done = random.random((done[-1] + 1, BITS)) < _NOISE
    differs = of_done[done] ^ (random.random((CLIPS_EACH, BITS)) < _NOISE / 4)
    visual = np.broadcast_to(random.random(VISUAL_BITS) < 0.5, (CLIPS_EACH, VISUAL_BITS))
    bits = np.concatenate([centres[activity], visual], axis=1) ^ differs
    names = np.array(ACTIVITIES)[activity]
    given = np.where(random.random(CLIPS_EACH) < 0.3, names, None)
    wrong = random.random(CLIPS_EACH) < 0.1
    predicted = np.where(wrong, ACTIVITIES[number % len(ACTIVITIES)], names)
    return np.packbits(bits, axis=1), {
        "match": np.full(CLIPS_EACH, f"match_{number + 1:03d}"),
        "clip": np.char.mod("%d", 1000 * starts),
        "start": starts,
        "stop": starts + WINDOW,
        "activity": given,
        "predicted": predicted,
        "confidence": 0.5 + random.random(CLIPS_EACH) / 2,
        "split": np.full(CLIPS_EACH, "test" if number % 10 == 9 else "train"),
    }


def _readout(centres: np.ndarray) -> Readout:
    """Makes what reads the activities from codes that are drawn around these."""
    signs = np.where(centres, 1.0, -1.0)
    kernel = np.concatenate([signs, np.zeros((len(centres), VISUAL_BITS))], axis=1).T
    return Readout(ACTIVITIES, kernel / np.sqrt(BITS), np.zeros(len(centres)))


def write_video(path: pathlib.Path, seconds: float) -> None:
    """Writes a video of a square that moves."""
    height, width = _SIZE
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "g": "25"}
        stream = container.add_stream("libx264", rate=_RATE, options=options)
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuv420p"
        for number in range(round(_RATE * seconds)):
            pixels = np.full((height, width, 3), 90, np.uint8)
            left = 3 * number % (width - 40)
            pixels[50:90, left : left + 40] = (240, 200, 40)
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
