"""Samples who does what in a synthetic street; `street_files` writes it.

An activity shows in where people stand on a street that is the same everywhere, how they are turned
to each other, and how they move: across the zebra crossing, at the kerb, in a line, along the
pavement, in circles. The look of a sequence is drawn without looking at any of it.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from data.collective_activity.constants import CLASSES
from data.synthetic.scene import hsv_colour
from data.synthetic.street_rendering import (
    DOORS,
    FAR_KERB,
    NEAR_KERB,
    SHOPS,
    Clothes,
    Person,
    StreetScene,
    edge_of,
)

ACTIVITIES = CLASSES[1:]
EXTENDED = ("dancing", "jogging")  # the Extended set's own, the last of them

MAX_PEOPLE = 11

# The least and the greatest number of people who do what the sequence shows.
ACTORS = {
    "crossing": (3, 8),
    "waiting": (2, 7),
    "queueing": (3, 8),
    "walking": (2, 7),
    "talking": (2, 8),
    "dancing": (3, 8),
    "jogging": (2, 5),
}


class Gait(NamedTuple):
    """How somebody walks: speed (m per frame), length of two steps, swing and bounce (m)."""

    speed: float
    pace: float
    swing: float
    bounce: float


_WALK = Gait(speed=0.1, pace=1.4, swing=0.32, bounce=0.0)
_JOG = Gait(speed=0.25, pace=2.4, swing=0.42, bounce=0.12)
GAITS = {"crossing": _WALK, "walking": _WALK, "jogging": _JOG}

# What a passer-by may do; in a street one in fifty people does nothing that has a name.
PASSERS_BY = ("walking", "crossing", "waiting")
NAMELESS = 0.2

TURN = 2 * math.pi


def sample_sequence(
    rng: np.random.Generator,
    activity: str,
    *,
    frames: int,
    difficulty: float = 0.0,
    image_size: tuple[int, int] = (96, 144),
) -> StreetScene:
    """Draws a sequence, without drawing a picture.

    At every frame there are 1..11 people, and more than half of them do the activity. Whoever
    goes somewhere comes from outside the frame or out of a door, and is followed by somebody
    else; the others stay.

    Args:
      rng: the sequence's generator.
      activity: one of CLASSES but "na".
      frames: how many.
      difficulty: 0..1; how many people do something else.
      image_size: height and width (pixels); where the frame ends is where people come from.
    """
    low, high = ACTORS[activity]
    count = int(rng.integers(low, high + 1))
    room = min(count - 1, MAX_PEOPLE - count)
    others = [action for action in PASSERS_BY if action != activity]
    people = _people(rng, activity, count, frames, image_size)
    for _ in range(rng.binomial(room, 0.2 + 0.5 * difficulty)):
        action = "na" if rng.random() < NAMELESS else others[rng.integers(len(others))]
        people += _people(rng, action, 1, frames, image_size)
    return StreetScene(activity, tuple(people), sample_hand(rng, frames))


def sample_hand(rng: np.random.Generator, frames: int) -> Float[np.ndarray, "T 3"]:
    """Draws zoom, pan and tilt of a camera held by hand: a slow drift and a jitter."""
    time = np.arange(frames)[:, None]
    drift = np.sin(TURN * (time / rng.uniform(60, 200, 3) + rng.random(3)))
    jitter = rng.standard_normal((frames, 3)) * (0, 0.002, 0.002)
    return np.array([1.0, 0.0, 0.0]) + drift * (0.015, 0.02, 0.01) + jitter


def sample_clothes(rng: np.random.Generator) -> Clothes:
    """Draws what a person wears, without looking at the street."""
    tone = rng.uniform(0.45, 1.0)
    return Clothes(
        top=hsv_colour(rng.random(), rng.uniform(0.2, 0.9), rng.uniform(0.3, 0.95)),
        legs=hsv_colour(rng.uniform(0.55, 0.7), rng.uniform(0.1, 0.6), rng.uniform(0.15, 0.5)),
        shoes=hsv_colour(0.08, 0.3, rng.choice([0.12, 0.9])),
        skin=(round(248 * tone), round(205 * tone), round(172 * tone)),
        hair=hsv_colour(rng.uniform(0.02, 0.12), 0.6, rng.uniform(0.05, 0.45)),
    )


def _people(rng, action, count, frames, image_size) -> list[Person]:
    """Draws people of one action, `count` of them in sight at every frame."""
    if action in GAITS:
        lanes = (np.arange(count) + rng.random(count)) / count
        return [
            person
            for lane in rng.permutation(lanes)
            for person in _passers(rng, action, lane, frames, image_size)
        ]
    places = PLACES[action](rng, count)
    return [_standing(rng, action, place[:2], place[2], frames) for place in places]


# Those who go somewhere.


def _passers(rng, action, lane, frames, image_size) -> Iterator[Person]:
    """Draws people on a lane, 0..1 from near to far, the next one as the last is out of sight."""
    begun = rng.random()  # the first is somewhere on the way
    frame = 0
    while frame < frames:
        person = _passer(rng, action, lane, begun, frame, frames, image_size)
        yield person
        begun, frame = 0.0, person.frames.stop


def _passer(rng, action, lane, begun, start, frames, image_size) -> Person:
    gait = GAITS[action]
    speed = gait.speed * rng.uniform(0.85, 1.15)
    way = WAYS[action](rng, lane, image_size)
    if rng.random() < 0.5:
        way = way[::-1]
    step = way[1] - way[0]
    length = np.hypot(*step)
    walked = np.arange(begun * length, length, speed)[: frames - start]
    phase = TURN * (walked / gait.pace + rng.random())
    return Person(
        action=action,
        start=start,
        ground=way[0] + walked[:, None] / length * step,
        hop=gait.bounce * np.abs(np.cos(phase)),
        heading=np.full(len(walked), math.atan2(step[1], step[0])),
        gait=phase,
        stride=np.full(len(walked), gait.swing),
        stature=rng.uniform(0.92, 1.08),
        clothes=sample_clothes(rng),
    )


def _way_along(rng, lane, image_size):
    """From the left edge of the frame to the right one, along the pavement."""
    depth = 5.7 + 2.1 * lane
    end = edge_of(depth, image_size) - 0.2
    return np.array([[-end, depth], [end, depth + rng.uniform(-0.2, 0.2)]])


def _way_across(rng, lane, image_size):
    """From either edge of the frame across the road into a door of the shops."""
    depth = 7.2 + 0.8 * lane
    side = rng.choice([-1, 1])
    return np.array(
        [
            [side * (edge_of(depth, image_size) - 0.2), depth],
            [rng.choice(DOORS) + rng.uniform(-0.3, 0.3), SHOPS - 0.1],
        ]
    )


WAYS = {"crossing": _way_across, "walking": _way_along, "jogging": _way_along}


# Those who stay where they are: places of so many people, X, Y (m) and heading.


def _at_the_kerb(rng, count) -> Float[np.ndarray, "n 3"]:
    """Along one side of the road, all turned to it."""
    near = rng.random() < 0.7
    depth = NEAR_KERB - 0.35 if near else FAR_KERB + 0.35
    x = (np.arange(count) - (count - 1) / 2) * rng.uniform(0.7, 0.9)
    x += rng.uniform(-1, 1) * (3.7 - x[-1])
    return np.stack(
        [
            x + rng.uniform(-0.1, 0.1, count),
            depth + rng.uniform(-0.2, 0.2, count),
            (math.pi / 2 if near else -math.pi / 2) + rng.uniform(-0.4, 0.4, count),
        ],
        axis=-1,
    )


def _in_a_line(rng, count) -> Float[np.ndarray, "n 3"]:
    """One behind the other, all turned to the head of the line."""
    heading = rng.uniform(-0.25, 0.25) + math.pi * rng.integers(2)
    behind = (np.arange(count) - (count - 1) / 2) * rng.uniform(0.62, 0.75)
    x = rng.uniform(-0.3, 0.3) - behind * math.cos(heading)
    y = rng.uniform(6.5, 7.2) - behind * math.sin(heading)
    return np.stack([x, y, heading + rng.uniform(-0.15, 0.15, count)], axis=-1)


def _in_circles(rng, count) -> Float[np.ndarray, "n 3"]:
    """One circle or two, each person turned to its middle."""
    sizes = [count] if count <= 4 else [count // 2, count - count // 2]
    middles = [rng.uniform(-0.8, 0.8)] if len(sizes) == 1 else [-1.6, 1.6]
    places = []
    for size, middle in zip(sizes, middles):
        angle = TURN * (np.arange(size) / size + rng.random()) + rng.uniform(-0.15, 0.15, size)
        radius = 0.35 + 0.1 * size
        x = middle + rng.uniform(-0.2, 0.2) + radius * np.cos(angle)
        y = rng.uniform(6.6, 7.1) + radius * np.sin(angle)
        places.append(np.stack([x, y, angle + math.pi], axis=-1))
    return np.concatenate(places)


def _on_the_floor(rng, count) -> Float[np.ndarray, "n 3"]:
    """Spread over the pavement, more or less turned to the camera."""
    x = (np.arange(count) - (count - 1) / 2) * 4.8 / count + rng.uniform(-0.2, 0.2, count)
    y = np.where(np.arange(count) % 2, 6.2, 7.5) + rng.uniform(-0.3, 0.3, count)
    return np.stack([x, y, -math.pi / 2 + rng.uniform(-0.6, 0.6, count)], axis=-1)


def _anywhere(rng, count) -> Float[np.ndarray, "n 3"]:
    """On the pavement, turned to anywhere."""
    return rng.uniform((-2.5, 6.0, 0.0), (2.5, 7.6, TURN), (count, 3))


PLACES = {
    "waiting": _at_the_kerb,
    "queueing": _in_a_line,
    "talking": _in_circles,
    "dancing": _on_the_floor,
    "na": _anywhere,
}


def _standing(rng, action, place, heading, frames) -> Person:
    """Draws somebody who stays, and sways, shuffles, talks or dances there."""
    time = np.arange(frames)
    beat = TURN * (time / rng.uniform(9, 12) + rng.random())
    still = np.zeros(frames)
    ahead, hop, stride = 0.02 * np.sin(beat / 4), still, still
    aside = 0.02 * np.sin(beat / 5)
    if action == "queueing":
        ahead = _shuffle(rng, frames)
        stride = np.where(np.gradient(ahead) != 0, 0.12, 0.0)
    if action == "dancing":
        aside, hop, stride = 0.15 * np.sin(beat / 2), 0.15 * (1 + np.cos(beat)) / 2, still + 0.1
    c, s = math.cos(heading), math.sin(heading)
    return Person(
        action=action,
        start=0,
        ground=place + np.stack([ahead * c - aside * s, ahead * s + aside * c], axis=-1),
        hop=hop,
        heading=heading + 0.1 * np.sin(beat / 3),
        gait=beat,
        stride=stride,
        stature=rng.uniform(0.92, 1.08),
        clothes=sample_clothes(rng),
    )


def _shuffle(rng, frames) -> Float[np.ndarray, "T"]:
    """Draws a way along a line (m): still, and now and then a short step to elsewhere."""
    steps = frames // 20 + 2
    begin = np.cumsum(rng.integers(20, 60, steps)) - 20
    way = rng.uniform(-0.2, 0.2, steps + 1)
    return np.interp(
        np.arange(frames),
        np.stack([begin, begin + 5], axis=-1).ravel(),
        np.stack([way[:-1], way[1:]], axis=-1).ravel(),
    )
