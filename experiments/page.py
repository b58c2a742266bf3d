"""docs/results.md: what was measured where, made of the JSON that the experiments leave."""

import json
import os
import pathlib
from collections.abc import Sequence

from experiments import results
from experiments.settings import SETTINGS
from stvh_jax.errors import UserError

PAGE = pathlib.Path("docs/results.md")
_INTRODUCTION = """# Results

What was measured here, each table and figure by the command beside it. `python -m experiments page`
makes this page of the JSON in `results/`. The paper's figures, of the whole data sets with frames,
stand beside ours where it prints any; ours are of the data that each section names. Studies of
protocols, readings of the paper and the use of motion are in [studies.md](studies.md).
"""


def write(folder: pathlib.Path, names: Sequence[str]) -> pathlib.Path:
    """Writes the page; returns its path.

    Args:
      folder: where the results are.
      names: of all experiments, to say which of them are missing.

    Raises:
      UserError: a file of results cannot be read, or there is none.
    """
    parts, without = [_INTRODUCTION], []
    for setting in SETTINGS.values():
        found = [_read(path) for path in sorted((folder / setting.name).glob("*.json"))]
        if not found:
            without.append(setting)
            continue
        parts.append(f"## {setting.title[0].upper()}{setting.title[1:]}\n")
        pictures = os.path.relpath(folder / setting.name, PAGE.parent) + "/"
        found.sort(key=lambda one: names.index(one["experiment"]))
        parts += [results.markdown(one, level=3, folder=pictures) for one in found]
        missing = [name for name in names if name not in {one["experiment"] for one in found}]
        if missing:
            parts.append(f"Not measured on these data: {', '.join(missing)}.\n")
    if len(without) == len(SETTINGS):
        raise UserError(f"{folder} has no results; try: python -m experiments all --data demo")
    if without:
        parts.append("## Not measured: run this\n")
        parts.append("These need data that are not here, or a GPU; nothing is filled in.\n")
        lines = ["| data | prepared by | then |", "| --- | --- | --- |"]
        lines += [
            f"| {setting.title} | `{setting.needs}` | "
            f"`python -m experiments all --data {setting.name}` |"
            for setting in without
        ]
        parts.append("\n".join(lines) + "\n")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n".join(parts))
    return PAGE


def _read(path: pathlib.Path) -> dict:
    try:
        found = json.loads(path.read_text())
        results.markdown(found)
        if found["experiment"] != path.stem:
            raise ValueError(found["experiment"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{path} is no result of an experiment; make it again") from error
    return found
