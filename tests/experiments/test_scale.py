"""The experiments on the scale: each form of a focus, by its definition and on a small run."""

import numpy as np
import pytest

import stvh_jax
from experiments import scale_forms
from experiments.paper import fig_scale, table_scale
from experiments.scale_forms import Parts
from experiments.settings import SETTINGS
from experiments.study import Study
from stvh_jax.codes.bit_weights import laid_out
from stvh_jax.codes.packing import hamming_distances, pack
from tests.helpers.fakes import FakeDataset

LAYERS, ACTIVITY, VISUAL = 3, 8, 8
FORMS = (
    "weights of bits, laid out (the model's own code)",
    "the same, both parts trained together",
    "weights of bits, learned",
    "some of the bits (F of 0 and 1), laid out",
    "some of the bits (F of 0 and 1), learned",
    "derived by F, learned jointly",
)


def random_parts(clips=48, seed=0):
    rng = np.random.RandomState(seed)
    shapes = ((clips, ACTIVITY), (clips, 12), (clips, VISUAL))
    return Parts(*(rng.randn(*shape).astype(np.float32) for shape in shapes))


@pytest.fixture(scope="module")
def forms():
    patch = pytest.MonkeyPatch()
    patch.setattr(scale_forms, "_STEPS", 3)
    with patch.context():
        rng, parts = np.random.RandomState(1), random_parts()
        fitted = scale_forms.fit_all(
            parts, rng.randint(0, 4, 48), rng.randint(0, 6, 48), layers=LAYERS
        )
    patch.undo()
    return fitted


def test_all_forms_are_fitted(forms):
    assert tuple(forms) == FORMS


@pytest.mark.parametrize("name", FORMS)
def test_distances_of_codes_are_weighted_and_blended(forms, name):
    """Against a loop over clips, foci and bits."""
    parts, form = random_parts(5, seed=2), forms[name]
    signs = form.signs(parts)
    assert len(signs) == len(form.weights) == LAYERS + 1
    for place in (0.0, 0.25, 2 / 3, 1.0):
        codes = form.codes(parts, place)
        for one in range(5):
            for other in range(5):
                expected = 0
                lower = min(int(place * LAYERS + 1e-9), LAYERS - 1)
                above = place * LAYERS - lower
                for focus, share in ((lower, 1 - above), (lower + 1, above)):
                    mean = sum(form.weights[focus]) / len(form.weights[focus])
                    for bit, weight in enumerate(form.weights[focus]):
                        differs = signs[focus][one, bit] != signs[focus][other, bit]
                        expected += differs * round(8 * share * weight / mean)
                found = hamming_distances(codes[one : one + 1], codes[other : other + 1])
                assert found.item() == expected


def test_the_models_own_code_is_weighed_as_an_index_weighs_it(forms):
    parts = random_parts(20, seed=3)
    codes = pack(np.concatenate([parts.activity, parts.visual], axis=1))
    weights = laid_out(bits=16, visual_bits=VISUAL, layers=LAYERS)
    for focus in (0, LAYERS):
        expected = weights.distances(codes, codes, focus) / weights.unit
        found = forms[FORMS[0]].codes(parts, focus / LAYERS)
        np.testing.assert_allclose(hamming_distances(found, found) / 8, expected)


def test_a_selection_has_zeros_and_ones_and_laid_out_it_is_of_the_parts_by_share(forms):
    for name in FORMS[3:5]:
        assert {0.0, 1.0} >= {value for row in forms[name].weights for value in row}
    counts = [(row[:ACTIVITY].sum(), row[ACTIVITY:].sum()) for row in forms[FORMS[3]].weights]
    assert counts == [(0, 8), (3, 5), (5, 3), (8, 0)]


def test_a_derived_code_is_read_from_the_stored_one_alone(forms):
    parts = random_parts(64, seed=4)
    signs = forms[FORMS[5]].signs(parts)
    stored, derived = np.packbits(signs[-1], axis=1), np.packbits(signs[0], axis=1)
    _, first, number = np.unique(stored, axis=0, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(derived, derived[first][number.ravel()])


@pytest.mark.slow
def test_a_graded_run_is_judged_along_the_scale(graded, trained, monkeypatch):
    monkeypatch.setattr(scale_forms, "_STEPS", 2)
    encoder, dataset = stvh_jax.load(graded), FakeDataset()
    of_forms = table_scale.judge_forms(encoder, dataset, seed=0)
    assert tuple(of_forms) == FORMS
    assert all(tuple(places) == table_scale.PLACES for places in of_forms.values())
    along = fig_scale.judge_graded(encoder, dataset, seed=0)
    assert list(along) == ["one graded code, 24 bits", "one graded code, adapted, 24 bits"]
    own = along["one graded code, 24 bits"]
    # The ends are the same code in both, and differ in how often a bit is repeated alone.
    for place in (0.0, 1.0):
        assert own[place].activity == pytest.approx(of_forms[FORMS[0]][place].activity)
        assert own[place].match == pytest.approx(of_forms[FORMS[0]][place].match)
    printed = fig_scale.judge_printed(stvh_jax.load(trained(1)), dataset, seed=0)
    assert len(printed) == 3


def test_the_runs_are_of_graded_codes():
    study = Study.of(table_scale, SETTINGS["vd_features"], (0, 1))
    assert [str(run.folder) for run in study.all_runs()] == [
        "runs/vd_features-mstvh-128-64_visual-0",
        "runs/vd_features-mstvh-128-64_visual-1",
    ]
