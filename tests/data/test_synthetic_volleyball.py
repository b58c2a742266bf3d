"""The synthetic matches: motion alone tells what happens, and the pictures show it."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from data.synthetic import volleyball, volleyball_rendering
from data.synthetic.scene import generator
from data.volleyball.constants import ACTIONS, ACTIVITIES

pytestmark = pytest.mark.slow

SIZE = (96, 160)


# Two small classifiers, and the accuracy that guessing does not reach.


def linear_accuracy(features, labels):
    """Least squares onto one-hot classes; trained on the first half, judged on the other."""
    features = features.reshape(len(features), -1)
    features = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    half = len(labels) // 2
    weights = np.linalg.lstsq(features[:half], np.eye(labels.max() + 1)[labels[:half]])[0]
    return np.mean(np.argmax(features[half:] @ weights, axis=1) == labels[half:])


def neighbour_accuracy(features, labels, scaled=True):
    """The nearest neighbour of the first half; judged on the other."""
    features = features.reshape(len(features), -1)
    if scaled:
        features = (features - features.mean(0)) / (features.std(0) + 1e-9)
    half = len(labels) // 2
    train, test = features[:half], features[half:]
    distances = (train**2).sum(1) - 2 * test @ train.T
    return np.mean(labels[:half][np.argmin(distances, axis=1)] == labels[half:])


def guessing(chance, count):
    """Four binomial standard deviations above chance."""
    return chance + 4 * np.sqrt(chance * (1 - chance) / count)


@dataclasses.dataclass
class Sample:
    """Clips with a slot for each of the twelve players; zero and -1 where one is missing."""

    seen: np.ndarray  # [B, 12]
    action: np.ndarray  # [B, 12]
    activity: np.ndarray  # [B]
    phase: np.ndarray  # [B, T, 12, 2]
    boxes: np.ndarray  # [B, T, 12, 4]

    def pose(self):
        """What a picture shows of the phases: their cosines and sines."""
        pose = np.concatenate([np.cos(self.phase), np.sin(self.phase)], axis=-1)
        return pose * self.seen[:, None, :, None]


def sample(names, generators, difficulty):
    count = len(names)
    out = Sample(
        seen=np.zeros((count, 12)),
        action=np.full((count, 12), -1),
        activity=np.array([ACTIVITIES.index(name) for name in names]),
        phase=np.zeros((count, 10, 12, 2)),
        boxes=np.zeros((count, 10, 12, 4)),
    )
    for b, (name, rng) in enumerate(zip(names, generators)):
        motion = volleyball.motion_clip(rng, name, difficulty=difficulty, image_size=SIZE)
        out.seen[b, motion.player] = 1
        out.action[b, motion.player] = [ACTIONS.index(action) for action in motion.actions]
        out.phase[b][:, motion.player] = motion.phase
        out.boxes[b][:, motion.player] = motion.boxes
    return out


@pytest.fixture(scope="module")
def clips():
    """3000 clips of one endless match at the default difficulty, the activities shuffled."""
    names = np.random.default_rng(1).permutation(np.resize(ACTIVITIES, 3000))
    return sample(names, (generator(7, 0, n) for n in range(3000)), 0.3)


# What one frame says, and what ten say.


@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_phases_at_one_frame_are_uniform_whatever_the_action(difficulty):
    rng = np.random.default_rng(3)
    for action in ACTIONS:
        phases = volleyball.sample_phases(rng, (action,) * 2000, 10, difficulty=difficulty)
        for t in (0, 5, 9):
            turns = np.mod(phases[t] / (2 * np.pi), 1)
            for axis in range(2):
                assert stats.kstest(turns[:, axis], "uniform").pvalue > 1e-4
            # The two axes tell nothing of each other either.
            assert abs(np.mean(np.exp(2j * np.pi * (turns[:, 0] - turns[:, 1])))) < 0.09


def test_a_picture_is_made_of_its_own_frame_alone():
    rng = generator(5, 0, 0)
    motion = volleyball.motion_clip(rng, "r_spike")
    scene = volleyball_rendering.build_scene(volleyball.sample_match(5, 0, clips=1).look, SIZE)
    noise = generator(5, 1)
    phase = np.full_like(motion.phase, 0.5)
    phase[4] = motion.phase[4]
    other = dataclasses.replace(
        motion, activity="l_pass", actions=("standing",) * len(motion.actions), phase=phase
    )
    expected = volleyball_rendering.render_frame(noise, scene, motion, 4)
    found = volleyball_rendering.render_frame(generator(5, 1), scene, other, 4)
    np.testing.assert_array_equal(found, expected)
    moved = volleyball_rendering.render_frame(generator(5, 1), scene, other, 5)
    assert np.mean(np.abs(moved.astype(float) - expected)) > 1


@pytest.mark.parametrize("t", [0, 5, 9])
def test_one_frame_does_not_tell_the_activity(clips, t):
    features = np.concatenate([clips.pose()[:, t], clips.boxes[:, t]], axis=-1)
    bound = guessing(1 / 8, 1500)
    assert linear_accuracy(features, clips.activity) < bound
    assert neighbour_accuracy(features, clips.activity) < bound
    # Nor do products of what it shows.
    pose = clips.pose()[:, t].reshape(3000, -1)
    products = np.concatenate([pose[:, :-1] * pose[:, 1:], pose**2], axis=1)
    assert linear_accuracy(products, clips.activity) < bound


def test_changes_between_frames_tell_the_activity(clips):
    change = np.square(np.diff(clips.pose(), axis=1)).mean(axis=1)
    assert linear_accuracy(change, clips.activity) > 0.9
    # The boxes alone move enough, once the camera's motion is taken out of them.
    centre = (clips.boxes[..., :2] + clips.boxes[..., 2:]) / 2
    step = np.diff(centre, axis=1)
    camera = np.sum(step * clips.seen[:, None, :, None], axis=2) / clips.seen.sum(1)[:, None, None]
    step = (step - camera[:, :, None]) * clips.seen[:, None, :, None]
    assert linear_accuracy(np.abs(step).mean(axis=1), clips.activity) > 0.9


def test_ten_frames_of_a_player_tell_the_action(clips):
    seen = clips.seen.astype(bool)
    # Only what is plain to see: how far the legs are apart and how high the arms are.
    shown = np.stack([np.cos(clips.phase[..., 0]), np.sin(clips.phase[..., 1])], axis=-1)
    shown = shown.swapaxes(1, 2)[seen]
    lags = [np.square(shown[:, lag:] - shown[:, :-lag]).mean(axis=1) for lag in (1, 2, 3)]
    features, labels = np.sqrt(np.concatenate(lags, axis=1))[:8000], clips.action[seen][:8000]
    assert neighbour_accuracy(features, labels) > 0.95


@pytest.mark.parametrize("t", [0, 5, 9])
def test_one_frame_of_a_player_does_not_tell_the_action(clips, t):
    # Where a player stands tells the role, and roles differ in what they do: ask each role alone.
    features = np.concatenate([clips.pose()[:, t], clips.boxes[:, t]], axis=-1)
    for role in range(12):
        seen = clips.seen[:, role] > 0
        labels = clips.action[seen, role]
        half = len(labels) // 2
        majority = np.bincount(labels[half:]).max() / (len(labels) - half)
        bound = guessing(majority, len(labels) - half)
        assert linear_accuracy(features[seen, role], labels) < bound
        # A nearest neighbour guesses in proportion to the classes.
        shares = np.bincount(labels) / len(labels)
        bound = guessing(np.sum(shares**2), len(labels) - half)
        assert neighbour_accuracy(features[seen, role], labels) < bound


@pytest.mark.parametrize("frames", [slice(5, 6), slice(0, 10)])
def test_boxes_do_not_tell_the_match(frames):
    matches = [volleyball.sample_match(2, m, clips=150) for m in range(10)]
    names = [name for match in matches for name in match.activities]
    generators = (generator(2, m, c) for m in range(10) for c in range(150))
    drawn = sample(names, generators, 0.3)
    order = np.random.default_rng(0).permutation(1500)
    features, match = drawn.boxes[order, frames], np.repeat(np.arange(10), 150)[order]
    bound = guessing(1 / 10, 750)
    assert linear_accuracy(features, match) < bound
    assert neighbour_accuracy(features, match) < bound


def test_colours_tell_the_match():
    colours = []
    for m in range(14):
        match = volleyball.sample_match(0, m, clips=6)
        scene = volleyball_rendering.build_scene(match.look, SIZE)
        for c, name in enumerate(match.activities):
            rng = generator(0, m, c)
            motion = volleyball.motion_clip(rng, name)
            colours.append(
                volleyball_rendering.render_frame(rng, scene, motion, 5).mean(axis=(0, 1))
            )
    order = np.arange(84).reshape(14, 6).T.ravel()  # every match's first clips, then its last
    colours, match = np.array(colours)[order], np.tile(np.arange(14), 6)
    assert neighbour_accuracy(colours, match, scaled=False) >= 0.9


def test_who_does_what_tells_the_activity(clips):
    # The likelihood of the seen actions, from how often each player did each in the first half.
    table = np.full((8, 12, 9), 0.1)
    for b in range(1500):
        for n in np.flatnonzero(clips.seen[b]):
            table[clips.activity[b], n, clips.action[b, n]] += 1
    likelihood = np.log(table / table.sum(axis=2, keepdims=True))
    scores = np.zeros((1500, 8))
    for n in range(12):
        seen = clips.seen[1500:, n] > 0
        scores[seen] += likelihood[:, n, clips.action[1500:, n][seen]].T
    assert np.mean(np.argmax(scores, axis=1) == clips.activity[1500:]) > 0.97


def test_difficulty_sends_players_astray():
    def astray(difficulty):
        rng = np.random.default_rng(0)
        possible = set(sum(volleyball.PLAYS["set"][0], ()) + sum(volleyball.PLAYS["set"][1], ()))
        drawn = [volleyball.sample_actions(rng, "l_set", difficulty=difficulty) for _ in range(400)]
        return np.mean([action not in possible for actions in drawn for action in actions])

    assert astray(0.0) == 0
    # A quarter at most, of whom five ninths do what nobody does in this play.
    assert astray(1.0) == pytest.approx(0.25 * 4 / 9, abs=0.02)


def test_left_and_right_are_mirror_images():
    right = volleyball.sample_actions(np.random.default_rng(4), "r_spike", difficulty=0.0)
    assert right[6] == "spiking" and right[7] == "jumping" and right[0] == right[1] == "blocking"
    left = volleyball.sample_actions(np.random.default_rng(4), "l_spike", difficulty=0.0)
    assert left[0] == "spiking" and left[1] == "jumping" and left[6] == left[7] == "blocking"


# What is drawn.


def test_boxes_are_whole_pixels_inside_the_frame(clips):
    boxes = clips.boxes.swapaxes(1, 2)[clips.seen.astype(bool)]
    assert boxes.min() >= 0 and boxes.max() <= 1
    pixels = boxes * [*SIZE, *SIZE]
    np.testing.assert_allclose(pixels, np.rint(pixels), atol=1e-4)
    assert (pixels[..., 2:] - pixels[..., :2]).min() >= 5
    height, width = np.median(pixels[..., 2:] - pixels[..., :2], axis=(0, 1))
    assert 20 < height < 28 and 12 < width < 17
    assert set(clips.seen.sum(axis=1)) == {10, 11, 12}


def test_box_of_a_body_by_hand():
    # On the camera's axis at Y = 4: a metre is 2.2 / 20 of the picture's height, 11 pixels of 100.
    position = np.array([[volleyball_rendering.OFFSET, 4.0, 0.0]])
    camera = np.array([[1.0, volleyball_rendering.SHIFT, 0.0]])
    (box,) = volleyball_rendering.body_boxes(position, np.ones(1), camera, (100, 200))
    foot = 100 * volleyball_rendering.HORIZON + 8 * 11
    expected = [foot - 2.3 * 11, 100 - 0.68 * 11, foot + 0.08 * 11, 100 + 0.68 * 11]
    np.testing.assert_allclose(box, expected, rtol=1e-12)


def test_a_box_is_tight_around_all_that_a_body_does():
    grey, rng = blank_scene(), np.random.default_rng(0)
    space = []
    for phase in rng.uniform(0, 2 * np.pi, (40, 2)):
        motion = lone_player(0, phase)
        frame = volleyball_rendering.render_frame(rng, grey, motion, 0).astype(int)
        position = volleyball_rendering.body_position(motion.ground, motion.phase[0])
        (box,) = volleyball_rendering.body_boxes(position, motion.stature, motion.camera, SIZE)
        # Above the ground, where the shadow lies.
        drawn = np.argwhere(np.abs(frame - 120).max(axis=2)[: int(box[2]) - 8] > 40)
        space.append([*(drawn.min(axis=0) - box[:2]), box[3] - drawn[:, 1].max()])
    space = np.min(space, axis=0)  # at the top, the left and the right
    assert (space > -1).all() and (space < 3).all(), space


def test_teams_face_each_other():
    grey, rng = blank_scene(), np.random.default_rng(0)
    for phase in [(np.pi / 2, 0.3), (-np.pi / 2, 2.0), (np.pi / 2, -1.2)]:
        left = volleyball_rendering.render_frame(rng, grey, lone_player(0, phase), 0).astype(float)
        right = volleyball_rendering.render_frame(rng, grey, lone_player(6, phase), 0).astype(float)
        as_mirrored = np.mean(np.abs(left[:, ::-1] - right))
        as_they_are = np.mean(np.abs(left - right))
        assert as_they_are > 4 * as_mirrored


def blank_scene():
    """A hall without anything in it, even light, and two teams in the same uniform."""
    look = volleyball.sample_match(0, 0, clips=1).look
    look = dataclasses.replace(
        look,
        jerseys=((200, 30, 30),) * 2,
        shorts=((30, 30, 30),) * 2,
        skins=((230, 190, 160),) * 12,
        hairs=((20, 20, 20),) * 12,
        blur=0.0,
        noise=0.0,
    )
    scene = volleyball_rendering.build_scene(look, SIZE)
    backdrop = Image.new("RGB", scene.backdrop.size, (120, 120, 120))
    return dataclasses.replace(scene, backdrop=backdrop, light=np.ones((*SIZE, 3), np.float32))


def lone_player(player, phase):
    """One player on the camera's axis, which is the picture's middle."""
    return volleyball_rendering.Motion(
        activity="r_set",
        actions=("standing",),
        player=np.array([player]),
        ground=np.array([[volleyball_rendering.OFFSET, 4.0]]),
        stature=np.ones(1),
        phase=np.array(phase, float).reshape(1, 1, 2),
        camera=np.array([[1.0, volleyball_rendering.SHIFT, 0.0]]),
        ball=np.array([[40.0, 4.0, 0.0]]),
        boxes=np.zeros((1, 1, 4), np.float32),
    )
