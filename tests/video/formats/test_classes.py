import pytest

from stvh_jax.errors import UserError
from stvh_jax.video.formats.classes import choose_people, others_than_people


@pytest.mark.parametrize(
    "found, classes, chosen",
    [
        (["0", "2"], None, {"0"}),
        (["ball", "Person", "referee"], None, {"Person", "referee"}),
        (["libero"], None, {"libero"}),
        (["0", "2"], ["2"], {"2"}),
        (["a", "B"], ["b ", "c"], {"B"}),
    ],
)
def test_which_classes_are_people(found, classes, chosen):
    names, note = choose_people(found, classes)
    assert names == chosen and bool(note) == (found == ["libero"])


@pytest.mark.parametrize(
    "found, classes, words",
    [
        (["1", "2"], None, "no box has class 0"),
        (["ball", "net"], None, "not clear which of its classes are people; its boxes are of"),
        (["ball"], ["net"], "no box has one of the classes 'net'; its boxes are of 'ball'"),
        ([f"c{n}" for n in range(20)], None, "'c7' and 12 more"),
    ],
)
def test_no_people(found, classes, words):
    with pytest.raises(UserError) as caught:
        choose_people(found, classes)
    assert words in str(caught.value)


def test_boxes_of_others():
    others, _ = others_than_people(["ball", "person", "ball", "player"], None)
    assert others.tolist() == [True, False, True, False]
