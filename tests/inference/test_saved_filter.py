"""The filter matrix that a run keeps is the model's own, and no other is, nor is one fitted."""

import shutil

import numpy as np
import pytest
from etils import epath

import stvh_jax
from stvh_jax.codes.filter_matrix import FilterMatrix
from stvh_jax.errors import Damaged
from stvh_jax.inference.run_filter import load_or_fit
from stvh_jax.retrieval.index import Index
from tests.helpers.indexed_clips import listed, random_matrix


@pytest.fixture
def run(trained, tmp_path):
    """Gives a copy of a run without a filter matrix."""
    shutil.copytree(trained(), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "filter_matrix", ignore_errors=True)
    return epath.Path(tmp_path / "run")


def keep(run, model, options="binary-shared-code", split=None, seed=0):
    """Writes a matrix where the run keeps that of some options."""
    matrix = random_matrix(model.bits, model.foci[-1], seed=seed)
    split = split or model.config.data.train_split
    path = run / "filter_matrix" / f"{model.name}-{split}-{options}.npz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(matrix.to_bytes())
    return matrix


def test_a_run_without_one(run):
    model = stvh_jax.load(run)
    assert len(model.foci) > 1
    assert model.filter_matrix is None and model.code_format["filter_matrix"] is None
    assert not (run / "filter_matrix").exists()
    # One that is fitted later is found then.
    matrix = keep(run, model)
    assert model.filter_matrix.digest == matrix.digest


def test_the_one_of_the_default_options_comes_first(run):
    model = stvh_jax.load(run)
    others = ("01-per_step-bit", "binary-shared-bit")
    keep(run, model, split=f"{model.config.data.train_split}-corrected")  # of another variant
    keep(run, model, split="validation")
    assert model.filter_matrix is None
    only = keep(run, model, others[0], seed=1)
    assert stvh_jax.load(run).filter_matrix.digest == only.digest
    keep(run, model, others[1], seed=2)
    assert stvh_jax.load(run).filter_matrix is None  # which of the two is not known
    default = keep(run, model, seed=3)
    assert stvh_jax.load(run).filter_matrix.digest == default.digest


def test_it_is_the_one_that_indexing_takes(run):
    model = stvh_jax.load(run)
    matrix = keep(run, model)
    split = model.config.data.train_split
    again = load_or_fit(
        run, lambda: pytest.fail("it is there"), checkpoint=model.name, base_split=split
    )
    assert again.digest == matrix.digest == model.filter_matrix.digest
    assert isinstance(stvh_jax.load(run).filter_matrix, FilterMatrix)


def test_an_index_of_its_codes_is_searched_at_every_focus(run, tmp_path):
    model = stvh_jax.load(run)
    matrix = keep(run, model)
    index = Index.create(tmp_path / "both ends", **model.code_format)
    assert index.info.stored_foci == (0, model.foci[-1])
    # The tiny model has no focus between the two, so its first is derived.
    form = model.code_format | {"stored_foci": model.foci[-1:]}
    index = Index.create(tmp_path / "index", **form)
    assert index.foci == tuple(model.foci)
    random = np.random.default_rng(0)
    codes = {f: random.integers(0, 256, (20, model.bits // 8), np.uint8) for f in model.foci}
    index.add(codes, match="a", clip=np.arange(20))
    for focus in model.foci[:-1]:
        derived = np.unpackbits(matrix.derive(codes[model.foci[-1]], focus), axis=1)
        distances = (derived != derived[3]).sum(axis=1).tolist()
        expected = sorted((distance, clip) for clip, distance in enumerate(distances))
        query = {each: values[3] for each, values in codes.items()}
        (hits,) = index.search(query, focus=focus, k=20)
        assert listed(hits) == [(distance, "a", str(clip)) for distance, clip in expected]


def test_a_damaged_one_is_one_line(run):
    model = stvh_jax.load(run)
    keep(run, model)
    (path,) = (run / "filter_matrix").iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Damaged, match="is not a readable filter matrix .*; delete it"):
        model.code_format  # noqa: B018 - the access is the test


def test_a_graded_code_has_none(graded):
    model = stvh_jax.load(graded)
    assert model.filter_matrix is None
    assert model.code_format["filter_matrix"] is None
    assert repr(model) == (
        f"Encoder({model.config.model.name}, {model.checkpoint} checkpoint of step {model.step}, "
        f"{model.bits} bits, foci 0, 1, 4 activities)"
    )
    assert repr(model.bit_weights) == (
        f"BitWeights({model.bits} bits, {len(model.bit_weights.visual)} visual, foci 0 to 1)"
    )
