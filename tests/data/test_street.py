"""The synthetic street: its files, and that people stand and move as their activity says."""

import collections
import dataclasses
import json
import re

import numpy as np
import pytest
from PIL import Image

from data.collective_activity.constants import CLASSES
from data.synthetic import street, street_rendering, volleyball
from data.tracks import box_iou
from stvh_jax.errors import UserError

SIZE = (96, 144)
ROW = re.compile(r"(\d{3,})\t(-?\d+)\t(-?\d+)\t(\d+)\t(\d+)\t([1-8])\t-1")
TRACKS = re.compile(
    r"Total frames (\d+)\nNumber of Targets (\d+)\n"
    r"((?:Target \d+ \(frames from \d+ to \d+\)\n"
    r"Bounding Boxes \(frame, x, y, width, height\)\n(?:\d+(?:\t-?\d+){4}\n)+"
    r"3D Trajetory \(frame, x, z, height, pose\)\n(?:\d+(?:\t-?\d+\.\d\d){4}\n)+)+)"
)
TARGET = re.compile(
    r"Target (\d+) \(frames from (\d+) to (\d+)\)\nBounding.*\n((?:\d.*\n)+)3D.*\n((?:\d.*\n)+)"
)


def sample(activity, seed=0, frames=80, **options):
    return street.sample_sequence(volleyball.generator(seed), activity, frames=frames, **options)


def in_sight(sequence, frame):
    return [person for person in sequence.people if frame in person.frames]


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
        rng = volleyball.generator(0, n)
        look = street_rendering.sample_street_look(rng, n * volleyball.GOLDEN)
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


# All but the hair.
WHITE = street_rendering.Clothes(*[(250, 250, 250)] * 4, hair=(250, 120, 30))


def blank_scene():
    """A grey street without anything in it, in even light."""
    look = street_rendering.sample_street_look(np.random.default_rng(0), 0.0)
    look = dataclasses.replace(look, blur=0.0, noise=0.0)
    scene = street_rendering.build_street(look, SIZE)
    backdrop = Image.new("RGB", scene.backdrop.size, (120, 120, 120))
    return dataclasses.replace(scene, backdrop=backdrop, light=np.ones((*SIZE, 3), np.float32))


def lone_person(action, gait, heading, place=(0.0, 6.2)):
    """Somebody in white, for one frame."""
    stride = street.GAITS[action].swing if action in street.GAITS else 0.1 * (action == "dancing")
    return street_rendering.Person(
        action=action,
        start=0,
        ground=np.array([place]),
        hop=np.zeros(1),
        heading=np.array([heading]),
        gait=np.array([gait]),
        stride=np.array([stride]),
        stature=1.0,
        clothes=WHITE,
    )


def sequence_of(*people):
    return street_rendering.StreetScene("na", people, np.array([[1.0, 0.0, 0.0]]))


# The files.


def synthesize(out, **options):
    options = {"matches": 15, "clips_per_match": 2, "image_size": (48, 80)} | options
    volleyball.synthesize_collective(out, **({"progress": lambda line: None} | options))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("street") / "out"
    synthesize(out, extended=True, matches=22, seed=11, image_size=SIZE)
    return out


def contents(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def sequences(out):
    """The folders by number."""
    folders = {int(path.name[3:]): path for path in out.glob("ActivityDataset*/seq*")}
    return dict(sorted(folders.items()))


def read_rows(folder):
    """The rows of a sequence's annotations: frame, x, y, width, height, class."""
    lines = (folder / "annotations.txt").read_text()
    assert lines.endswith("\n")
    return np.array([ROW.fullmatch(line).groups() for line in lines.splitlines()], int)


def read_targets(text):
    """The rows of boxes of each target of a track file."""
    total, count, targets = TRACKS.fullmatch(text).groups()
    found = []
    for number, (name, first, last, boxes, walk) in enumerate(TARGET.findall(targets), start=1):
        assert int(name) == number
        boxes = np.array([line.split("\t") for line in boxes.splitlines()], int)
        walk = np.array([line.split("\t") for line in walk.splitlines()], float)
        for rows in (boxes, walk):
            np.testing.assert_array_equal(rows[:, 0], np.arange(int(first), int(last) + 1))
        assert 1 <= int(first) <= int(last) <= int(total)
        assert set(walk[:, 4]) <= set(range(1, 9)) and (walk[:, 3] > 1.5).all()
        found.append(boxes)
    assert len(found) == int(count)
    return found


def corners(rows):
    x, y, width, height = rows.T
    return np.stack([y, x, y + height, x + width], axis=-1)


def test_the_layout_is_the_official_one(made):
    folders = sequences(made)
    assert list(folders) == list(range(1, 23))
    expected = {"splits.json"}
    for number, folder in folders.items():
        rows = read_rows(folder)
        assert sorted(set(rows[:, 0])) == [1, 11]
        assert (rows[:, 0] == np.sort(rows[:, 0])).all()
        assert (rows[:, 3:5] >= 5).all()
        name = f"{folder.parent.name}/seq{number:02d}"
        for frame in range(1, 21):
            with Image.open(made / name / f"frame{frame:04d}.jpg") as image:
                assert image.size == (144, 96) and image.format == "JPEG"
            expected.add(f"{name}/frame{frame:04d}.jpg")
        expected |= {f"{name}/annotations.txt", f"ActivityTracks/track{number}.dat"}
    assert set(contents(made)) == expected


def activity_of(folder):
    """What most people of each key frame do, by the class numbers of the format."""
    rows = read_rows(folder)
    most = {np.bincount(rows[rows[:, 0] == frame, 5]).argmax() for frame in (1, 11)}
    assert len(most) == 1
    return most.pop()


def test_extended_sequences_come_last_in_their_own_folder(made):
    folders = sequences(made)
    activities = {number: activity_of(folder) for number, folder in folders.items()}
    # 22 by seven in turn: one of them, the first, has four.
    assert collections.Counter(activities.values()) == {2: 4, 3: 3, 4: 3, 5: 3, 6: 3, 7: 3, 8: 3}
    for number, folder in folders.items():
        extended = number > 16
        assert folder.parent.name == ("ActivityDataset2" if extended else "ActivityDataset")
        assert (activities[number] > 6) == extended
    assert CLASSES.index("dancing") == 6 and CLASSES.index("na") == 0


def test_every_split_has_every_activity(made):
    splits = json.loads((made / "splits.json").read_text())
    folders = sequences(made)
    keys = sum(len(set(read_rows(folder)[:, 0])) for folder in folders.values())
    assert splits["key_frames"] == keys == 44
    assert splits["made_by"]["extended"] is True
    parts = [splits[name] for name in ("train", "validation", "test")]
    assert sorted(sum(parts, [])) == list(folders)
    for part in parts:
        assert part == sorted(part)
        assert {activity_of(folders[number]) for number in part} == set(range(2, 9))


@pytest.mark.parametrize(("matches", "counts"), [(15, (5, 5, 5)), (70, (45, 10, 15))])
def test_splits_are_nine_to_two_to_three(matches, counts):
    activities = volleyball.deal_activities(matches, extended=False)
    split = volleyball.split_sequences(activities, seed=0)
    assert tuple(map(len, split.values())) == counts
    assert volleyball.split_sequences(activities, seed=1) != split


def test_annotated_people_are_those_that_are_tracked(made):
    tracked = total = 0
    shuffled = False
    for number, folder in sequences(made).items():
        rows = read_rows(folder)
        targets = read_targets((made / "ActivityTracks" / f"track{number}.dat").read_text())
        for frame in (1, 11):
            annotated = corners(rows[rows[:, 0] == frame, 1:5])
            boxes = [target[target[:, 0] == frame, 1:] for target in targets]
            overlap = box_iou(annotated, corners(np.concatenate(boxes)))
            # Nobody is tracked who is not annotated, but some are not tracked.
            assert (overlap.max(axis=0) > 0.7).all()
            assert overlap.shape[1] <= overlap.shape[0]
            tracked, total = tracked + overlap.shape[1], total + overlap.shape[0]
            shuffled |= (np.diff(overlap.argmax(axis=0)) < 0).any()
    assert shuffled
    assert 0.75 < tracked / total < 0.97


def test_untracked_and_unsteady_shares():
    rng = np.random.default_rng(0)
    missing, off = [], collections.defaultdict(list)
    for seed in range(150):
        sequence = sample(street.ACTIVITIES[seed % 7], seed, frames=10)
        targets = read_targets("".join(f"{line}\n" for line in street.track_lines(rng, sequence)))
        missing.append(1 - len(targets) / len(sequence.people))
        for difficulty in (0.0, 1.0):
            lines = street.annotation_lines(rng, sequence, difficulty=difficulty)
            rows = np.array([ROW.fullmatch(line).groups() for line in lines], int)
            assert len(rows) == len(in_sight(sequence, 0))
            boxes = [
                street_rendering.person_boxes(person, sequence.camera, SIZE)[0]
                for person in in_sight(sequence, 0)
            ]
            overlap = box_iou(corners(rows[:, 1:5]), np.array(boxes))
            off[difficulty].extend(1 - overlap.max(axis=1))
            # The class is the person's own.
            actions = sorted(CLASSES.index(p.action) + 1 for p in in_sight(sequence, 0))
            assert sorted(rows[:, 5]) == actions
    assert np.mean(missing) == pytest.approx(0.13, abs=0.03)
    assert 0.02 < np.mean(off[0.0]) < 0.1 and np.mean(off[1.0]) > 2 * np.mean(off[0.0])


def test_poses_are_eighths_of_a_turn():
    for heading, pose in ((0.0, 1), (-np.pi / 2, 3), (np.pi, 5), (np.pi / 2, 7), (0.8, 8)):
        sequence = sequence_of(lone_person("na", 0.0, heading))
        last = street.track_lines(np.random.default_rng(0), sequence)[-1]
        assert last == f"1\t0.00\t6.20\t1.75\t{pose}.00"


@pytest.mark.slow
def test_same_bytes_on_every_run_and_for_any_number_of_sequences(tmp_path):
    synthesize(tmp_path / "one", clips_per_match=1)
    synthesize(tmp_path / "two", clips_per_match=1, matches=21, extended=True)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert len(two) > len(one)
    for name in one.keys() - {"splits.json"}:
        assert one[name] == two[name], name
    synthesize(tmp_path / "three", clips_per_match=1, seed=1)
    three = contents(tmp_path / "three")
    frames = [name for name in one if name.endswith(".jpg")]
    assert all(one[name] != three[name] for name in frames)


def test_a_finished_folder_is_left_and_a_begun_one_finished(tmp_path):
    lines = []

    def call(progress=lines.append, **options):
        synthesize(tmp_path / "out", clips_per_match=1, progress=progress, **options)

    class Interrupted(Exception):
        pass

    def interrupt(line):
        raise Interrupted

    with pytest.raises(Interrupted):
        call(progress=interrupt)
    assert not (tmp_path / "out" / "splits.json").exists()
    begun = tmp_path / "out" / "ActivityDataset" / "seq01" / "annotations.txt"
    time = begun.stat().st_mtime_ns
    # A sequence cut off before its annotations is written anew.
    half = tmp_path / "out" / "ActivityDataset" / "seq02"
    half.mkdir()
    (half / "frame0001.jpg").write_bytes(b"cut off")
    call()
    assert [line.split(":")[0] for line in lines] == [f"match {n} of 15" for n in range(1, 16)]
    assert begun.stat().st_mtime_ns == time
    finished = contents(tmp_path / "out")
    call()
    assert lines[-1].endswith("complete already") and len(lines) == 16
    assert contents(tmp_path / "out") == finished
    synthesize(tmp_path / "fresh", clips_per_match=1)
    assert contents(tmp_path / "fresh") == finished
    for options in ({"seed": 1}, {"extended": True, "matches": 21}):
        with pytest.raises(UserError, match="not empty"):
            call(**options)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"matches": 14}, "matches is 14: give 15 or more, 3 of each of 5 activities"),
        ({"matches": 20, "extended": True}, "matches is 20: give 21 or more"),
        ({"clips_per_match": 0}, "clips_per_match is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"difficulty": -0.5}, "difficulty is -0.5"),
        ({"image_size": (40, 160)}, "image_size is 40 x 160"),
    ],
)
def test_numbers_out_of_range_are_the_users_to_mend(tmp_path, options, word):
    with pytest.raises(UserError, match=word) as caught:
        synthesize(tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_other_peoples_files_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(UserError, match="name a"):
            synthesize(out)
    assert contents(tmp_path) == {"mine.txt": b"mine"}
