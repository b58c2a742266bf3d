"""What a clip shows, in colours: features of one frame that need no trained weights.

    shares of colours of the people, and of the hall around them -> square roots -> centred

A colour is a hue, how strong it is and how light, and every pixel counts for the colours next to
its own. The people are described by the mean over their shirts, and over their trousers: two teams
give two peaks. The hall is what no box covers, its upper and its lower half. The visual bits of
these features are signs of fixed random directions (`colour_maps`), for nothing is fitted.
"""

import functools

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8
from PIL import Image

from stvh_jax.codes.visual_maps import VisualMaps

# Height and width at which frames are looked at.
FRAME_SIZE = (180, 320)
# What tells these features from those of other versions; change it whenever they change.
_SEED = 1
# Colours: circles of hues, by how strong and how light they are, and greys by how light.
_HUES, _STRENGTHS, _LIGHTS, _GREYS = 12, 2, 2, 4
_COLOURS = _HUES * _STRENGTHS * _LIGHTS + _GREYS
# From this saturation on, a colour is as strong as any; below this value it is hardly one.
_STRONG, _DARK = 0.6, 0.25
# Levels of red, green and blue, and the mean of a frame once its light is taken out, of 255.
_LEVELS, _MEAN = 16, 96.0
# Parts of a box, from its top: shirts and trousers; and the share of its width.
_PARTS, _WIDTH = ((0.15, 0.5), (0.5, 0.8)), 0.5
# C, two parts of people and two halves of the hall.
CHANNELS = 4 * _COLOURS


def colour_features(
    frame: UInt8[np.ndarray, "H W 3"],
    boxes: Float[np.ndarray, "N 4"],
    actor_mask: Bool[np.ndarray, "N"] | None = None,
) -> Float32[np.ndarray, "C"]:
    """Describes a frame by the colours of its people and of the hall around them.

    The order of the people says nothing, nor does how light the frame is as a whole.

    Args:
      frame: pixels of any size; they are averaged to 180 x 320.
      boxes: `[y_min, x_min, y_max, x_max]` of the people, in 0..1 of the frame.
      actor_mask: false for padded actors, whose boxes may be anything; None for none.
    """
    numbers = _colour_numbers(_resized(frame))
    people = boxes if actor_mask is None else boxes[actor_mask]
    hall = np.ones(numbers.shape, bool)
    for box in people:
        hall[_region(box)] = False
    half = len(numbers) // 2
    halves = [numbers[rows][hall[rows]] for rows in (np.s_[:half], np.s_[half:])]
    parts = [numbers[_region(_part_of(box, *part))] for box in people for part in _PARTS]
    roots = np.sqrt(_shares([*halves, *parts]))
    of_people = roots[2:].reshape(-1, len(_PARTS), _COLOURS).sum(axis=0) / max(1, len(people))
    blocks = np.concatenate([of_people, roots[:2]])
    return (blocks - blocks.mean(axis=1, keepdims=True)).ravel()


def clip_colours(
    frames: UInt8[np.ndarray, "B t H W 3"],
    boxes: Float[np.ndarray, "B T N 4"],
    actor_mask: Bool[np.ndarray, "B N"],
) -> Float32[np.ndarray, "B 1 C"]:
    """Describes clips by the colours of their middle frames.

    Args:
      frames: all of each clip, or the middle one alone.
      boxes: of all frames.
      actor_mask: false for padded actors.
    """
    middle = boxes.shape[1] // 2
    shown = frames[:, 0 if frames.shape[1] == 1 else middle]
    each = zip(shown, boxes[:, middle], actor_mask)
    return np.stack([colour_features(*clip)[None] for clip in each])


def colour_maps(bits: int) -> VisualMaps:
    """Gives what makes visual bits of colours: the same random directions for everybody.

    Args:
      bits: V.
    """
    # Signs, for they are the same to the last digit on every machine.
    drawn = np.random.RandomState(_SEED).randint(0, 2, (CHANNELS, bits))
    return VisualMaps(
        mean=np.zeros(CHANNELS, np.float32),
        whitening=np.eye(CHANNELS, dtype=np.float32),
        projection=(2 * drawn - 1).astype(np.float32),
        offset=np.zeros(bits, np.float32),
    )


def _resized(frame: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    if frame.shape[:2] == FRAME_SIZE:
        return frame
    image = Image.fromarray(frame).resize((FRAME_SIZE[1], FRAME_SIZE[0]), Image.Resampling.BOX)
    return np.asarray(image)


def _colour_numbers(frame: UInt8[np.ndarray, "h w 3"]) -> Int[np.ndarray, "h w"]:
    """Takes the light out of a frame, and gives each pixel the number of its colour."""
    gain = _MEAN / max(1.0, float(frame.mean()))
    levels = np.minimum(np.arange(256) * gain, 255).astype(np.int32) * _LEVELS // 256
    red, green, blue = np.moveaxis(levels[frame], -1, 0)
    return (red * _LEVELS + green) * _LEVELS + blue


def _region(box: Float[np.ndarray, "4"]) -> tuple[slice, slice]:
    """Gives the pixels that a box touches, at least one."""
    height, width = FRAME_SIZE
    y_min, x_min, y_max, x_max = map(float, box)
    top = int(np.clip(np.floor(y_min * height), 0, height - 1))
    left = int(np.clip(np.floor(x_min * width), 0, width - 1))
    bottom = int(np.clip(np.ceil(y_max * height), top + 1, height))
    right = int(np.clip(np.ceil(x_max * width), left + 1, width))
    return slice(top, bottom), slice(left, right)


def _part_of(box: Float[np.ndarray, "4"], top: float, bottom: float) -> Float[np.ndarray, "4"]:
    """Gives a part of a box, in the middle of its width."""
    y_min, x_min, y_max, x_max = box
    height, margin = y_max - y_min, (1 - _WIDTH) / 2 * (x_max - x_min)
    return np.array([y_min + top * height, x_min + margin, y_min + bottom * height, x_max - margin])


def _shares(regions: list[Int[np.ndarray, "..."]]) -> Float32[np.ndarray, "regions colours"]:
    """Gives the shares of colours among the pixels of regions; zeros for one without pixels."""
    counts = np.empty((len(regions), _LEVELS**3), np.float32)
    for row, numbers in zip(counts, regions):
        row[:] = np.bincount(numbers.ravel(), minlength=_LEVELS**3)
    sizes = np.array([[max(1, numbers.size)] for numbers in regions], np.float32)
    return counts @ _table() / sizes


@functools.cache
def _table() -> Float32[np.ndarray, "numbers colours"]:
    """Says how much a pixel of each number counts for each colour: one in all."""
    centres = (np.arange(_LEVELS) + 0.5) / _LEVELS
    rgb = np.stack(np.meshgrid(centres, centres, centres, indexing="ij"), -1).reshape(-1, 3)
    red, green, blue = rgb.T
    light = rgb.max(axis=1)
    chroma = light - rgb.min(axis=1)
    divisor = np.maximum(chroma, 1e-9)
    sixth = np.select(
        [chroma == 0, light == red, light == green],
        [0.0, (green - blue) / divisor, 2 + (blue - red) / divisor],
        4 + (red - green) / divisor,
    )
    away = np.abs(sixth[:, None] / 6 % 1 * _HUES - np.arange(_HUES))
    hues = np.maximum(0, 1 - np.minimum(away, _HUES - away))
    strengths = _neighbours(chroma / np.maximum(light, _DARK) / _STRONG, 1 + _STRENGTHS)
    lights, greys = _neighbours(light, _LIGHTS), _neighbours(light, _GREYS)
    strong = strengths[:, None, 1:, None] * lights[:, None, None, :] * hues[:, :, None, None]
    table = np.concatenate([strong.reshape(len(rgb), -1), strengths[:, :1] * greys], axis=1)
    return table.astype(np.float32)


def _neighbours(values: Float[np.ndarray, "numbers"], count: int) -> Float[np.ndarray, "numbers n"]:
    """Divides values in 0..1 between the two nearest of so many evenly spaced steps."""
    places = np.clip(values, 0, 1)[:, None] * (count - 1)
    return np.maximum(0, 1 - np.abs(places - np.arange(count)))
