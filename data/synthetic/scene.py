"""What all synthetic scenes share: colours, light, the sensor and the unsteady camera.

A camera moves over one large backdrop, which serves all frames of a match.
"""

import colorsys
import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageFilter

# The backdrop is larger than a frame by this factor, and frames are drawn with at least this many
# rows before they are scaled down.
MARGIN = 1.4
DRAWN_ROWS = 288

# The hues of the matches step around the circle by the golden ratio: the first few are as far apart
# as they can be, however many follow.
GOLDEN = 0.618034

Colour = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Light:
    """The light of a place and the flaws of the camera, whatever is in front of it.

    Attributes:
      gain: the light's colour and brightness, a factor for each channel.
      gradient: how the light changes to the right and downwards, across the frame.
      vignette: how much darker the corners are, 0..1.
      blur: standard deviation of the lens, in pixels of a frame of 96 rows.
      noise: standard deviation of the sensor, in grey levels.
    """

    gain: tuple[float, float, float]
    gradient: tuple[float, float]
    vignette: float
    blur: float
    noise: float


@dataclasses.dataclass(frozen=True)
class Scene:
    """A place made ready for frames of one size: its look, backdrop and light."""

    look: Light
    image_size: tuple[int, int]
    backdrop: Image.Image
    light: Float[np.ndarray, "H W 3"]


def generator(seed: int, *place: int) -> np.random.Generator:
    """Makes the random generator of a folder, of a match `(match)` or of a clip `(match, clip)`.

    No two share a stream, and none depends on how many matches or clips there are.
    """
    # NumPy pads its seeds with zeros, so that (1, 0) would be (1): places count from one.
    return np.random.default_rng((seed, *(number + 1 for number in place)))


def hue_of_match(seed: int, match: int) -> float:
    """Gives the main hue of a match: the circle is 0..1, and round again."""
    return generator(seed).random() + match * GOLDEN


def hsv_colour(hue: float, saturation: float, value: float) -> Colour:
    """Makes a colour of hue (the circle is 0..1, and round again), saturation and value, 0..1."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def shade(colour: Colour, factor: float) -> Colour:
    """Makes a colour darker, or lighter by a factor beyond 1."""
    red, green, blue = (min(255, round(c * factor)) for c in colour)
    return red, green, blue


def sample_light(rng: np.random.Generator) -> dict[str, Any]:
    """Draws the fields of a `Light`."""
    return {
        "gain": tuple(rng.uniform(0.9, 1.1) * rng.uniform(0.93, 1.07, 3)),
        "gradient": tuple(rng.uniform(-0.18, 0.18, 2)),
        "vignette": rng.uniform(0.0, 0.35),
        "blur": rng.uniform(0.0, 0.45),
        "noise": rng.uniform(1.0, 4.0),
    }


def light_up(look: Light, image_size: tuple[int, int]) -> Float[np.ndarray, "H W 3"]:
    """Gives the factor of the light on every pixel of a frame (pixels, H and W)."""
    height, width = image_size
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    light = 1 + look.gradient[0] * x + look.gradient[1] * y
    light = light * (1 - look.vignette * (x**2 + y**2) / 2)
    light = light[..., None] * np.array(look.gain)
    return light.astype(np.float32)


def unit_of(image_size: tuple[int, int]) -> float:
    """Gives the pixels to a unit of the view: the frame's height, less in a narrow frame."""
    return min(image_size[0], 0.6 * image_size[1])


def to_pixels(
    view: Float[np.ndarray, "*n 3"],
    camera: Float[np.ndarray, "*n 3"],
    image_size: tuple[int, int],
) -> Float[np.ndarray, "*n 3"]:
    """Turns a view's `[y, x, metre]` into pixels of a frame, by zoom, pan and tilt."""
    zoom, pan, tilt = np.moveaxis(camera, -1, 0)
    scale = unit_of(image_size) * zoom
    y = image_size[0] / 2 + scale * (view[..., 0] - 0.5 - tilt)
    x = image_size[1] / 2 + scale * (view[..., 1] - pan)
    return np.stack([y, x, scale * view[..., 2]], axis=-1)


def drawing_scale(image_size: tuple[int, int]) -> int:
    """Gives how many times larger than the frame it is drawn, to be scaled down smoothly."""
    return max(1, math.ceil(DRAWN_ROWS / image_size[0]))


def drawn_size(image_size: tuple[int, int]) -> tuple[int, int]:
    """Gives the height and width of the drawing that becomes a frame (pixels)."""
    scale = drawing_scale(image_size)
    return image_size[0] * scale, image_size[1] * scale


def look_at(scene: Scene, camera: Float[np.ndarray, "3"]) -> Image.Image:
    """Gives the part of the backdrop that a camera sees, in the drawn resolution."""
    height, width = drawn_size(scene.image_size)
    return scene.backdrop.resize(
        (width, height), Image.Resampling.NEAREST, box=_seen(scene, camera)
    )


def take_picture(
    rng: np.random.Generator, scene: Scene, image: Image.Image, *, noise: float
) -> UInt8[np.ndarray, "H W 3"]:
    """Scales a drawing down to a frame, through the lens, the light and the sensor.

    Args:
      rng: draws the sensor's noise.
      scene: where the drawing belongs.
      image: the drawing, in the drawn resolution.
      noise: grey levels of noise beyond the scene's own (standard deviation).
    """
    height, width = scene.image_size
    radius = scene.look.blur * height / 96
    image = image.reduce(drawing_scale(scene.image_size)).filter(ImageFilter.GaussianBlur(radius))
    grain = rng.standard_normal((height, width, 1), np.float32) * (scene.look.noise + noise)
    pixels = np.asarray(image, np.float32) * scene.light + grain
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _seen(scene, camera):
    """Gives the part of the backdrop that the camera sees: left, top, right, bottom."""
    zoom, pan, tilt = camera
    scale = drawing_scale(scene.image_size)
    unit = unit_of(scene.image_size) * scale
    height, width = (scale * side / zoom for side in scene.image_size)
    middle_x = scene.backdrop.width / 2 + unit * pan
    middle_y = scene.backdrop.height / 2 + unit * tilt
    left, top = middle_x - width / 2, middle_y - height / 2
    return left, top, left + width, top + height
