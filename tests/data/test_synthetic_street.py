"""The synthetic street: people stand and move as their activity says."""

import collections
import dataclasses

import numpy as np
import pytest

from data.collective_activity.constants import CLASSES
from data.synthetic import street, street_rendering
from data.synthetic.scene import GOLDEN, generator
from tests.helpers.streets import (
    SIZE,
    WHITE,
    blank_scene,
    in_sight,
    lone_person,
    sample,
    sequence_of,
)

# What people do.


@pytest.mark.parametrize("difficulty", [0.0, 1.0])
@pytest.mark.parametrize("activity", street.ACTIVITIES)
def test_one_to_eleven_are_seen_and_most_do_the_activity(activity, difficulty):
    numbers = set()
    for seed in range(40):
        sequence = sample(activity, seed, difficulty=difficulty)
        for frame in range(80):
            actions = [person.action for person in in_sight(sequence, frame)]
            assert 1 <= len(actions) <= 11
            assert actions.count(activity) > len(actions) / 2
            numbers.add(len(actions))
    assert len(numbers) > 3


def test_difficulty_adds_people_who_do_something_else():
    def others(difficulty):
        actions = collections.Counter(
            person.action == activity
            for activity in street.ACTIVITIES
            for seed in range(40)
            for person in in_sight(sample(activity, seed, difficulty=difficulty), 0)
        )
        return actions[False] / actions.total()

    easy, hard = others(0.0), others(1.0)
    assert 0.05 < easy < 0.2 and 0.25 < hard < 0.4


def test_speeds_tell_the_activities_apart():
    # Metres over ten frames, and what the boxes show of it in pixels, beside the camera's share.
    metres, pixels = (collections.defaultdict(list) for _ in range(2))
    for activity in street.ACTIVITIES:
        for seed in range(10):
            sequence = sample(activity, seed)
            for person in sequence.people:
                if person.action == activity and len(person.ground) > 10:
                    boxes = street_rendering.person_boxes(person, sequence.camera, SIZE)
                    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
                    way = np.linalg.norm(person.ground[10:] - person.ground[:-10], axis=1)
                    metres[activity].append(way.mean())
                    pixels[activity].append(np.abs(centre[10:] - centre[:-10])[:, 1].mean())
    metres, pixels = ({k: np.mean(v) for k, v in d.items()} for d in (metres, pixels))
    for activity in ("crossing", "walking"):
        assert metres[activity] == pytest.approx(1.0, rel=0.1)
    assert metres["jogging"] == pytest.approx(2.5, rel=0.1)
    for activity in ("waiting", "queueing", "talking"):
        assert metres[activity] < 0.12
        assert pixels[activity] < 3
    assert metres["waiting"] < metres["queueing"]  # which now and then moves on
    assert 0.12 < metres["dancing"] < 0.4
    assert pixels["walking"] > 13 and pixels["jogging"] > 2 * pixels["walking"]
    assert 4 < pixels["crossing"] < pixels["walking"]


def test_dancers_and_joggers_leave_the_ground():
    for activity in street.ACTIVITIES:
        for person in in_sight(sample(activity), 0):
            bounces = person.action in ("dancing", "jogging")
            assert (np.ptp(person.hop) > 0.1) == bounces
            assert person.hop.min() >= 0


def actors(activity, seed):
    people = [person for person in sample(activity, seed).people if person.action == activity]
    places = np.array([person.ground[0] for person in people])
    return places, np.array([person.heading.mean() for person in people])


@pytest.mark.parametrize("seed", range(10))
def test_those_who_wait_stand_at_a_kerb_and_face_the_road(seed):
    places, headings = actors("waiting", seed)
    near = places[:, 1] < street_rendering.NEAR_KERB
    assert near.all() or (places[:, 1] > street_rendering.FAR_KERB).all()
    to_road = 1 if near.all() else -1
    assert (to_road * np.sin(headings) > 0.7).all()


@pytest.mark.parametrize("seed", range(10))
def test_a_queue_is_a_line_in_which_all_look_at_the_back_before_them(seed):
    places, headings = actors("queueing", seed)
    gaps = places[:-1] - places[1:]
    ahead = np.stack([np.cos(headings[1:]), np.sin(headings[1:])], axis=-1)
    assert (np.sum(gaps * ahead, axis=1) > 0.9 * np.linalg.norm(gaps, axis=1)).all()
    assert np.linalg.svd(places - places.mean(axis=0))[1][1] < 0.25


@pytest.mark.parametrize("seed", range(10))
def test_those_who_talk_face_somebody_near(seed):
    places, headings = actors("talking", seed)
    ahead = np.stack([np.cos(headings), np.sin(headings)], axis=-1)
    for n, place in enumerate(places):
        to_others = np.delete(places, n, axis=0) - place
        distances = np.linalg.norm(to_others, axis=1)
        faced = to_others @ ahead[n] > 0.6 * distances
        assert distances[faced].min() < 2


@pytest.mark.parametrize("seed", range(10))
def test_those_who_cross_go_over_the_zebra_from_kerb_to_kerb(seed):
    sequence = sample("crossing", seed, frames=300)
    # The last ones are still on their way, the first were on it before.
    whole = [p for p in sequence.people if p.start > 0 and p.frames.stop < 300]
    whole = [p for p in whole if p.action == "crossing"]
    assert whole
    for person in whole:
        x, y = person.ground.T
        assert y.min() < street_rendering.NEAR_KERB and y.max() > street_rendering.FAR_KERB
        on_road = (y > street_rendering.NEAR_KERB) & (y < street_rendering.FAR_KERB)
        assert on_road.mean() > 0.5
        assert (np.abs(x[on_road]) < street_rendering.ZEBRA_HALF_WIDTH).mean() > 0.9


@pytest.mark.parametrize("activity", ["crossing", "walking", "jogging"])
def test_people_come_and_go_at_the_edges_or_through_a_door(activity):
    sequence = sample(activity, frames=200)
    for person in sequence.people:
        ends = [person.ground[0]] * (person.start > 0)
        ends += [person.ground[-1]] * (person.frames.stop < 200)
        if person.action in street.GAITS:
            for x, y in ends:
                at_edge = abs(abs(x) - street_rendering.edge_of(y, SIZE)) < 0.8
                at_door = y > street_rendering.SHOPS - 0.5
                assert at_edge or at_door
        else:
            assert not ends
    later = [person for person in sequence.people if person.start > 0]
    assert len({person.clothes for person in sequence.people}) == len(sequence.people)
    assert len(later) > 3


def test_the_hand_moves_all_boxes_together():
    sequence = sample("waiting", 1, frames=100)
    camera = sequence.camera
    assert np.ptp(camera[:, 1]) * SIZE[0] > 1 and np.std(np.diff(camera[:, 1])) > 0.001
    still = np.tile([1.0, 0.0, 0.0], (100, 1))
    moves = []
    for person in in_sight(sequence, 0):
        if person.action == "waiting":
            boxes = street_rendering.person_boxes(person, camera, SIZE)
            moves.append(boxes - street_rendering.person_boxes(person, still, SIZE))
    moves = np.array(moves)[:, :, 3]
    assert np.ptp(moves[0]) > 1
    # The zoom moves the sides apart, by less than the pan moves them.
    assert np.ptp(moves - moves.mean(axis=0), axis=0).max() < 3
    assert np.corrcoef(moves)[0, 1] > 0.8


# What is drawn.


def test_box_of_a_person_by_hand():
    # 10 m away in a frame of 100 rows, a metre is 1.5 / 10 of them.
    person = lone_person("na", 0.0, 0.0, place=(2.0, 10.0))
    (box,) = street_rendering.person_boxes(person, np.array([[1.0, 0.0, 0.0]]), (100, 200))
    foot = 100 * street_rendering.HORIZON + 3 * 15
    expected = [foot - 2.1 * 15, 130 - 0.55 * 15, foot + 0.1 * 15, 130 + 0.55 * 15]
    np.testing.assert_allclose(box, expected, rtol=1e-12)


def test_boxes_contain_the_drawn_people():
    rng = np.random.default_rng(0)
    scene = blank_scene()
    empty = sequence_of()
    backdrop = street_rendering.render_street(rng, scene, empty, 0).astype(int)
    for action in CLASSES:
        space = []
        for _ in range(25):
            gait, heading = rng.uniform(0, 2 * np.pi, 2)
            person = lone_person(action, gait, heading)
            frame = street_rendering.render_street(rng, scene, sequence_of(person), 0)
            (box,) = street_rendering.person_boxes(person, empty.camera, SIZE)
            # A shadow darkens by a third, the white clothes stand out by more.
            drawn = np.argwhere((frame - backdrop).max(axis=2) > 40)
            space.append([*(drawn.min(axis=0) - box[:2]), *(box[2:] - drawn.max(axis=0) - 1)])
        space = np.array(space)
        assert space.min() > -1, (action, space.min(axis=0))
        assert space[:, [0, 2]].sum(axis=1).max() < 14, action  # of 50 rows


def test_headings_and_gaits_show():
    scene, rng = blank_scene(), np.random.default_rng(0)

    def picture(*args):
        sequence = sequence_of(lone_person(*args))
        return street_rendering.render_street(rng, scene, sequence, 0).astype(float)

    # In a mirror the left foot is the right one.
    right, left = picture("walking", 0.5, 0.0), picture("walking", 0.5 + np.pi, np.pi)
    assert np.abs(right - left).mean() > 3 * np.abs(right - left[:, ::-1]).mean()
    # A face to the camera, none from behind.
    front, back = picture("na", 0.5, -np.pi / 2), picture("na", 0.5, np.pi / 2)
    assert np.abs(front - back).max() > 60
    # Only those who move their limbs.
    assert np.abs(right - picture("walking", 2.0, 0.0)).max() > 60
    assert np.abs(picture("dancing", 0.5, 0.0) - picture("na", 0.5, 0.0)).max() > 60


def test_the_near_ones_hide_the_far_ones():
    scene, rng = blank_scene(), np.random.default_rng(0)
    red = dataclasses.replace(WHITE, top=(250, 30, 30))
    near = lone_person("na", 0.0, 0.0, place=(0.0, 6.0))
    far = dataclasses.replace(lone_person("na", 0.0, 0.0, place=(0.0, 6.4)), clothes=red)
    pictures = [
        street_rendering.render_street(rng, scene, sequence_of(*people), 0)
        for people in ((near, far), (far, near))
    ]
    np.testing.assert_array_equal(*pictures)
    chest = street_rendering.person_boxes(near, np.array([[1.0, 0.0, 0.0]]), SIZE)[0]
    y, x = round(chest[0] * 0.5 + chest[2] * 0.5), round((chest[1] + chest[3]) / 2)
    assert pictures[0][y, x].min() > 200


def test_colours_tell_the_sequence_and_not_the_activity():
    means, looks = [], []
    for n in range(10):
        rng = generator(0, n)
        look = street_rendering.sample_street_look(rng, n * GOLDEN)
        scene = street_rendering.build_street(look, SIZE)
        sequence = street.sample_sequence(rng, street.ACTIVITIES[n % 7], frames=60)
        for frame in (0, 30, 59):
            picture = street_rendering.render_street(rng, scene, sequence, frame)
            means.append(picture.reshape(3, 32, -1, 3).mean(axis=(1, 2)).ravel())
        looks.append(look)
    means = np.array(means).reshape(10, 3, -1)
    distances = np.linalg.norm(means[:, 1:, None] - means[None, None, :, 0], axis=-1)
    assert np.mean(distances.argmin(axis=-1) == np.arange(10)[:, None]) >= 0.9
    assert len(set(looks)) == 10
