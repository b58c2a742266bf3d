"""Pretexts: what is asked of people against loops, and that codes learn to tell it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.metrics import log_loss, r2_score

from stvh_jax.config import get_config
from stvh_jax.errors import UserError
from stvh_jax.models.outputs import Outputs
from stvh_jax.training import pretexts
from stvh_jax.training.arrangements import describe_people
from stvh_jax.training.checks import check_config
from stvh_jax.training.state import TrainState
from stvh_jax.training.views import View, draw_views
from tests.helpers.fakes import FakeDataset, label_free_config, random_clips

B, T, N, K, ASPECT, NEXT = 9, 4, 5, 8, 1.5, 2
RNG = np.random.default_rng(0)
# The last clip but one only pads the batch.
CLIPS = dataclasses.replace(
    random_clips(3, clips=B, frames=T, actors=N), clip_mask=np.arange(B) != B - 2
)
ON_DEVICE = jax.tree.map(jnp.asarray, CLIPS)
SHOWN = jax.device_get(draw_views(View(leave_out=0.4), jax.random.key(1), ON_DEVICE))
NAMES = sorted(pretexts.PRETEXTS)


def config_with(**changes):
    config = get_config().label_free
    config.update({"leave_out": 0.4, "next_frames": NEXT, **changes})
    return config


def ask(name, clips=CLIPS, shown=SHOWN):
    asked = jax.jit(
        lambda shown, clips: dataclasses.astuple(
            pretexts.PRETEXTS[name](shown, clips, aspect=ASPECT, next_frames=NEXT)
        )[:3]
    )
    return [np.asarray(each) for each in asked(shown, clips)]


def described(boxes, mask=CLIPS.actor_mask):
    return np.asarray(describe_people(jnp.asarray(boxes), jnp.asarray(mask), aspect=ASPECT))


def people_asked():
    """Lists (view, clip, person) for all real people in both views of all real clips."""
    return [
        (view, view // 2, person)
        for view in range(2 * B)
        for person in range(N)
        if CLIPS.clip_mask[view // 2] and CLIPS.actor_mask[view // 2, person]
    ]


def test_everybody_is_asked_what_they_look_like_from_where_they_stand():
    told, answers, asked = ask("attributes")
    people, expected = described(CLIPS.boxes), np.zeros((2 * B, N), bool)
    for view, clip, person in people_asked():
        expected[view, person] = True
        np.testing.assert_array_equal(told[view, person], people[clip, person, :2])
        np.testing.assert_array_equal(answers[view, person], people[clip, person, 2:])
    np.testing.assert_array_equal(asked, expected)


def test_those_left_out_are_told_from_those_left_out_of_the_next_clip():
    told, answers, asked = ask("masked_people")
    people, expected = described(CLIPS.boxes), np.zeros((2 * B, 2 * N), bool)
    for view, clip, person in people_asked():
        if not SHOWN.actor_mask[view, person]:
            expected[view, person] = True
            np.testing.assert_array_equal(told[view, person], people[clip, person])
            before = (view - 2) % (2 * B)
            if CLIPS.clip_mask[before // 2]:
                expected[before, N + person] = True
                np.testing.assert_array_equal(told[before, N + person], people[clip, person])
    np.testing.assert_array_equal(asked, expected)
    assert 0 < expected.sum() < len(people_asked())
    np.testing.assert_array_equal(answers[:, :N], 1)
    np.testing.assert_array_equal(answers[:, N:], 0)


def test_everybody_is_asked_where_they_go_in_the_frames_that_are_not_shown():
    told, answers, asked = ask("next_positions")
    people = described(CLIPS.boxes[:, :-NEXT])
    top, left, bottom, right = np.moveaxis(CLIPS.boxes.astype(np.float64), -1, 0)
    expected = np.zeros((2 * B, N), bool)
    for clip in range(B):
        moved = {}
        for person in np.flatnonzero(CLIPS.actor_mask[clip]):
            box = [side[clip, :, person] for side in (top, left, bottom, right)]
            middle = np.stack([(box[0] + box[2]) / 2, ASPECT * (box[1] + box[3]) / 2])
            moved[person] = (middle[:, -1] - middle[:, -1 - NEXT]) / (box[2] - box[0]).mean()
        together = np.mean(list(moved.values()), axis=0)
        for person, alone in moved.items():
            for view in (2 * clip, 2 * clip + 1):
                np.testing.assert_array_equal(told[view, person], people[clip, person])
                np.testing.assert_allclose(answers[view, person], alone - together, atol=1e-5)
                expected[view, person] = CLIPS.clip_mask[clip]
    np.testing.assert_array_equal(asked, expected)
    seen = View(next_frames=NEXT)(jax.random.key(0), ON_DEVICE)
    assert not (np.asarray(seen.boxes)[:, -NEXT:] - CLIPS.boxes[:, -NEXT - 1 : -NEXT]).any()


def test_what_is_read_wrongly_is_the_share_of_the_variance_and_the_cross_entropy():
    answers = RNG.normal(3, [1, 5, 0.2], (6, 4, 3)).astype(np.float32)
    asked = RNG.random((6, 4)) < 0.7
    deviation, mean = answers[asked].std(axis=0), answers[asked].mean(axis=0)
    read = ((answers - mean) / deviation + 0.5 * RNG.normal(size=answers.shape)).astype(np.float32)
    wrong = 1 - r2_score(answers[asked], (read * deviation + mean)[asked])
    given = jnp.asarray(read), jnp.asarray(answers), jnp.asarray(asked)
    np.testing.assert_allclose(pretexts.unexplained(*given), wrong, rtol=1e-4)
    assert np.isfinite(pretexts.unexplained(*given[:2], jnp.zeros((6, 4), bool)))
    right = jnp.asarray(RNG.random((6, 4, 1)) < 0.5, jnp.float32)
    found = pretexts.mistaken(given[0][..., :1], right, given[2])
    chances = 1 / (1 + np.exp(-read[..., 0][asked].astype(np.float64)))
    np.testing.assert_allclose(found, log_loss(np.asarray(right)[asked][:, 0], chances), rtol=1e-5)


def outputs_of(codes):
    return Outputs(activity_logits=jnp.zeros((1, len(codes), 2)), relaxed=jnp.asarray(codes)[None])


@pytest.mark.parametrize("name", NAMES)
def test_codes_learn_to_tell_it(name):
    config = config_with(**{f"{each}_weight": float(each == name) for each in NAMES})
    options = {"config": config, "aspect": ASPECT}
    codes = 0.1 * RNG.normal(size=(B, K)).astype(np.float32)
    clips, shown = ON_DEVICE, jax.tree.map(jnp.asarray, SHOWN)
    readers = pretexts.create_readers(jax.random.key(0), outputs_of(codes), clips, **options)
    assert readers.keys() == {name}
    optimizer = optax.adam(0.02)

    def loss_of(trained):
        outputs = outputs_of(jnp.repeat(jnp.tanh(trained["codes"]), 2, axis=0))
        terms = pretexts.terms_of_pretexts(trained["readers"], outputs, shown, clips, **options)
        return terms[name]

    @jax.jit
    def step(trained, state):
        loss, gradient = jax.value_and_grad(loss_of)(trained)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(trained, updates), state, loss, gradient

    trained = {"codes": jnp.asarray(codes), "readers": readers}
    state, losses = optimizer.init(trained), []
    for _ in range(120):
        trained, state, loss, gradient = step(trained, state)
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0]
    padding = np.asarray(gradient["codes"])[~CLIPS.clip_mask]
    np.testing.assert_array_equal(padding, 0)
    assert np.abs(gradient["codes"]).max() > 0


def test_without_a_weight_there_is_no_reader_and_a_checkpoint_keeps_those_there_are():
    options = {"config": config_with(), "aspect": ASPECT}
    outputs = outputs_of(np.zeros((B, K), np.float32))
    assert pretexts.create_readers(jax.random.key(0), outputs, ON_DEVICE, **options) is None
    state = TrainState(1, {"kernel": 2}, {}, {"moment": 3}, {"kernel": 4}, {"attributes": 5})
    assert state.trained == {"kernel": 2, "readers": {"attributes": 5}}
    variables, train = state.items()
    assert variables == {"params": {"kernel": 4}}
    assert TrainState.of_items(variables, train) == state


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leave_out": 0.0}, "raise config.label_free.leave_out$"),
        ({"next_frames": 1}, "leaves a view nothing of config.data.num_frames=1 frames; lower it$"),
        ({"next_positions_weight": 1.0}, "set config.label_free.next_frames, and have several"),
    ],
)
def test_a_pretext_that_has_nothing_to_ask_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        check_config(label_free_config(**changes), FakeDataset(), devices=1)
