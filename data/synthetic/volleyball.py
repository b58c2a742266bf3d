"""Renders videos in the datasets' own layouts, to train and try on.

Street scenes, as those of the Collective Activity dataset and its Extended set, are the work of
`data.synthetic.street`; the files, of `synthesize_collective`. Volleyball matches, as those of the
Volleyball Dataset, are made here:

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

from data.annotations import NUM_FRAMES
from data.synthetic import street
from data.synthetic.rendering import (
    Look,
    Motion,
    body_boxes,
    body_position,
    build_scene,
    hsv_colour,
    render_frame,
    sample_light,
    shade,
)
from data.synthetic.street_rendering import build_street, render_street, sample_street_look
from data.volleyball.constants import ACTIONS, ACTIVITIES, FRAMES_BEFORE_KEY
from stvh_jax.errors import UserError

GOLDEN = 0.618034


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


def generator(seed: int, *place: int) -> np.random.Generator:
    """Makes the random generator of a run, of a match `(match)` or of a clip `(match, clip)`.

    No two share a stream, and none depends on how many matches or clips there are.
    """
    # NumPy pads its seeds with zeros, so that (1, 0) would be (1): places count from one.
    return np.random.default_rng((seed, *(number + 1 for number in place)))


def sample_match(seed: int, match: int, *, clips: int) -> Match:
    """Draws a match: its look, and its clips in time, the eight activities equally often.

    The hues of the matches step around the circle by the golden ratio: the first few are as far
    apart as they can be, however many follow.
    """
    rng = generator(seed, match)
    look = sample_look(rng, generator(seed).random() + match * GOLDEN)
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
        jerseys=tuple(shirts),
        shorts=tuple(shade(shirt, rng.choice([0.3, 0.55, 1.0])) for shirt in shirts),
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
    place = rng.uniform((0.93, -0.05, -0.02), (1.05, 0.05, 0.02))
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
    ground = np.concatenate([ground * (-1, 1), ground]) + rng.uniform(-0.5, 0.5, (12, 2))
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
    return _deal(generator(seed).permutation(matches).tolist())


def _deal(order):
    """Deals out a shuffled list, three long at least; each part is in ascending order."""
    validation, test = (max(1, round(len(order) * share / 14)) for share in (2, 3))
    return {
        "train": sorted(order[validation + test :]),
        "validation": sorted(order[:validation]),
        "test": sorted(order[validation : validation + test]),
    }


def synthesize_volleyball(
    out: str | pathlib.Path,
    *,
    matches: int = 22,
    clips_per_match: int = 32,
    seed: int = 0,
    difficulty: float = 0.0,
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
    options = _options(matches, clips_per_match, seed, difficulty, image_size)
    out = pathlib.Path(out)
    content = split_matches(matches, seed=seed) | {
        "clips": matches * clips_per_match,
        "made_by": {"name": "synthesize_volleyball", "version": VERSION, **options},
    }

    def write(match):
        _write_match(out, seed, match, clips_per_match, difficulty, image_size)

    _fill(out, content, write, progress)


def _options(matches, clips_per_match, seed, difficulty, image_size):
    """Gives the options as splits.json has them, if all are in range."""
    height, width = image_size
    for good, message in (
        (matches >= 3, f"matches is {matches}: give 3 or more, one for each split"),
        (clips_per_match >= 1, f"clips_per_match is {clips_per_match}: give 1 or more"),
        (0 <= seed < 2**32, f"seed is {seed}: give a number in 0..2**32-1"),
        (0 <= difficulty <= 1, f"difficulty is {difficulty}: give a number in 0..1"),
        (height >= 48 and width >= 80, f"image_size is {height} x {width}: give 48 x 80 or more"),
    ):
        if not good:
            raise UserError(message)
    return {
        "matches": matches,
        "clips_per_match": clips_per_match,
        "seed": seed,
        "difficulty": difficulty,
        "image_size": [height, width],
    }


def _fill(out, content, write, progress):
    """Fills a folder with matches, by `write(match)`, and then with splits.json.

    A folder that has this very content is left as it is; one that was begun with it is finished.
    """
    # The splits get their name last: a folder that has them is complete.
    splits, begun = out / "splits.json", out / "splits.json.part"
    if splits.exists() and _read(splits) == content:
        progress(f"{out} is complete already")
        return
    if out.is_file():
        raise UserError(f"{out} is a file: name a folder")
    if out.exists() and any(out.iterdir()) and _read(begun) != content:
        raise UserError(f"{out} is not empty and not from this very call: name another folder")
    out.mkdir(parents=True, exist_ok=True)
    begun.write_text(json.dumps(content, indent=2) + "\n")
    matches, clips = (content["made_by"][name] for name in ("matches", "clips_per_match"))
    for match in range(matches):
        write(match)
        progress(f"match {match + 1} of {matches}: {clips} clips")
    begun.rename(splits)


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
        rng = generator(seed, number, clip)
        motion = motion_clip(rng, activity, difficulty=difficulty, image_size=image_size)
        lines.append(annotation_line(motion, key, image_size))
        rows = track_lines(motion, key, image_size, rng.permutation(len(motion.actions)))
        _write_lines(tracks / str(key) / f"{key}.txt", rows)
        (folder / str(key)).mkdir(parents=True, exist_ok=True)
        for t in range(NUM_FRAMES):
            pixels = render_frame(rng, scene, motion, t, noise=6 * difficulty)
            path = folder / str(key) / f"{key - FRAMES_BEFORE_KEY + t}.jpg"
            Image.fromarray(pixels).save(path, quality=JPEG_QUALITY)
    _write_lines(annotations, lines)


def _write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


# The Collective Activity dataset and its Extended set.


def deal_activities(matches: int | None, *, extended: bool) -> tuple[str, ...]:
    """Gives each sequence its activity, in turn, those of the Extended set's own last.

    Args:
      matches: how many sequences; None for 12 of each activity.
      extended: with dancing and jogging.

    Raises:
      UserError: there are too few for every split to have every activity.
    """
    kinds = street.ACTIVITIES if extended else street.ACTIVITIES[: -len(street.EXTENDED)]
    least = 3 * len(kinds)
    if matches is None:
        matches = 4 * least
    if matches < least:
        raise UserError(
            f"matches is {matches}: give {least} or more, 3 of each of {len(kinds)} activities"
        )
    dealt = [kinds[n % len(kinds)] for n in range(matches)]
    return tuple(sorted(dealt, key=lambda activity: activity in street.EXTENDED))


def split_sequences(activities: tuple[str, ...], *, seed: int) -> dict[str, list[int]]:
    """Deals the sequences, numbered from 1, out to train, validation and test, 9 : 2 : 3.

    Each activity's own sequences are dealt out so, at least one to each split.
    """
    order = 1 + generator(seed).permutation(len(activities))
    parts = [
        _deal([n for n in order.tolist() if activities[n - 1] == activity])
        for activity in dict.fromkeys(activities)
    ]
    return {name: sorted(n for part in parts for n in part[name]) for name in parts[0]}


def synthesize_collective(
    out: str | pathlib.Path,
    *,
    extended: bool = False,
    matches: int | None = None,
    clips_per_match: int = 8,
    seed: int = 0,
    difficulty: float = 0.0,
    image_size: tuple[int, int] = (96, 144),
    progress: Callable[[str], None] = print,
) -> None:
    """Renders street scenes into a folder; the same call gives the same bytes.

        OUT/ActivityDataset/seq<NN>/frame<NNNN>.jpg
        OUT/ActivityDataset/seq<NN>/annotations.txt
        OUT/ActivityDataset2/seq<NN>/...                 dancing and jogging, numbered on
        OUT/ActivityTracks/track<N>.dat
        OUT/splits.json

    A folder that the same call has filled is left as it is; one that it began, it finishes.

    Args:
      out: the folder, new or empty.
      extended: with dancing and jogging.
      matches: how many sequences, three of each activity at least: 15, or 21 if extended; twelve
        of each if None.
      clips_per_match: how many key frames each has, ten frames apart.
      seed: 0 or more; with another number of sequences, one of the same number and activity is
        the same.
      difficulty: 0..1, see `street.sample_sequence`; also the noise of boxes and pictures.
      image_size: height and width of a frame (pixels).
      progress: is told, line by line, how far it is.

    Raises:
      UserError: a number is out of its range, or the folder holds something else.
    """
    activities = deal_activities(matches, extended=extended)
    matches = len(activities)
    options = _options(matches, clips_per_match, seed, difficulty, image_size)
    options["extended"] = extended
    out = pathlib.Path(out)
    content = split_sequences(activities, seed=seed) | {
        "key_frames": matches * clips_per_match,
        "made_by": {"name": "synthesize_collective", "version": VERSION, **options},
    }

    def write(match):
        frames = clips_per_match * NUM_FRAMES
        _write_sequence(out, seed, match, activities[match], frames, difficulty, image_size)

    _fill(out, content, write, progress)


def _write_sequence(out, seed, match, activity, frames, difficulty, image_size):
    """Writes a sequence, its annotations last: a sequence that has them is complete."""
    number = match + 1
    archive = "ActivityDataset2" if activity in street.EXTENDED else "ActivityDataset"
    folder = out / archive / f"seq{number:02d}"
    annotations = folder / "annotations.txt"
    if annotations.exists():
        return
    rng = generator(seed, match)
    look = sample_street_look(rng, generator(seed).random() + match * GOLDEN)
    scene = build_street(look, image_size)
    sequence = street.sample_sequence(
        rng, activity, frames=frames, difficulty=difficulty, image_size=image_size
    )
    boxes = {"difficulty": difficulty, "image_size": image_size}
    lines = street.annotation_lines(rng, sequence, **boxes)
    rows = street.track_lines(rng, sequence, **boxes)
    _write_lines(out / "ActivityTracks" / f"track{number}.dat", rows)
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(frames):
        pixels = render_street(rng, scene, sequence, frame, noise=6 * difficulty)
        path = folder / f"frame{frame + 1:04d}.jpg"
        Image.fromarray(pixels).save(path, quality=JPEG_QUALITY)
    _write_lines(annotations, lines)
