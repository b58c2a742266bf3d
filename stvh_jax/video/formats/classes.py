"""Which classes of a file are people."""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Bool

from stvh_jax.errors import UserError
from stvh_jax.names import natural_key

# What data sets and annotators call people, in small letters.
PEOPLE = frozenset(
    ("person", "persons", "people", "pedestrian", "pedestrians", "human", "humans")
    + ("man", "woman", "child", "player", "players", "goalkeeper", "referee", "athlete", "worker")
)

# The class of people in COCO, and so in what most detectors write.
PERSON_NUMBER = "0"


def choose_people(found: Sequence[str], classes: Collection[str] | None) -> tuple[set[str], str]:
    """Chooses the classes whose boxes are people's.

    Args:
      found: the distinct classes of a file, names or numbers as texts.
      classes: those that the user says are people; None for the usual ones: class 0 of numbers,
        "person" and its like of names, and a class that is the only one by its name.

    Returns:
      The chosen ones of `found`, and a note for the user, or "".

    Raises:
      UserError: none of them is there.
    """
    there = f"its boxes are of {listed(found)}"
    if classes is not None:
        wanted = {name.strip().casefold() for name in classes}
        chosen = {name for name in found if name.strip().casefold() in wanted}
        if not chosen:
            raise UserError(f"no box has one of the classes {listed(list(classes))}; {there}")
        return chosen, ""
    if all(name.isdecimal() for name in found):
        chosen = {name for name in found if name == PERSON_NUMBER}
        cure = "no box has class 0, which is a person in COCO"
    else:
        chosen = {name for name in found if name.strip().casefold() in PEOPLE}
        cure = "it is not clear which of its classes are people"
        if not chosen and len(found) == 1:
            return set(found), f"all boxes are of {listed(found)}, which is taken to be people"
    if not chosen:
        raise UserError(f"{cure}; {there}; say which are people: read_tracks(..., classes=[...])")
    return chosen, ""


def others_than_people(
    labels: Sequence[str], classes: Collection[str] | None
) -> tuple[Bool[np.ndarray, "M"], str]:
    """Finds the boxes that are no people's.

    Args:
      labels: the class of each box.
      classes: see `choose_people`.

    Returns:
      Which they are, and a note for the user, or "".

    Raises:
      UserError: all are.
    """
    # As numbers, for an array of texts takes for each the room of the longest.
    known: dict[str, int] = {}
    codes = [known.setdefault(label, len(known)) for label in labels]
    chosen, note = choose_people(sorted(known, key=natural_key), classes)
    return np.array([name not in chosen for name in known])[codes], note


def listed(names: Sequence[str], most: int = 8) -> str:
    """Lists names for a message, the first few of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name[:40]) for name in names[:most]) + more
