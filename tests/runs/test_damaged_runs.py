"""A run from elsewhere: whatever its files say, it is loaded or refused in one line, and soon."""

import copy
import json
import re
import shutil

import jax
import numpy as np
import pytest
import tensorstore
from etils import epath

from stvh_jax.errors import Damaged, UserError
from stvh_jax.inference import encoder
from stvh_jax.runs import checkpoints, folders

# What takes a field's place, as JSON, and what takes the place of a whole file.
VALUES = ["null", "[]", "{}", '"x"', "-1", "1e400", "true", "[[[[[[[[[[[[[[[[[[[[[[[[0" + "]" * 24]
FILES = [*VALUES, "", "NaN", "1" * 5000, "[" * 10**5, '"' + "x" * 10**6 + '"', "\ufeff{}", "{cut"]

# As outside the tests: a wrong type meets the checks of the library alone.
pytestmark = pytest.mark.usefixtures("unchecked_shapes")


@pytest.fixture
def run(trained, tmp_path):
    """Gives a copy of the shared run, with only the checkpoint that is loaded, and no digests.

    Who forges a run leaves them out: older runs have none.
    """
    step, _ = checkpoints.choose_step(trained(), "best")
    folder = epath.Path(tmp_path / "run")
    shutil.copytree(trained(), folder)
    for path in (folder / "checkpoints").iterdir():
        (path if path.name != str(step) else path / folders.DIGESTS).rmtree()
    return folder


@pytest.fixture
def metadata(run):
    """Gives the file of the config in the run's checkpoint."""
    (path,) = run.glob("checkpoints/*/config/metadata")
    return path


def places(values, place=()):
    """Lists the places of all values in nested dicts and lists."""
    items = values.items() if isinstance(values, dict) else enumerate(values)
    for name, value in items:
        yield (*place, name)
        if isinstance(value, (dict, list)):
            yield from places(value, (*place, name))


def mutations(values):
    """Yields JSON texts in each of which one value is another, or is absent."""
    for *parents, last in places(values):
        changed = copy.deepcopy(values)
        parent = changed
        for name in parents:
            parent = parent[name]
        del parent[last]
        yield json.dumps(changed)
        if isinstance(parent, dict):
            parent[last] = "PLACE"
        else:
            parent.insert(last, "PLACE")
        text = json.dumps(changed)
        for value in VALUES:
            yield text.replace('"PLACE"', value)
    yield from FILES


def refused(call):
    """Says in which line a call is refused; None where it is not. Nothing else may come of it."""
    try:
        call()
    except UserError as error:
        line = str(error)
        assert "\n" not in line and len(line) < 1000, line
        return line
    return None


def test_every_change_of_a_checkpoint_s_config_is_loaded_or_one_line(run, metadata, monkeypatch):
    # All of it but the variables: most of what is loaded at all is one and the same model.
    for module in (encoder, checkpoints):
        monkeypatch.setattr(module, "variable_shapes", lambda *_: {})
    monkeypatch.setattr(checkpoints, "load_variables", lambda *_: {})
    monkeypatch.setattr(encoder, "Encoder", lambda *_, **__: None)
    lines = []
    for text in mutations(json.loads(metadata.read_text())):
        metadata.write_text(text)
        lines.append(refused(lambda: encoder.load(run)))
    assert sum(line is None for line in lines) < len(lines) / 4
    assert all(str(run) in line for line in lines if line)


def test_every_change_of_a_run_s_own_files_is_read_or_one_line(run, monkeypatch):
    monkeypatch.chdir(run.parent)
    (run.parent / "runs").mkdir()
    run = run.rename("runs/it")
    for name, read in {
        folders.CONFIG: lambda: folders.find(workdir=run, bits=16),
        folders.FINISHED: lambda: folders.find(workdir=None, bits=16),
    }.items():
        path = run / name
        whole = path.read_text()
        for text in mutations(json.loads(whole)):
            path.write_text(text)
            refused(read)
        path.write_text(whole)
        read()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"model.features": 16},
            r"variables of another model than its config: [^ ]+ is float32\[",
        ),
        (
            {"model.layers": 2},
            "variables of another model than its config: [^ ]+ is absent, not ",
        ),
        ({"model.ffn_multiplier": 64, "model.features": 16384}, r"has .*e\+\d+ parameters, more"),
        (
            {"model.num_actors": 1024, "model.num_frames": 1024},
            r"makes arrays of .* numbers of one",
        ),
        ({"activity_names": ["a", "b"]}, "variables of another model than its config: "),
        ({"activity_names": ["a", "a"]}, "config.activity_names is .* each class has one name"),
        ({"activity_names": "abcd"}, "config.activity_names is 'abcd'; it lists the names of"),
        ({"action_names": [1, 2, 3]}, "config.action_names is .*; it lists the names of classes"),
        ({"backbone_weights": {"options": 5}}, "config.backbone_weights.options is 5; it holds"),
        ({"model.bits": 8}, "variables of another model than its config: "),
    ],
)
def test_a_config_of_another_model_is_refused_before_its_arrays_are_read(
    fields, message, run, metadata, monkeypatch
):
    monkeypatch.setattr(checkpoints, "load_variables", lambda *_: pytest.fail("read"))
    config = json.loads(metadata.read_text())
    for name, value in fields.items():
        part = config
        *parents, last = name.split(".")
        for parent in parents:
            part = part[parent]
        part[last] = value
    metadata.write_text(json.dumps(config))
    with pytest.raises(Damaged, match=f"^{re.escape(str(run))} .*{message}"):
        encoder.load(run)


def test_arrays_that_claim_to_be_absurdly_large_are_not_read(run, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "MOST_BYTES", 100)
    monkeypatch.setattr(np, "empty", lambda *_: pytest.fail("allocated"))
    with pytest.raises(Damaged, match=r"is not a whole checkpoint \(it claims more than"):
        encoder.load(run)


def test_the_shapes_of_a_checkpoint_are_those_of_its_variables(run):
    step, _ = checkpoints.choose_step(run, "best")
    shapes = checkpoints.variable_shapes(run, step)
    variables = checkpoints.load_variables(run, step)
    described = [
        jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (shapes, variables)
    ]
    assert described[0] == described[1]


def test_a_run_whose_name_would_be_no_folder_s_today_is_still_loaded(run, metadata):
    metadata.write_text(metadata.read_text().replace('"vd_boxes_validated"', '"my first/run"'))
    assert encoder.load(run).config.name == "my first/run"


@pytest.mark.parametrize("field", ["shape", "chunks", "dtype"])
def test_an_array_that_lies_about_itself_is_refused_before_it_is_read(field, run):
    (path,) = run.glob("checkpoints/*/variables")
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": f"file://{path}/"}).result()
    key = next(key for key in store.list().result() if key.endswith(b"kernel/.zarray"))
    array = json.loads(store.read(key).result().value)
    array[field] = "<f8" if field == "dtype" else [10**6, 10**6]
    store.write(key, json.dumps(array).encode()).result()
    with pytest.raises(Damaged, match=f"^{re.escape(str(run))}.*(kernel is float64|claims more)"):
        encoder.load(run)
