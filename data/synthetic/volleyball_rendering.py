"""Draws synthetic volleyball: the camera's geometry, a match's look, one frame.

The court is measured in metres: X along it (the net stands at X = 0, the left team at X < 0),
Y away from the camera (0 the near side line, 9 the far one), Z upwards. The camera looks straight
ahead with a shifted lens, so that verticals stay vertical, and it pans and zooms by moving over
the picture that this makes.

What a player does shows in two phases, `[phi_x, phi_y]` in radians: a run to the side and back
with legs that open and close, and a hop with arms that go up and down.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw

from data.synthetic.scene import (
    MARGIN,
    Colour,
    Light,
    Scene,
    drawing_scale,
    drawn_size,
    light_up,
    look_at,
    shade,
    take_picture,
    to_pixels,
    unit_of,
)

# The camera: its distance from the near side line, its height and its place to the right of the
# net (m); then, in units of the picture's height, the focal length and the shifts of the lens.
DISTANCE = 16.0
HEIGHT = 8.0
OFFSET = 1.2
FOCAL = 2.2
HORIZON = -0.15
SHIFT = OFFSET * FOCAL / (DISTANCE + 4.5)

# The hall (m): half the length of the court, its depth, the distance of the wall, the net's height.
HALF_COURT = 9.0
DEPTH = 9.0
WALL = 12.5
NET_TOP = 2.43

# How far the two phases move a body (m), and the box around it: half its width, bottom and top.
RUN = 0.45
HOP = 0.4
BOX_HALF_WIDTH = 0.68
BOX_BOTTOM = -0.08
BOX_TOP = 2.3


@dataclasses.dataclass(frozen=True)
class Look(Light):
    """The look of a match, which tells it from others and moves no box.

    Attributes:
      court, surround, lines, wall: colours of the hall.
      jerseys, shorts: the uniforms of the left and the right team.
      skins, hairs: of the twelve players, left team first.
      crowd: what the spectators wear, beside the teams' colours.
      plank: depth of the floor's texture, 0..1.
      texture_seed: draws the floor's planks and the crowd.
    """

    court: Colour
    surround: Colour
    lines: Colour
    wall: Colour
    jerseys: tuple[Colour, Colour]
    shorts: tuple[Colour, Colour]
    skins: tuple[Colour, ...]
    hairs: tuple[Colour, ...]
    crowd: tuple[Colour, ...]
    plank: float
    texture_seed: int


@dataclasses.dataclass(frozen=True)
class Motion:
    """A clip before it is drawn: N players over T frames.

    Attributes:
      activity: the group's, by name.
      actions: the players', by name.
      player: 0..5 of the left team, 6..11 of the right one, in the order of ROLES.
      ground: where each player's motion is centred (m).
      stature: factor on each player's size.
      phase: phi_x + w_x t and phi_y + w_y t.
      camera: zoom, pan and tilt of each frame.
      ball: X, Y, Z (m).
      boxes: `[y_min, x_min, y_max, x_max]` in 0..1 of the frame, whole pixels.
    """

    activity: str
    actions: tuple[str, ...]
    player: Int[np.ndarray, "N"]
    ground: Float[np.ndarray, "N 2"]
    stature: Float[np.ndarray, "N"]
    phase: Float[np.ndarray, "T N 2"]
    camera: Float[np.ndarray, "T 3"]
    ball: Float[np.ndarray, "T 3"]
    boxes: Float[np.ndarray, "T N 4"]


def project(points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Projects points on the court (m) to the view.

    Returns:
      `[y, x, metre]` in units of the picture's height: y from its top, x from its middle, and the
      length of a metre at that depth.
    """
    x, y, z = np.moveaxis(points, -1, 0)
    metre = FOCAL / (DISTANCE + y)
    view_x = (x - OFFSET) * metre + SHIFT
    return np.stack([HORIZON + (HEIGHT - z) * metre, view_x, metre], axis=-1)


def body_position(
    ground: Float[np.ndarray, "*n 2"], phase: Float[np.ndarray, "*n 2"]
) -> Float[np.ndarray, "*n 3"]:
    """Places the bodies: X + RUN cos(phi_x), Y, and a hop of HOP (1 + sin(phi_y)) / 2 (m)."""
    x = ground[..., 0] + RUN * np.cos(phase[..., 0])
    z = HOP * (1 + np.sin(phase[..., 1])) / 2
    return np.stack([x, np.broadcast_to(ground[..., 1], x.shape), z], axis=-1)


def body_boxes(
    position: Float[np.ndarray, "*n 3"],
    stature: Float[np.ndarray, "*n"],
    camera: Float[np.ndarray, "*n 3"],
    image_size: tuple[int, int],
) -> Float[np.ndarray, "*n 4"]:
    """Puts a box of fixed size in metres around each body: `[y_min, x_min, y_max, x_max]`, pixels.

    The size says how far away a player is and nothing about the pose.
    """
    y, x, metre = np.moveaxis(to_pixels(project(position), camera, image_size), -1, 0)
    size = metre * stature
    return np.stack(
        [
            y - size * BOX_TOP,
            x - size * BOX_HALF_WIDTH,
            y - size * BOX_BOTTOM,
            x + size * BOX_HALF_WIDTH,
        ],
        axis=-1,
    )


def build_scene(look: Look, image_size: tuple[int, int]) -> Scene:
    """Draws the empty hall and its light, once for all frames of the match (pixels, H and W)."""
    return Scene(look, image_size, draw_hall(look, image_size), light_up(look, image_size))


def draw_hall(look: Look, image_size: tuple[int, int]) -> Image.Image:
    """Draws the backdrop: floor, lines, crowd, boards, referee and net, in the drawn resolution."""
    rng = np.random.default_rng(look.texture_seed)
    scale = drawing_scale(image_size)
    height, width = (round(MARGIN * scale * side) for side in image_size)
    unit = unit_of(image_size) * scale
    image = Image.fromarray(_floor(look, (height, width), unit, rng))
    draw = ImageDraw.Draw(image)

    def pixel(x, y, z):
        view_y, view_x, _ = project(np.array([x, y, z], np.float64))
        return (width / 2 + unit * view_x, height / 2 + unit * (view_y - 0.5))

    _draw_stands(draw, look, pixel, unit, rng)
    # The referee stands on a ladder behind the far post.
    draw.rectangle([pixel(-0.35, 10.2, 1.0), pixel(0.35, 10.2, 0.0)], fill=(70, 70, 75))
    draw.rectangle([pixel(-0.25, 10.2, 2.4), pixel(0.25, 10.2, 1.0)], fill=(235, 235, 240))
    draw.ellipse([pixel(-0.18, 10.2, 2.8), pixel(0.18, 10.2, 2.42)], fill=look.skins[0])
    far, near = DEPTH + 0.5, -0.5
    line = max(2, round(unit * 0.008))
    mesh = [
        pixel(0, far, NET_TOP),
        pixel(0, near, NET_TOP),
        pixel(0, near, 1.4),
        pixel(0, far, 1.4),
    ]
    draw.polygon(mesh, fill=shade(look.wall, 0.9))
    for height_of in (1.4, 1.75, 2.1):
        draw.line([pixel(0, far, height_of), pixel(0, near, height_of)], fill=(150, 150, 150))
    draw.line(mesh[:2], fill=(250, 250, 250), width=line)
    for side in (far, near):
        draw.line([pixel(0, side, 0), pixel(0, side, NET_TOP + 0.1)], fill=(60, 60, 70), width=line)
    return image


def _floor(look, shape, unit, rng):
    """Colours every pixel by the point of the floor it sees, or by the wall behind it."""
    height, width = shape
    view_y = (np.arange(height)[:, None] + 0.5 - height / 2) / unit + 0.5
    view_x = (np.arange(width)[None, :] + 0.5 - width / 2) / unit
    metre = np.maximum(view_y - HORIZON, 1e-3) / HEIGHT
    y = np.broadcast_to(FOCAL / metre - DISTANCE, (height, width))
    x = OFFSET + (view_x - SHIFT) / metre
    planks = rng.uniform(-1, 1, (16, 256))
    row, column = np.floor(x / 2.5).astype(int) % 16, np.floor(y * 3).astype(int) % 256
    inside = (np.abs(x) < HALF_COURT) & (y > 0) & (y < DEPTH)
    image = np.where(inside[..., None], look.court, look.surround)
    image = image * (1 + look.plank * planks[row, column])[..., None]
    half = 0.06
    lines = np.min([np.abs(np.abs(x) - at) for at in (0, 3, HALF_COURT)], axis=0) < half
    lines = (lines & (y > -half) & (y < DEPTH + half)) | (
        (np.minimum(np.abs(y), np.abs(y - DEPTH)) < half) & (np.abs(x) < HALF_COURT + half)
    )
    image = np.where(lines[..., None], look.lines, image)
    image = np.where((y > WALL)[..., None], look.wall, image)
    return np.clip(image, 0, 255).astype(np.uint8)


def _draw_stands(draw, look, pixel, unit, rng):
    """Draws rows of spectators, darker than the players, above a line of boards."""
    palette = [shade(colour, 0.55) for colour in look.jerseys] + list(look.crowd)
    for row in range(8, -1, -1):
        depth = WALL + 0.5 + row * 0.9
        for seat in np.arange(-26, 28, 0.85) + rng.uniform(0, 0.8):
            if rng.random() < 0.2:
                continue
            x, z = seat + rng.uniform(-0.15, 0.15), 1.2 + row * 0.75 + rng.uniform(-0.1, 0.1)
            body = palette[rng.integers(len(palette))]
            skin = shade(look.skins[rng.integers(12)], 0.62)
            draw.rectangle(
                [pixel(x - 0.3, depth, z + 0.5), pixel(x + 0.3, depth, z - 0.4)], fill=body
            )
            draw.ellipse(
                [pixel(x - 0.16, depth, z + 0.86), pixel(x + 0.16, depth, z + 0.5)], fill=skin
            )
    for board, x in enumerate(np.arange(-30, 30, 3.0)):
        colour = shade(palette[board % len(palette)], 1.25)
        draw.rectangle([pixel(x, WALL, 0.95), pixel(x + 2.9, WALL, 0.0)], fill=colour)
        draw.rectangle([pixel(x + 0.6, WALL, 0.6), pixel(x + 2.2, WALL, 0.4)], fill=look.lines)


def render_frame(
    rng: np.random.Generator, scene: Scene, motion: Motion, frame: int, *, noise: float = 0.0
) -> UInt8[np.ndarray, "H W 3"]:
    """Renders one frame of a clip.

    Args:
      rng: draws the sensor's noise and nothing else.
      scene: the match.
      motion: the players, the camera and the ball.
      frame: which frame, 0..T-1.
      noise: grey levels of noise beyond the match's own (standard deviation).
    """
    phase, camera = motion.phase[frame], motion.camera[frame]
    drawn = drawn_size(scene.image_size)
    image = look_at(scene, camera)
    draw = ImageDraw.Draw(image)
    position = body_position(motion.ground, phase)
    centre = to_pixels(project(position), camera, drawn)
    shadow = to_pixels(project(position * [1, 1, 0]), camera, drawn)
    # The farthest first: the near ones stand before them.
    order = np.argsort(-motion.ground[:, 1], kind="stable")
    for n in order:
        _draw_shadow(draw, scene.look, shadow[n])
    for n in order:
        size = centre[n, 2] * motion.stature[n]
        player = int(motion.player[n])
        _draw_player(draw, scene.look, player, centre[n, :2], size, phase[n])
    _draw_ball(draw, to_pixels(project(motion.ball[frame]), camera, drawn))
    return take_picture(rng, scene, image, noise=noise)


def _draw_shadow(draw, look, foot):
    y, x, metre = foot
    box = [x - 0.5 * metre, y - 0.13 * metre, x + 0.5 * metre, y + 0.13 * metre]
    draw.ellipse(box, fill=shade(look.court, 0.5))


def _draw_ball(draw, centre):
    y, x, metre = centre
    draw.ellipse(
        [x - 0.2 * metre, y - 0.2 * metre, x + 0.2 * metre, y + 0.2 * metre], fill=(250, 225, 60)
    )
    draw.line([x - 0.18 * metre, y, x + 0.18 * metre, y], fill=(40, 70, 180))


def _draw_player(draw, look, player, foot, size, phase):
    """Draws a player from the phases alone, turned to the net."""
    team = player // 6
    facing = 1 if team == 0 else -1
    jersey, shorts = look.jerseys[team], look.shorts[team]
    skin, hair = look.skins[player], look.hairs[player]
    spread, lean = 0.5 + 0.5 * math.cos(phase[0]), 0.12 * math.sin(phase[0])
    reach = math.sin(phase[1])

    def pixel(x, z):
        return (foot[1] + facing * size * x, foot[0] - size * z)

    def limb(points, width, fill):
        draw.line(
            [pixel(*p) for p in points], fill=fill, width=max(1, round(size * width)), joint="curve"
        )

    def disc(x, z, radius, fill):
        draw.ellipse(
            [pixel(x, z)[i] + s * size * radius for s in (-1, 1) for i in (0, 1)], fill=fill
        )

    hip, neck = (lean * 0.5, 0.95 - 0.12 * spread), (lean, 1.5 - 0.12 * spread)
    for side, tone in ((-1, 0.8), (1, 1.0)):
        ankle = (side * (0.08 + 0.42 * spread), 0.08)
        knee = ((hip[0] + ankle[0]) / 2 + 0.06, 0.5)
        limb([hip, knee, ankle], 0.17, shade(skin, tone))
        limb([hip, ((hip[0] + knee[0]) / 2, (hip[1] + knee[1]) / 2)], 0.26, shade(shorts, tone))
        limb([(ankle[0] - 0.06, 0.04), (ankle[0] + 0.18, 0.04)], 0.13, (245, 245, 245))
    angle = math.radians(5 + 75 * reach)
    shoulder = (neck[0], neck[1] - 0.06)
    behind = (neck[0] - 0.38 * math.cos(angle), shoulder[1] + 0.45 * math.sin(angle))
    limb([shoulder, behind], 0.14, shade(skin, 0.8))
    limb([hip, neck], 0.42, jersey)
    # The number, on the back: with the face it tells which way a player looks.
    limb([(hip[0] - 0.13, hip[1] + 0.1), (neck[0] - 0.13, neck[1] - 0.1)], 0.15, (240, 240, 240))
    disc(neck[0], neck[1] + 0.22, 0.17, hair)
    disc(neck[0] + 0.07, neck[1] + 0.19, 0.12, skin)
    hand = (neck[0] + 0.6 * math.cos(angle), shoulder[1] + 0.62 * math.sin(angle))
    limb([shoulder, hand], 0.16, skin)
    disc(*hand, 0.1, (250, 235, 220))
