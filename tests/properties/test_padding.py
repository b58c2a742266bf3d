"""Whatever stands in a padded slot, codes, losses, gradients and metrics stay bit-equal."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from etils import epath

from configs import cad_boxes
from data.collective_activity.collective_activity_dataset_builder import Builder
from data.prepared.pipeline import open_dataset
from stvh_jax.evaluation.evaluate import evaluate
from stvh_jax.inference.encoder import load
from stvh_jax.models.build import build_model
from stvh_jax.training.losses import total_loss
from stvh_jax.training.trainer import train
from tests.helpers.collective_files import REAL
from tests.helpers.fakes import FakeDataset
from tests.helpers.prepared_sets import prepare

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unchecked_shapes")]


def config_for(dataset, **model):
    """Makes the config of Collective Activity's boxes, with a model that compiles quickly."""
    config = cad_boxes.get_config("validated")
    small = {"features": 8, "bits": 16, "layers": 2, "ffn_multiplier": 1}
    config.model.update({"objective": "printed", **small, **model})
    config.model.temporal_contrast = True
    config.model.key_frame = dataset.key_frame
    config.train.update({"epochs": 1, "batch_size": 8, "evaluation_batch_size": 64})
    config.train.evaluate_every_epochs = 1
    config.optimizer.warmup_epochs = 0.5
    return config


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The real clips of Collective Activity."""
    if not REAL.exists():
        pytest.skip("real data not present")
    folder = tmp_path_factory.mktemp("real")
    prepare(Builder(config="boxes_only", data_dir=folder), REAL)
    config = cad_boxes.get_config("validated")
    config.data.dir = str(folder)
    return open_dataset(config.data)


@pytest.fixture(scope="module")
def fake():
    """Random clips of up to 13 people, ten frames each."""
    return FakeDataset(sizes=(24, 9, 11), frames=10, actors=13, key_frame=0)


def soil(clips, filling):
    """Fills the boxes of the padded slots."""
    valid = clips.actor_mask[:, None, :, None]
    return dataclasses.replace(clips, boxes=np.where(valid, clips.boxes, np.float32(filling)))


class Soiled:
    """A data set whose padded slots are filled."""

    def __init__(self, dataset, filling):
        self._dataset, self._filling = dataset, filling

    def __getattr__(self, name):
        return getattr(self._dataset, name)

    def evaluation_batches(self, *arguments, **options):
        for clips in self._dataset.evaluation_batches(*arguments, **options):
            yield soil(clips, self._filling)


FILLINGS = pytest.mark.parametrize("filling", [np.nan, np.inf, -3.0, 0.5])


@pytest.fixture(scope="module")
def judged():
    """Gives `loss_and_gradient(config, model's names, variables, clips)`, compiled once."""

    def judge(name, dataset):
        config = config_for(dataset, name=name)
        model = build_model(
            config.model,
            activity_names=dataset.activity_names,
            action_names=dataset.action_names,
        )

        @jax.jit
        def loss(params, rest, clips):
            outputs = model.apply({"params": params, **rest}, clips, train=False)
            total, terms = total_loss(outputs, clips, weights=config.loss)
            return total, (terms, outputs.relaxed, outputs.activity_logits)

        return model, jax.jit(jax.value_and_grad(loss, has_aux=True))

    return judge


@pytest.mark.parametrize("name", ["stvh", "mstvh"])
@pytest.mark.parametrize("source", ["fake", "real"])
def test_losses_gradients_and_codes(name, source, judged, request):
    dataset = request.getfixturevalue(source)
    model, judge = judged(name, dataset)
    clips = next(iter(dataset.evaluation_batches("validation", batch_size=16))).without_names()
    assert not clips.actor_mask.all() and clips.actor_mask.shape[1] == 13
    initialise = jax.jit(lambda key: model.init(key, clips, train=False))
    variables = dict(initialise(jax.random.key(0)))
    params = variables.pop("params")
    expected = jax.device_get(judge(params, variables, clips))
    assert np.isfinite(expected[0][0])
    for filling in (np.nan, np.inf, -3.0, 0.5):
        got = jax.device_get(judge(params, variables, soil(clips, filling)))
        jax.tree.map(np.testing.assert_array_equal, got, expected)


@pytest.fixture(scope="module")
def run(fake, tmp_path_factory):
    """A run trained for an epoch."""
    folder = epath.Path(tmp_path_factory.mktemp("padding") / "run")
    train(config_for(fake), fake, folder)
    return folder


@FILLINGS
def test_metrics_of_an_evaluation(fake, run, filling, capsys):
    encoder = load(run)
    first, second = (
        evaluate(encoder, dataset, run=run).results for dataset in (fake, Soiled(fake, filling))
    )
    assert first["foci"]["2"]["activity_map@10"] > 0
    assert json.dumps(first) == json.dumps(second)
