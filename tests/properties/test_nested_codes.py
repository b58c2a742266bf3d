"""One training for all lengths: what is read from the first bits, and nothing else, counts."""

import contextlib
import io
import json
import pathlib

import jax
import numpy as np
import pytest
from etils import epath

from stvh_jax.errors import UserError
from stvh_jax.evaluation.evaluate import evaluate
from stvh_jax.inference.encoder import load
from stvh_jax.models.build import build_model
from stvh_jax.models.outputs import Outputs
from stvh_jax.runs import folders
from stvh_jax.training import losses
from stvh_jax.training.trainer import train
from tests.helpers.fakes import (
    ACTIONS,
    ACTIVITIES,
    FakeDataset,
    random_clips,
    small_config,
    tiny_config,
)
from tests.helpers.oracles import apply, drawn

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run whose codes of 16 bits hold one of 8."""
    folder = epath.Path(tmp_path_factory.mktemp("nested"))
    config = tiny_config()
    config.model.bits = (8, 16)
    with contextlib.redirect_stdout(io.StringIO()):
        train(config, FakeDataset(), folder)
    return folder


@pytest.mark.parametrize("name", ["stvh", "mstvh"])
def test_a_prefix_is_read_by_a_classifier_of_its_own(name):
    config = small_config(name=name, bits=(8, 24, 32))
    model = build_model(config.model, activity_names=ACTIVITIES, action_names=ACTIONS)
    clips = random_clips(0, clips=3)
    variables = drawn(model, clips, train=False)
    outputs = apply(model, variables, clips, train=False)
    assert outputs.relaxed.shape[-1] == 32
    assert list(outputs.prefix_logits) == [8, 24]
    learned = outputs.relaxed[-len(outputs.activity_logits) :]
    foci = model.foci[-len(learned) :]
    for bits, layer in ((8, "activity_8"), (24, "activity_24"), (32, "activity")):
        of_prefix = outputs.prefix(bits)
        np.testing.assert_array_equal(of_prefix.relaxed, outputs.relaxed[..., :bits])
        np.testing.assert_array_equal(of_prefix.relation, outputs.relation[..., :bits])
        for place, focus in enumerate(foci):
            head = variables["params"][f"head_{focus}"][layer]
            expected = learned[place][:, :bits] @ head["kernel"] + head["bias"]
            np.testing.assert_allclose(of_prefix.activity_logits[place], expected, atol=1e-4)


def test_the_loss_is_the_mean_over_the_lengths():
    random = np.random.default_rng(0)
    clips = jax.tree.map(jax.numpy.asarray, random_clips(1, clips=6))

    def draw(*shape):
        return jax.numpy.asarray(random.normal(size=shape).astype(np.float32))

    outputs = Outputs(
        relaxed=jax.numpy.tanh(draw(3, 6, 16)),
        activity_logits=draw(2, 6, 4),
        action_logits=draw(6, 5, 3),
        relation=draw(6, 16),
        reconstruction_error=draw(6) ** 2,
        prefix_logits={8: draw(2, 6, 4)},
    )
    weights = small_config().loss
    whole = outputs.replace(prefix_logits={})
    short = whole.replace(
        relaxed=outputs.relaxed[..., :8],
        relation=outputs.relation[:, :8],
        activity_logits=outputs.prefix_logits[8],
    )
    loss, terms = losses.total_loss(outputs, clips, weights=weights)
    parts = [losses.total_loss(one, clips, weights=weights) for one in (short, whole)]
    np.testing.assert_allclose(loss, np.mean([part for part, _ in parts]), rtol=1e-6)
    for name, term in terms.items():
        np.testing.assert_allclose(term, np.mean([part[name] for _, part in parts]), rtol=1e-6)


def test_a_run_gives_codes_of_each_length(run):
    whole, short = load(run), load(run, bits=8)
    clips = FakeDataset().clips["test"]
    codes, prefixes = (
        encoder.encode(None, clips.boxes, clips.actor_mask).codes for encoder in (whole, short)
    )
    assert (whole.bits, short.bits) == (16, 8)
    for focus, code in codes.items():
        np.testing.assert_array_equal(prefixes[focus], code[:, :1])
    assert short.name == f"{whole.name}-8_bits"
    with pytest.raises(UserError, match="^this run has codes of 8 and 16 bits, not 32"):
        load(run, bits=32)


def test_an_evaluation_of_a_prefix_stands_beside_that_of_the_whole(run):
    dataset = FakeDataset()
    whole, short = (evaluate(load(run, bits=bits), dataset, run=run) for bits in (16, 8))
    names = [[path.name for path in one.write()] for one in (whole, short)]
    assert names[0][0] == "evaluation-test.json"
    assert names[1][0] == "evaluation-test-8_bits.json"
    found = json.loads((run / names[1][0]).read_text())
    assert (found["bits"], found["nested_bits"]) == (8, [8, 16])
    # The code of the whole is another than that of the prefix, whose classifier is its own.
    encoded = short.queries
    kernel, bias = jax.device_get(short.encoder.activity_head)
    assert kernel.shape == (8, 4)
    signs = 2.0 * np.unpackbits(encoded.codes[encoder_focus(short)], axis=1) - 1
    right = (signs @ kernel + bias).argmax(axis=1) == encoded.activity
    assert found["activity_accuracy_from_code"] == pytest.approx(right.mean())
    assert short.results["filter_matrix"]["digest"] != whole.results["filter_matrix"]["digest"]


def encoder_focus(evaluation):
    return evaluation.encoder.foci[-1]


def test_a_run_of_nested_codes_is_found_by_each_length(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny_config()
    config.model.bits = (8, 16)
    assert folders.default_workdir(config).endswith("-mstvh-8+16-0")
    for bits in (8, 16):
        assert folders.find(workdir=run, bits=bits, config=config) == run
    # Among the finished runs, one that has only these bits comes first, however old.
    pathlib.Path("runs").mkdir()
    pathlib.Path("runs/nested").symlink_to(run)
    assert folders.find(workdir=None, bits=8) == epath.Path("runs/nested")
    plain = pathlib.Path("runs/plain")
    plain.mkdir()
    (plain / "finished.json").write_text('{"finished_at": 0, "step": 1}')
    config.model.bits = 8
    (plain / "config.json").write_text(config.to_json_best_effort())
    assert folders.find(workdir=None, bits=8) == epath.Path("runs/plain")
    assert folders.find(workdir=None, bits=16) == epath.Path("runs/nested")
    with pytest.raises(UserError, match="has codes of 8 and 16 bits, not 32; use --bits=16"):
        folders.find(workdir=run, bits=32)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ((16, 12), r"\(16, 12\); use a multiple of 8"),
        ((32, 16), r"\(32, 16\); give each length once, the shortest first"),
        ((16, 16), r"\(16, 16\); give each length once"),
        ((), r"\(\); use a multiple of 8"),
        ("long", "'long'; use a multiple of 8"),
        (16.0, "16.0; use a multiple of 8"),
    ],
)
def test_lengths_that_nest_in_nothing_are_said(bits, message):
    fields = dict(small_config().model) | {"bits": bits}
    with pytest.raises(UserError, match=f"^config.model.bits is {message}"):
        build_model(fields, activity_names=ACTIVITIES, action_names=ACTIONS)
