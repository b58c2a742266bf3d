"""Trained models that come with the library, by their names: `stvh_jax.load("volleyball-boxes")`.

Each is a packed run beside its card, docs/models.md, which says what it was trained on.
"""

import pathlib

# What each is for, by its name.
MODELS = {
    "volleyball-boxes": "volleyball: eight activities, from the boxes of 12 people in one frame",
    "street-boxes": "people in the street: four activities, from the boxes of 13 in ten frames",
}

_FOLDER = pathlib.Path(__file__).parent / "trained"


def find(name: object) -> pathlib.Path | None:
    """Gives the packed run of a model by its name; None for anything else, as a folder's path."""
    return _FOLDER / f"{name}.zip" if str(name) in MODELS else None
