"""Samples what happens in synthetic volleyball; `volleyball_files` writes it.

Motion alone tells what a clip shows. Every player runs and hops on two phases,

    x(t) = X + a cos(phi_x + w_x t),    z(t) = b (1 + sin(phi_y + w_y t)) / 2,

and the limbs follow the same two phases. phi_x and phi_y are uniform on the circle, so the phases
at any one frame are uniform too, whatever the speeds: one frame says exactly nothing about them.
An action *is* a pair of speeds; an activity is who performs which action. Where the players stand,
who is missing, the camera and the ball are drawn without looking at the activity, and none of
them, nor any box, looks at the match; a match is its colours, its light and its noise.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from data.annotations import NUM_FRAMES
from data.synthetic.scene import generator, hsv_colour, hue_of_match, sample_light, shade
from data.synthetic.volleyball_rendering import Look, Motion, body_boxes, body_position
from data.volleyball.constants import ACTIONS, ACTIVITIES, FRAMES_BEFORE_KEY

# Radians per frame: over ten frames half a turn and nearly two, far from the half turn per frame
# beyond which a speed would look like another one.
SLOW, FAST = 0.4, 1.2

# The speeds (w_x, w_y) that an action is.
SPEEDS = {
    "standing": (0.0, 0.0),
    "waiting": (SLOW, 0.0),
    "moving": (FAST, 0.0),
    "setting": (0.0, SLOW),
    "blocking": (0.0, FAST),
    "digging": (SLOW, SLOW),
    "jumping": (SLOW, FAST),
    "falling": (FAST, SLOW),
    "spiking": (FAST, FAST),
}

# Where each role stands: metres from the net and from the near side line.
ROLES = {
    "outside": (1.6, 1.2),
    "middle": (2.7, 4.6),
    "setter": (1.5, 7.8),
    "opposite": (4.4, 2.2),
    "libero": (5.9, 5.2),
    "defender": (4.8, 8.2),
}

# What each role does, one of these at random, in the order of ROLES: the acting team, the other.
_IDLE = ("standing", "waiting")
PLAYS = {
    "set": (
        (("moving",), ("jumping", "moving"), ("setting",), ("moving", "waiting"), _IDLE, _IDLE),
        (("moving", "waiting"), ("waiting",), ("standing",), _IDLE, _IDLE, _IDLE),
    ),
    "spike": (
        (("spiking",), ("jumping",), _IDLE, ("jumping", "spiking"), _IDLE, _IDLE),
        (("blocking",), ("blocking",), ("blocking", "jumping"), ("digging",), ("digging",), _IDLE),
    ),
    "pass": (
        (_IDLE, _IDLE, ("moving",), ("digging",), ("digging",), ("digging", "falling")),
        (_IDLE, ("standing",), ("waiting",), _IDLE, _IDLE, _IDLE),
    ),
    "winpoint": (
        (("jumping", "moving"),) * 6,
        (_IDLE, _IDLE, ("standing",), ("falling", "waiting"), ("falling",), _IDLE),
    ),
}


@dataclasses.dataclass(frozen=True)
class Match:
    """A match before it is drawn: its look, and the key frame and activity of every clip."""

    look: Look
    keys: tuple[int, ...]
    activities: tuple[str, ...]


def sample_match(seed: int, match: int, *, clips: int) -> Match:
    """Draws a match: its look, and its clips in time, the eight activities equally often."""
    rng = generator(seed, match)
    look = sample_look(rng, hue_of_match(seed, match))
    # Far enough apart that no two clips share a frame or are temporal neighbours (41 frames).
    keys = 1000 + np.cumsum(rng.integers(60, 400, clips))
    rounds = -(-clips // len(ACTIVITIES))
    order = np.concatenate([rng.permutation(len(ACTIVITIES)) for _ in range(rounds)])
    return Match(look, tuple(map(int, keys)), tuple(ACTIVITIES[a] for a in order[:clips]))


def sample_look(rng: np.random.Generator, hue: float) -> Look:
    """Draws a match's look around the hue of its left team, 0..1.

    The other team's hue is on the far side of the circle, the court's a quarter away from both.
    """
    court = hue + 0.75 + rng.uniform(-0.05, 0.05)
    shirts = [
        hsv_colour(hue, 0.85, rng.uniform(0.55, 0.85)),
        hsv_colour(hue + 0.5 + rng.uniform(-0.1, 0.1), 0.85, rng.uniform(0.55, 0.85)),
    ]
    # One match in three has a team in black or navy, as many teams are.
    if rng.random() < 1 / 3:
        shirts[rng.integers(2)] = hsv_colour(0.62, rng.uniform(0.0, 0.8), 0.22)
    surround = court + rng.uniform(0.3, 0.5)
    tones = rng.uniform(0.5, 1.0, 12)
    hairs = rng.uniform((0.02, 0.05), (0.12, 0.5), (12, 2))
    return Look(
        court=hsv_colour(court, rng.uniform(0.35, 0.6), rng.uniform(0.6, 0.8)),
        surround=hsv_colour(surround, rng.uniform(0.3, 0.6), rng.uniform(0.4, 0.6)),
        lines=(250, 250, 240) if rng.random() < 0.8 else (250, 235, 120),
        wall=hsv_colour(rng.random(), 0.3, rng.uniform(0.15, 0.35)),
        jerseys=(shirts[0], shirts[1]),
        shorts=(
            shade(shirts[0], rng.choice([0.3, 0.55, 1.0])),
            shade(shirts[1], rng.choice([0.3, 0.55, 1.0])),
        ),
        skins=tuple((round(248 * tone), round(205 * tone), round(172 * tone)) for tone in tones),
        hairs=tuple(hsv_colour(tint, 0.6, value) for tint, value in hairs),
        crowd=tuple(hsv_colour(rng.random(), 0.4, rng.uniform(0.25, 0.5)) for _ in range(5)),
        plank=rng.uniform(0.02, 0.09),
        **sample_light(rng),
        texture_seed=int(rng.integers(2**31)),
    )


def sample_actions(
    rng: np.random.Generator, activity: str, *, difficulty: float
) -> tuple[str, ...]:
    """Draws what each of the twelve players does, the left team first.

    A share of difficulty / 4 of the players does anything at all.
    """
    side, kind = activity.split("_")
    acting, other = PLAYS[kind]
    options = acting + other if side == "l" else other + acting
    drawn = [choices[rng.integers(len(choices))] for choices in options]
    stray = rng.random(12) < difficulty / 4
    anything = rng.integers(len(ACTIONS), size=12)
    return tuple(ACTIONS[anything[n]] if stray[n] else drawn[n] for n in range(12))


def sample_phases(
    rng: np.random.Generator, actions: tuple[str, ...], num_frames: int, *, difficulty: float
) -> Float[np.ndarray, "T N 2"]:
    """Draws the phases of every player: uniform at any one frame, turning as the action says.

    A player's speed is off the action's by a factor of standard deviation difficulty / 4.
    """
    speeds = np.array([SPEEDS[action] for action in actions])
    speeds = speeds * (1 + difficulty / 4 * rng.standard_normal(speeds.shape))
    start = rng.uniform(0, 2 * np.pi, speeds.shape)
    return start + speeds * np.arange(num_frames)[:, None, None]


def sample_camera(rng: np.random.Generator, num_frames: int) -> Float[np.ndarray, "T 3"]:
    """Draws zoom, pan and tilt over a clip: a place, a slow pan and an unsteady hand."""
    place = rng.uniform((0.93, -0.05, -0.02), (1.05, 0.05, 0.02))
    drift = rng.uniform((0, -0.004, 0), (0, 0.004, 0))
    shake = rng.standard_normal((num_frames, 3)) * (0, 0.0015, 0.0015)
    # A longer clip pans more slowly, or its players would leave the picture.
    slower = min(1.0, NUM_FRAMES / num_frames)
    return place + drift * slower * (np.arange(num_frames) - FRAMES_BEFORE_KEY)[:, None] + shake


def sample_ball(rng: np.random.Generator, num_frames: int) -> Float[np.ndarray, "T 3"]:
    """Draws the ball's course over the net, which is the same in law for all activities."""
    start = rng.uniform(0, 2 * np.pi, 2)
    time = np.arange(num_frames)
    x, z = 5 * np.cos(start[0] + 0.15 * time), 3.4 + 1.2 * np.sin(start[1] + 0.3 * time)
    return np.stack([x, np.full(num_frames, rng.uniform(2, 7)), z], axis=-1)


def motion_clip(
    rng: np.random.Generator,
    activity: str,
    *,
    difficulty: float = 0.3,
    image_size: tuple[int, int] = (96, 160),
    num_frames: int = NUM_FRAMES,
) -> Motion:
    """Draws a clip's motion, without drawing a picture.

    Args:
      rng: the clip's generator.
      activity: one of ACTIVITIES.
      difficulty: 0..1; how many players do anything at all, how uneven the speeds are, how
        unsteady the boxes.
      image_size: height and width (pixels), the grid that the boxes are rounded to.
      num_frames: T.
    """
    actions = sample_actions(rng, activity, difficulty=difficulty)
    phase = sample_phases(rng, actions, num_frames, difficulty=difficulty)
    ground = np.array(list(ROLES.values()))
    ground = np.concatenate([ground * (-1, 1), ground]) + rng.uniform(-0.5, 0.5, (12, 2))
    stature = rng.uniform(0.93, 1.07, 12)
    camera, ball = sample_camera(rng, num_frames), sample_ball(rng, num_frames)
    # Ten to twelve are seen, in no order.
    player = rng.permutation(12)[: rng.choice([10, 11, 12], p=[0.1, 0.2, 0.7])]
    position = body_position(ground, phase)
    boxes = body_boxes(position, stature, camera[:, None], image_size)
    heights = boxes[..., 2:3] - boxes[..., 0:1]
    boxes += 0.05 * difficulty * heights * rng.standard_normal(boxes.shape)
    height, width = image_size
    limits = np.array([height, width, height, width])
    boxes = np.clip(np.rint(boxes), 0, limits) / limits
    return Motion(
        activity=activity,
        actions=tuple(actions[n] for n in player),
        player=player,
        ground=ground[player],
        stature=stature[player],
        phase=phase[:, player],
        camera=camera,
        ball=ball,
        boxes=boxes[:, player].astype(np.float32),
    )
