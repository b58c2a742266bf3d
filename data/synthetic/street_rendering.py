"""Draws a synthetic street: the camera's geometry, a sequence's look, one frame.

The street is measured in metres: X to the right, Y away from the camera, Z upwards. It is the
same everywhere and only looks different: the near pavement, the road with its zebra crossing,
the far pavement, and a front of shops, out of whose doors people come. As on the volleyball court
the camera looks straight ahead with a shifted lens, and the unsteady hand moves over one large
backdrop.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from data.synthetic.scene import (
    MARGIN,
    Colour,
    Light,
    Scene,
    drawing_scale,
    drawn_size,
    hsv_colour,
    light_up,
    look_at,
    sample_light,
    shade,
    take_picture,
    to_pixels,
    unit_of,
)

# The camera: its height (m), then the focal length and the horizon in units of the picture's
# height.
FOCAL = 1.5
HEIGHT = 3.0
HORIZON = 0.13

# Where the road begins and ends, and the shops stand; the middle of each door and half its width.
NEAR_KERB = 8.2
FAR_KERB = 12.4
SHOPS = 14.2
DOORS = (-4.6, 0.0, 4.6)
DOOR_HALF_WIDTH = 0.7
ZEBRA_HALF_WIDTH = 4.8
ZEBRA_BAR = 0.6

# The box around a person (m): bottom and top; it is half as wide as high, as the real ones are.
BOX_BOTTOM = -0.1
BOX_TOP = 2.1


@dataclasses.dataclass(frozen=True)
class StreetLook(Light):
    """The look of a sequence, which tells it from others and moves no box.

    Attributes:
      paving, road, paint, wall, awning, glass: colours of the street.
      tile: side of a paving stone (m).
      contrast: depth of the paving's texture, 0..1.
      texture_seed: draws the stones and the windows.
    """

    paving: Colour
    road: Colour
    paint: Colour
    wall: Colour
    awning: Colour
    glass: Colour
    tile: float
    contrast: float
    texture_seed: int


@dataclasses.dataclass(frozen=True)
class Clothes:
    """The colours of a person."""

    top: Colour
    legs: Colour
    shoes: Colour
    skin: Colour
    hair: Colour


@dataclasses.dataclass(frozen=True)
class Person:
    """Somebody from the first frame in sight to the last, F frames.

    Attributes:
      action: one of `CLASSES`.
      start: the first frame, from 0.
      ground: X and Y (m).
      hop: Z of the feet (m).
      heading: which way the body looks: 0 to the right, pi / 2 away from the camera.
      gait: the phase of the limbs.
      stride: how far a foot swings (m).
      stature: factor on the size.
      clothes: colours.
    """

    action: str
    start: int
    ground: Float[np.ndarray, "F 2"]
    hop: Float[np.ndarray, "F"]
    heading: Float[np.ndarray, "F"]
    gait: Float[np.ndarray, "F"]
    stride: Float[np.ndarray, "F"]
    stature: float
    clothes: Clothes

    @property
    def frames(self) -> range:
        """The frames in sight."""
        return range(self.start, self.start + len(self.ground))

    @property
    def position(self) -> Float[np.ndarray, "F 3"]:
        """X, Y and Z of the feet (m)."""
        return np.concatenate([self.ground, self.hop[:, None]], axis=1)


@dataclasses.dataclass(frozen=True)
class StreetScene:
    """A source video before it is drawn.

    Attributes:
      activity: what most people do at any frame, one of `CLASSES`.
      people: all who are ever seen.
      camera: zoom, pan and tilt of each frame.
    """

    activity: str
    people: tuple[Person, ...]
    camera: Float[np.ndarray, "T 3"]


def project(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Projects points in the street (m) to the view.

    Returns:
      `[y, x, metre]` in units of the picture's height: y from its top, x from its middle, and the
      length of a metre at that depth.
    """
    x, y, z = np.moveaxis(points, -1, 0)
    metre = FOCAL / y
    return np.stack([HORIZON + (HEIGHT - z) * metre, x * metre, metre], axis=-1)


def edge_of(depth: float, image_size: tuple[int, int]) -> float:
    """Gives the X (m) at which the frame of a camera at rest ends on the right, at a depth (m)."""
    return image_size[1] / 2 / unit_of(image_size) * depth / FOCAL


def person_boxes(
    person: Person, camera: Float[np.ndarray, "T 3"], image_size: tuple[int, int]
) -> Float[np.ndarray, "F 4"]:
    """Puts a box of fixed size in metres around a person: `[y_min, x_min, y_max, x_max]`, pixels.

    The size says how far away and how tall a person is and nothing about the pose.
    """
    view = project(person.position)
    y, x, metre = to_pixels(view, camera[person.frames], image_size).T
    size = metre * person.stature
    half_width = size * (BOX_TOP - BOX_BOTTOM) / 4
    return np.stack(
        [y - size * BOX_TOP, x - half_width, y - size * BOX_BOTTOM, x + half_width], axis=-1
    )


def sample_street_look(rng: np.random.Generator, hue: float) -> StreetLook:
    """Draws a sequence's look around the hue of its shops, 0..1."""
    paving = hue + 0.5 + rng.uniform(-0.15, 0.15)
    asphalt = rng.uniform(0.2, 0.38)
    return StreetLook(
        paving=hsv_colour(paving, rng.uniform(0.12, 0.4), rng.uniform(0.5, 0.8)),
        road=hsv_colour(rng.random(), 0.1, asphalt),
        paint=(240, 240, 235),
        wall=hsv_colour(hue, rng.uniform(0.4, 0.75), rng.uniform(0.45, 0.8)),
        awning=hsv_colour(rng.random(), 0.7, rng.uniform(0.4, 0.7)),
        glass=hsv_colour(0.55, 0.25, rng.uniform(0.3, 0.75)),
        tile=rng.uniform(0.4, 0.9),
        contrast=rng.uniform(0.02, 0.08),
        **sample_light(rng),
        texture_seed=int(rng.integers(2**31)),
    )


def build_street(look: StreetLook, image_size: tuple[int, int]) -> Scene:
    """Draws the empty street and its light once, for all of a sequence's frames (pixels)."""
    return Scene(look, image_size, draw_street(look, image_size), light_up(look, image_size))


def draw_street(look: StreetLook, image_size: tuple[int, int]) -> Image.Image:
    """Draws the backdrop, ground and shops, in the drawn resolution."""
    rng = np.random.default_rng(look.texture_seed)
    scale = drawing_scale(image_size)
    height, width = (round(MARGIN * scale * side) for side in image_size)
    unit = unit_of(image_size) * scale
    image = Image.fromarray(_ground(look, (height, width), unit, rng))
    draw = ImageDraw.Draw(image)

    def panel(left, right, top, bottom, fill):
        corners = project(np.array([[left, SHOPS, top], [right, SHOPS, bottom]]))
        draw.rectangle(
            [(width / 2 + unit * x, height / 2 + unit * (y - 0.5)) for y, x, _ in corners],
            fill=fill,
        )

    _draw_shops(panel, look, rng)
    return image


def _ground(look, shape, unit, rng):
    """Colours every pixel by the point of the ground it sees, or by the wall behind it."""
    height, width = shape
    view_y = (np.arange(height)[:, None] + 0.5 - height / 2) / unit + 0.5
    view_x = (np.arange(width)[None, :] + 0.5 - width / 2) / unit
    metre = np.maximum(view_y - HORIZON, 1e-3) / HEIGHT
    y = np.broadcast_to(FOCAL / metre, (height, width))
    x = view_x / metre
    stones = rng.uniform(-1, 1, (64, 64))
    row, column = np.floor(y / look.tile).astype(int), np.floor(x / look.tile).astype(int)
    texture = 1 + look.contrast * stones[row % 64, column % 64]
    road = (y > NEAR_KERB) & (y < FAR_KERB)
    bar = np.floor((y - NEAR_KERB) / ZEBRA_BAR) % 2 == 1
    kerb = np.minimum(np.abs(y - NEAR_KERB), np.abs(y - FAR_KERB)) < 0.12
    image = np.where(road[..., None], look.road, look.paving) * texture[..., None]
    zebra = road & bar & (np.abs(x) < ZEBRA_HALF_WIDTH)
    image = np.where(zebra[..., None], look.paint, image)
    image = np.where(kerb[..., None], shade(look.paving, 1.25), image)
    image = np.where((y > SHOPS)[..., None], look.wall, image)
    return np.clip(image, 0, 255).astype(np.uint8)


def _draw_shops(panel, look, rng):
    """Draws doors, lit shop windows with awnings between them, and a row of windows above."""
    for left, right in zip(np.arange(-14.5, 14), np.arange(-13.7, 15)):
        tone = rng.uniform(0.6, 1.3)
        panel(left, right, 5.0, 3.7, shade(look.glass, tone))
    panel(-16, 16, 2.9, 2.3, look.awning)
    for door in DOORS:
        panel(door - DOOR_HALF_WIDTH, door + DOOR_HALF_WIDTH, 2.3, 0, shade(look.wall, 0.25))
    between = (-11.0, *DOORS, 11.0)
    for left, right in zip(between[:-1], between[1:]):
        panel(left + 1.1, right - 1.1, 2.2, 0.5, shade(look.glass, rng.uniform(0.7, 1.3)))


def render_street(
    rng: np.random.Generator, scene: Scene, sequence: StreetScene, frame: int, *, noise: float = 0.0
) -> UInt8[np.ndarray, "H W 3"]:
    """Renders one frame of a sequence.

    Args:
      rng: draws the sensor's noise and nothing else.
      scene: the street, by `build_street`.
      sequence: the people and the camera.
      frame: which frame, 0..T-1.
      noise: grey levels of noise beyond the look's own (standard deviation).
    """
    camera, drawn = sequence.camera[frame], drawn_size(scene.image_size)
    image = look_at(scene, camera)
    draw, glaze = ImageDraw.Draw(image), ImageDraw.Draw(image, "RGBA")
    seen = [person for person in sequence.people if frame in person.frames]
    # The farthest first: the near ones stand before them.
    seen.sort(key=lambda person: -person.ground[frame - person.start, 1])
    positions = np.array([person.position[frame - person.start] for person in seen])
    positions = positions.reshape(-1, 3)
    for y, x, metre in to_pixels(project(positions * [1, 1, 0]), camera, drawn):
        box = [x - 0.4 * metre, y - 0.12 * metre, x + 0.4 * metre, y + 0.12 * metre]
        glaze.ellipse(box, fill=(0, 0, 0, 90))
    for person, foot in zip(seen, to_pixels(project(positions), camera, drawn)):
        _draw_person(draw, person, frame - person.start, foot)
    return take_picture(rng, scene, image, noise=noise)


def _draw_person(draw, person, t, foot):
    """Draws a person, turned by the heading, the limbs by gait and stride."""
    clothes, gait, stride = person.clothes, person.gait[t], person.stride[t]
    ahead, away = math.cos(person.heading[t]), math.sin(person.heading[t])
    size = foot[2] * person.stature

    def pixel(forward, left, z):
        # What is farther away stands higher in the picture.
        depth = forward * away + left * ahead
        return (
            foot[1] + size * (forward * ahead - left * away),
            foot[0] - size * (z + 0.25 * depth),
        )

    def limb(points, width, fill):
        draw.line([pixel(*p) for p in points], fill=fill, width=max(1, round(size * width)))

    def disc(forward, left, z, radius, fill):
        x, y = pixel(forward, left, z)
        radius *= size
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)

    def leg(side, tone):
        phase = gait + math.pi * (side > 0)
        swing = stride * math.sin(phase)
        lift = 0.6 * stride * max(0.0, math.cos(phase))
        ankle = (swing, 0.1 * side, 0.07 + lift)
        knee = (swing / 2 + 0.5 * lift, 0.1 * side, 0.5 + 0.4 * lift)
        limb([(0, 0.09 * side, 0.92), knee, ankle], 0.17, shade(clothes.legs, tone))
        limb([ankle, (ankle[0] + 0.16, ankle[1], ankle[2])], 0.1, clothes.shoes)

    def arm(side, tone):
        elbow, hand = _reach(person.action, side, gait, stride)
        limb([(0, 0.2 * side, 1.4), elbow, hand], 0.12, shade(clothes.top, tone))
        disc(*hand, 0.07, clothes.skin)

    # The side away from the camera first.
    far = 1 if ahead > 0 else -1
    leg(far, 0.75)
    arm(far, 0.75)
    leg(-far, 1.0)
    limb([(0, 0, 0.85), (0, 0, 1.5)], 0.26 + 0.16 * abs(away), clothes.top)
    disc(0, 0, 1.65, 0.15, clothes.hair)
    if away < 0.5:
        disc(0.07, 0, 1.61, 0.115, clothes.skin)
    arm(-far, 0.9)


def _reach(action, side, gait, stride):
    """Places elbow and hand of the left (1) or right (-1) arm: forward, left, up (m)."""
    swing = math.sin(gait + math.pi * (side < 0))
    if action == "dancing":
        sway = 0.1 * math.sin(gait)
        return (0.05, 0.36 * side + sway / 2, 1.6), (0.1, 0.3 * side + sway, 1.9 + 0.05 * swing)
    if action == "jogging":
        return (-0.12, 0.26 * side, 1.12), (0.22 + 0.15 * swing, 0.22 * side, 1.2 + 0.1 * swing)
    if action == "talking" and side > 0:
        return (0.1, 0.28, 1.12), (0.34, 0.2, 1.22 + 0.12 * swing)
    return (0.4 * stride * swing, 0.26 * side, 1.12), (0.8 * stride * swing, 0.25 * side, 0.85)
