"""Finding a finished run by what it is."""

import json

from etils import epath

from stvh_jax.errors import UserError
from stvh_jax.trainer import FINISHED, FREE_FIELDS, flatten

FOLDER = "runs"


def default_workdir(config) -> str:
    """Names a run's folder by what tells runs of one config apart."""
    model = config.model
    return f"{FOLDER}/{config.name}-{model.name}-{model.bits}-{config.seed}"


def find(*, workdir: str | None, bits: int, config=None) -> epath.Path:
    """Finds the run to evaluate: `workdir`, or the newest finished one with these bits.

    Args:
      workdir: folder of a run, or None.
      bits: length of the run's codes.
      config: the config that the run must have, or None for any.

    Raises:
      UserError: there is no such run, or it has other bits or another config.
    """
    if config is not None:
        with config.unlocked():
            config.model.bits = bits
    if workdir is not None:
        run = epath.Path(workdir)
        check(run, read_config(run), bits, config)
        return run
    candidates = sorted(
        epath.Path(FOLDER).glob(f"*/{FINISHED}"),
        key=lambda path: json.loads(path.read_text())["finished_at"],
        reverse=True,
    )
    found: set[int] = set()
    for path in candidates:
        described = read_config(path.parent)
        found.add(described["model"]["bits"])
        if described["model"]["bits"] != bits:
            continue
        if config is None or not difference(described, config):
            return path.parent
    of_config = " of this config" if config is not None else ""
    others = f" (there are runs of {sorted(found)} bits)" if found else ""
    raise UserError(
        f"{FOLDER}/ has no finished run of {bits} bits{of_config}{others}; "
        "train one with train.py or name its folder with --workdir"
    )


def read_config(run: epath.Path) -> dict:
    """Reads the config a run was started with."""
    try:
        return json.loads((run / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{run} is no run (no readable config.json); give the folder that train.py printed"
        ) from error


def difference(described: dict, config) -> str:
    """Names the first field in which a run's config differs from `config`, "" if none does."""
    stored, current = flatten(described), flatten(json.loads(config.to_json_best_effort()))
    for name in sorted(current.keys() - set(FREE_FIELDS)):
        if stored.get(name) != current[name]:
            return f"{name}={stored.get(name)!r}, not {current[name]!r}"
    return ""


def check(run: epath.Path, described: dict, bits: int, config) -> None:
    """Checks that a run has these bits and this config."""
    if described["model"]["bits"] != bits:
        raise UserError(
            f"{run} has codes of {described['model']['bits']} bits, not {bits}; "
            f"use --bits={described['model']['bits']} or another --workdir"
        )
    if config is not None and (found := difference(described, config)):
        raise UserError(f"{run} is a run of another config: it has {found}")
