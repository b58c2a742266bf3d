from stvh_jax.fields import flatten


def test_nested_fields_get_dotted_names():
    values = {"a": 1, "b": {"c": None, "d": {"e": (1, 2)}, "empty": {}}, "f": [{"g": 3}]}
    assert flatten(values) == {"a": 1, "b.c": None, "b.d.e": (1, 2), "f": [{"g": 3}]}
    assert flatten({}) == {}
