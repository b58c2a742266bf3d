"""Every field of a config: what it may hold, and one line for whatever it may not."""

import re

import pytest
from ml_collections import ConfigDict

from stvh_jax.config import PARTS, TopConfig, check_fields, check_run, get_config
from stvh_jax.errors import UserError
from stvh_jax.fields import flatten

# As outside the tests: a wrong type meets the checks of the config alone.
pytestmark = pytest.mark.usefixtures("unchecked_shapes")

NAN, INFINITY = float("nan"), float("inf")
# What no field holds.
WRONG = [None, object(), {"a": 1}, ConfigDict(), NAN, INFINITY, -1, -(10**400), "a\nb", b"x", ((),)]
FIELDS = flatten(get_config().copy_and_resolve_references().to_dict())


def changed(field, value):
    """Gives the base config as nested dicts, with one field's value changed."""
    config = get_config().copy_and_resolve_references().to_dict()
    *parents, last = field.split(".")
    part = config
    for name in parents:
        part = part[name]
    part[last] = value
    return config


def test_the_base_config_is_what_the_parts_declare():
    assert {*get_config().keys()} == {*TopConfig.defaults(), *PARTS}
    check_fields(get_config())
    check_fields(get_config().to_dict())


def test_an_older_run_has_no_part_that_was_added_later():
    config = get_config().to_dict()
    del config["label_free"], config["objective"]
    check_fields(config)


@pytest.mark.parametrize("field", [*(name for name in FIELDS if "backbone." not in name), *PARTS])
def test_no_field_holds_what_it_is_not_for(field):
    for value in WRONG:
        if field == "label_free" and value == ConfigDict():
            continue  # all its fields were added later: an older run has none
        with pytest.raises(UserError, match=f"config.*{field.split('.')[-1]}") as refused:
            check_fields(changed(field, value))
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 500


MISTAKES = [
    ("name", "../../x", "it names a folder: use up to 100 letters, digits"),
    ("name", "a/b", "it names a folder"),
    ("name", "", "it names a folder"),
    ("name", "..", "it names a folder"),
    ("name", "x" * 101, "it names a folder"),
    ("seed", 2**63, "use 4294967295 or less"),
    ("seed", 0.5, "use a whole number"),
    ("devices", 10**6, "use 1024 or less"),
    ("data.image_size", 96, "give height and width, e.g. (720, 1280)"),
    ("data.image_size", (96,), "give height and width"),
    ("data.image_size", (0, 0), "use 1 or more"),
    ("data.image_size", (96, "x"), "use a whole number"),
    ("data.image_size", (10**6, 10**6), "use 8192 or less"),
    ("data.train_split", "train+train", "name each split once"),
    ("data.train_split", "train+", "give a split, or several as in train+validation"),
    ("data.train_split", "", "give a split, or several as in train+validation"),
    ("data.num_frames", 0, "use 1 or more"),
    ("data.flip", "no", "use True or False"),
    ("data.still_boxes", 1, "use True or False"),
    ("data.variant", "", "give a line of text"),
    ("loss.action", "x", "use a number from 0 to 1e+06"),
    ("loss.temperature", 0, "use a number above 0 to 1e+06"),
    ("loss.action_class_weights", ("a",), "give numbers from 0 to 1e+06 in brackets"),
    ("loss.action_class_weights", (True,), "give numbers from 0 to 1e+06 in brackets"),
    ("loss.action_class_weights", (1,) * 1001, "give numbers from 0 to 1e+06 in brackets"),
    ("optimizer.learning_rate", "1e-3", "use a number from 0 to 1000"),
    ("optimizer.schedule", "linear", "choose one of piecewise, cosine"),
    ("optimizer.rates", (NAN,), "give numbers from 0 to 1000 in brackets"),
    ("optimizer.boundaries_epochs", (20, 10), "give each number once, the lowest first"),
    ("train.epochs", 1.5, "use a whole number"),
    ("train.epochs", 10**12, "use 1000000 or less"),
    ("train.batch_size", 0, "use 1 or more"),
    ("train.batch_size", 10**12, "use 65536 or less"),
    ("train.accumulate", 0, "use 1 or more"),
    ("train.checkpoint_every_steps", -1, "use 0 or more"),
    ("train.backbone_weights", 5, "give a line of text"),
    ("train.select", "loss", "choose one of activity_accuracy, action_accuracy"),
    ("model.bits", tuple(range(8, 8008, 8)), "use a multiple of 8"),
]


@pytest.mark.parametrize(("field", "value", "cure"), MISTAKES)
def test_a_mistake_is_one_line_with_its_cure(field, value, cure):
    with pytest.raises(UserError, match=rf"config\.{field} is [^\n]*; {re.escape(cure)}"):
        check_fields(changed(field, value))


def test_one_rate_belongs_to_each_boundary():
    with pytest.raises(UserError, match="has 0 boundaries_epochs and 1 rates; give one rate for"):
        check_fields(changed("optimizer.rates", (1e-5,)))


@pytest.mark.parametrize("field", ["seed", "train.epochs", "data.dir", "model.layers", "loss"])
def test_a_field_that_is_absent_is_named(field):
    config = changed(field, 0)
    *parents, last = field.split(".")
    for name in parents:
        del config[name][last]
    if not parents:
        del config[last]
    with pytest.raises(UserError, match=f"^config.* has no field '{last}': it is from another"):
        check_fields(config)


@pytest.mark.parametrize("field", ["nosuch", "train.epcohs", "optimizer.rate", "model.widht"])
def test_a_field_that_is_unknown_is_named(field):
    with pytest.raises(UserError, match="has an unknown field '.*': it is misspelt, or from"):
        check_fields(changed(field, 1))


def test_a_data_set_and_a_loss_may_have_fields_of_their_own():
    check_fields(changed("data.folder", "crowds"))
    check_fields(changed("loss.balance", 0.1))


def test_a_long_or_deep_value_is_not_echoed():
    deep = []
    for _ in range(500):
        deep = [deep]
    for value in ("x" * 10**6, 10**5000, deep, [0] * 10**5):
        with pytest.raises(UserError) as refused:
            check_fields(changed("train.epochs", value))
        assert len(str(refused.value)) < 250


def test_a_run_has_the_names_of_its_classes():
    names = {"activity_names": ["a", "b"], "action_names": ["c"]}
    check_run({**changed("name", "my first/run"), **names})
    for name, value in (("activity_names", None), ("action_names", []), ("action_names", ["a\n"])):
        with pytest.raises(UserError, match=f"^config.{name} is .*; it lists the names of classes"):
            check_run({**get_config().to_dict(), **names, name: value})
    with pytest.raises(UserError, match="each class has one name"):
        check_run({**get_config().to_dict(), **names, "action_names": ["c", "c"]})
