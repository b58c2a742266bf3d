"""Renders volleyball matches in the Volleyball Dataset's own layout, to train and try on.

    OUT/videos/<match>/annotations.txt
    OUT/videos/<match>/<key>/<frame>.jpg
    OUT/volleyball_tracking_annotation/<match>/<key>/<key>.txt
    OUT/splits.json

Ten frames a clip, key-5..key+4, and tracks over these ten.

What a clip shows is told by motion and by nothing else. Every player runs and hops on two phases,

    x(t) = X + a cos(phi_x + w_x t),    z(t) = b (1 + sin(phi_y + w_y t)) / 2,

and the limbs follow the same two phases. phi_x and phi_y are uniform on the circle, so the phases
at any one frame are uniform too, whatever the speeds: one frame says exactly nothing about them.
An action *is* a pair of speeds; an activity is who performs which action. Where the players stand,
who is missing, the camera and the ball are drawn without looking at the activity, and none of
them, nor any box, looks at the match; a match is its colours, its light and its noise.
"""

import dataclasses
import json
import pathlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from data.annotations import ACTIONS, ACTIVITIES, FRAMES_BEFORE_KEY, MAX_ACTORS, NUM_FRAMES
from data.rendering import (
    Look,
    Moment,
    body_boxes,
    body_position,
    build_scene,
    render_frame,
    sample_look,
)
from stvh_jax.errors import UserError

JPEG_QUALITY = 92
VERSION = 1  # a change of the pictures or the files is a new version

# Radians a frame: over ten frames half a turn and nearly two, far from the half turn a frame
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
    "outside": (1.6, 1.4),
    "middle": (2.1, 4.6),
    "setter": (1.5, 7.6),
    "opposite": (4.5, 2.4),
    "libero": (5.9, 5.2),
    "defender": (4.6, 7.9),
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


@dataclasses.dataclass(frozen=True)
class Match:
    """A match before it is drawn: its look, and the key frame and activity of every clip."""

    look: Look
    keys: tuple[int, ...]
    activities: tuple[str, ...]


def clip_generator(seed: int, match: int, clip: int) -> np.random.Generator:
    """Makes the generator of one clip, which depends on no other clip or match."""
    # NumPy takes (a, b) and (a, b, 0) for the same seed: clips count from 1, a match is 0.
    return np.random.default_rng((seed, match, clip + 1))


def sample_match(seed: int, match: int, *, clips: int) -> Match:
    """Draws a match: its look, and its clips in time, the eight activities equally often."""
    rng = np.random.default_rng((seed, match, 0))
    look = sample_look(rng, match)
    # Far enough apart that no two clips share a frame or are temporal neighbours (41 frames).
    keys = 1000 + np.cumsum(rng.integers(60, 400, clips))
    rounds = -(-clips // len(ACTIVITIES))
    order = np.concatenate([rng.permutation(len(ACTIVITIES)) for _ in range(rounds)])
    return Match(look, tuple(map(int, keys)), tuple(ACTIVITIES[a] for a in order[:clips]))


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
    rng: np.random.Generator, actions: tuple[str, ...], *, difficulty: float
) -> Float[np.ndarray, "T N 2"]:
    """Draws the phases of every player: uniform at any one frame, turning as the action says.

    A player's speed is off the action's by a factor of standard deviation difficulty / 4.
    """
    speeds = np.array([SPEEDS[action] for action in actions])
    speeds = speeds * (1 + difficulty / 4 * rng.standard_normal(speeds.shape))
    start = rng.uniform(0, 2 * np.pi, speeds.shape)
    return start + speeds * np.arange(NUM_FRAMES)[:, None, None]


def sample_camera(rng: np.random.Generator) -> Float[np.ndarray, "T 3"]:
    """Draws zoom, pan and tilt over a clip: a place, a slow pan and an unsteady hand."""
    place = rng.uniform((0.95, -0.05, -0.02), (1.08, 0.05, 0.02))
    drift = rng.uniform((0, -0.004, 0), (0, 0.004, 0))
    shake = rng.standard_normal((NUM_FRAMES, 3)) * (0, 0.0015, 0.0015)
    return place + drift * (np.arange(NUM_FRAMES) - FRAMES_BEFORE_KEY)[:, None] + shake


def sample_ball(rng: np.random.Generator) -> Float[np.ndarray, "T 3"]:
    """Draws the ball's course over the net, which is the same in law for all activities."""
    start = rng.uniform(0, 2 * np.pi, 2)
    time = np.arange(NUM_FRAMES)
    x, z = 5 * np.cos(start[0] + 0.15 * time), 3.4 + 1.2 * np.sin(start[1] + 0.3 * time)
    return np.stack([x, np.full(NUM_FRAMES, rng.uniform(2, 7)), z], axis=-1)


def motion_clip(
    rng: np.random.Generator,
    activity: str,
    *,
    difficulty: float = 0.3,
    image_size: tuple[int, int] = (96, 160),
) -> Motion:
    """Draws a clip's motion, without drawing a picture.

    Args:
      rng: the clip's generator.
      activity: one of ACTIVITIES.
      difficulty: 0..1; how many players do anything at all, how uneven the speeds are, how
        unsteady the boxes.
      image_size: height and width (pixels), the grid that the boxes are rounded to.
    """
    actions = sample_actions(rng, activity, difficulty=difficulty)
    phase = sample_phases(rng, actions, difficulty=difficulty)
    ground = np.array(list(ROLES.values()))
    ground = np.concatenate([ground * (-1, 1), ground]) + rng.normal(0, 0.3, (12, 2))
    stature = rng.uniform(0.93, 1.07, 12)
    camera, ball = sample_camera(rng), sample_ball(rng)
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


def moment(motion: Motion, frame: int) -> Moment:
    """Picks one frame of a clip, 0..T-1, to be drawn."""
    return Moment(
        ground=motion.ground,
        phase=motion.phase[frame],
        stature=motion.stature,
        player=motion.player,
        camera=motion.camera[frame],
        ball=motion.ball[frame],
    )


def annotation_line(motion: Motion, key: int, image_size: tuple[int, int]) -> str:
    """Writes a clip's line of annotations.txt: `<key>.jpg <activity> (X Y W H <action>)*`."""
    people = []
    for box, action in zip(
        _whole_pixels(motion.boxes[FRAMES_BEFORE_KEY], image_size), motion.actions
    ):
        y_min, x_min, y_max, x_max = box
        people.append(f"{x_min} {y_min} {x_max - x_min} {y_max - y_min} {action}")
    return " ".join([f"{key}.jpg", motion.activity, *people])


def track_lines(
    motion: Motion, key: int, image_size: tuple[int, int], order: Int[np.ndarray, "N"]
) -> list[str]:
    """Writes a clip's tracks, `player xmin ymin xmax ymax frame lost grouping generated action `.

    The people stand in the given order, which is not that of the annotation.
    """
    boxes = _whole_pixels(motion.boxes, image_size)
    lines = []
    for track, n in enumerate(order):
        for t in range(NUM_FRAMES):
            y_min, x_min, y_max, x_max = boxes[t, n]
            generated = int(t != FRAMES_BEFORE_KEY)
            place = f"{track} {x_min} {y_min} {x_max} {y_max} {key - FRAMES_BEFORE_KEY + t}"
            lines.append(f"{place} 0 0 {generated} {motion.actions[n]} ")
    return lines


def _whole_pixels(boxes, image_size):
    height, width = image_size
    return np.rint(boxes * np.array([height, width, height, width])).astype(int)


def split_matches(matches: int, *, seed: int) -> dict[str, list[int]]:
    """Deals the matches out to train, validation and test, 9 : 2 : 3, at least one to each."""
    order = np.random.default_rng((seed, matches)).permutation(matches).tolist()
    validation, test = (max(1, round(matches * share / 14)) for share in (2, 3))
    return {
        "train": sorted(order[validation + test :]),
        "validation": sorted(order[:validation]),
        "test": sorted(order[validation : validation + test]),
    }


def synthesize_volleyball(
    out: str | pathlib.Path,
    *,
    matches: int = 14,
    clips_per_match: int = 32,
    seed: int = 0,
    difficulty: float = 0.3,
    image_size: tuple[int, int] = (96, 160),
    progress: Callable[[str], None] = print,
) -> None:
    """Renders matches into a folder; the same call gives the same bytes.

    A folder that the same call has filled is left as it is; one that it began, it finishes.

    Args:
      out: the folder, new or empty.
      matches: how many, 3 at least, so that every split has one.
      clips_per_match: how many clips each has.
      seed: 0 or more; a match depends on the seed and its number alone.
      difficulty: 0..1, see `motion_clip`; also the pictures' noise.
      image_size: height and width of a frame (pixels).
      progress: is told, line by line, how far it is.

    Raises:
      UserError: a number is out of its range, or the folder holds something else.
    """
    _check(matches, clips_per_match, seed, difficulty, image_size)
    out = pathlib.Path(out)
    content = split_matches(matches, seed=seed) | {
        "clips": matches * clips_per_match,
        "made_by": {
            "name": "synthesize_volleyball",
            "version": VERSION,
            "matches": matches,
            "clips_per_match": clips_per_match,
            "seed": seed,
            "difficulty": difficulty,
            "image_size": list(image_size),
        },
    }
    # The splits get their name last: a folder that has them is complete.
    splits, begun = out / "splits.json", out / "splits.json.part"
    if splits.exists() and _read(splits) == content:
        progress(f"{out} is complete already")
        return
    if out.exists() and any(out.iterdir()) and _read(begun) != content:
        raise UserError(f"{out} is not empty and not from this call: name another folder")
    out.mkdir(parents=True, exist_ok=True)
    begun.write_text(json.dumps(content, indent=2) + "\n")
    for match in range(matches):
        _write_match(out, seed, match, clips_per_match, difficulty, image_size)
        progress(f"match {match + 1} of {matches}: {clips_per_match} clips")
    begun.rename(splits)


def _check(matches, clips_per_match, seed, difficulty, image_size):
    height, width = image_size
    for good, message in (
        (matches >= 3, f"matches is {matches}: give 3 or more, one for each split"),
        (clips_per_match >= 1, f"clips_per_match is {clips_per_match}: give 1 or more"),
        (seed >= 0, f"seed is {seed}: give 0 or more"),
        (0 <= difficulty <= 1, f"difficulty is {difficulty}: give a number in 0..1"),
        (height >= 48 and width >= 80, f"image_size is {height} x {width}: give 48 x 80 or more"),
    ):
        if not good:
            raise UserError(message)


def _read(path):
    """Reads a marker; anything that is none is None."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _write_match(out, seed, number, clips, difficulty, image_size):
    """Writes a match, its annotations last: a match that has them is complete."""
    folder = out / "videos" / str(number)
    tracks = out / "volleyball_tracking_annotation" / str(number)
    annotations = folder / "annotations.txt"
    if annotations.exists():
        return
    match = sample_match(seed, number, clips=clips)
    scene = build_scene(match.look, image_size)
    lines = []
    for clip, (key, activity) in enumerate(zip(match.keys, match.activities)):
        rng = clip_generator(seed, number, clip)
        motion = motion_clip(rng, activity, difficulty=difficulty, image_size=image_size)
        lines.append(annotation_line(motion, key, image_size))
        rows = track_lines(motion, key, image_size, rng.permutation(len(motion.actions)))
        _write_lines(tracks / str(key) / f"{key}.txt", rows)
        (folder / str(key)).mkdir(parents=True, exist_ok=True)
        for t in range(NUM_FRAMES):
            pixels = render_frame(rng, scene, moment(motion, t), noise=6 * difficulty)
            path = folder / str(key) / f"{key - FRAMES_BEFORE_KEY + t}.jpg"
            Image.fromarray(pixels).save(path, quality=JPEG_QUALITY)
    _write_lines(annotations, lines)


def _write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
