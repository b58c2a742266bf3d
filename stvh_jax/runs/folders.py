"""A run's folder: the config it was started with, and finding it again by what it is."""

import contextlib
import json
import operator
import time

from etils import epath

from stvh_jax import files
from stvh_jax.codes.packing import code_lengths
from stvh_jax.config import ADDED_FIELDS
from stvh_jax.errors import UserError

FOLDER = "runs"


CONFIG = "config.json"


FINISHED = "finished.json"


# Fields that may change between a run and its resumption: they change no number but by rounding.
FREE_FIELDS = (
    "backbone_weights.source",
    "data.dir",
    "devices",
    "model.backbone.remat",
    "model.frames_per_chunk",
    "train.backbone_weights",
    "train.feature_cache",
    "train.log_every_steps",
)


def open_folder(path: epath.PathLike) -> epath.Path:
    """Names a run's folder, local or in a bucket, by its absolute path.

    Raises:
      UserError: it is a URL of a storage that cannot be read.
    """
    scheme, separator, rest = str(path).partition("://")
    if not separator:
        return epath.Path(path).absolute()
    if scheme == "file":
        return epath.Path(rest).absolute()
    try:
        return epath.Path(path)
    except KeyError as error:
        raise UserError(f"{path} is in no storage that can be read; use a folder") from error


def default_workdir(config) -> str:
    """Names a run's folder by what tells runs of one config apart."""
    model = config.model
    bits = "+".join(map(str, code_lengths(model.bits)))
    return f"{FOLDER}/{config.name}-{model.name}-{bits}-{config.seed}"


def prepare(run: epath.Path, described: dict) -> None:
    """Makes a run's folder and writes its config, where there is none.

    Raises:
      UserError: the folder cannot be written.
    """
    with files.writing(run, "give another --workdir"):
        run.mkdir(parents=True, exist_ok=True)
        _write_once(run / CONFIG, described)


def finish(run: epath.Path, step: int) -> None:
    """Marks a run as finished, now; one that was finished before keeps its time."""
    _write_once(run / FINISHED, {"step": step, "finished_at": time.time()})


def _write_once(path: epath.Path, content: dict) -> None:
    """Writes a JSON file whole or not at all, and only where there is none."""
    if not path.exists():
        files.write(path, json.dumps(content, indent=2))


def check_same(run: epath.Path, described: dict) -> None:
    """Checks that the run in a folder is one of this config.

    Raises:
      UserError: it differs in a field that is not free.
    """
    if found := difference(read_config(run), described):
        raise UserError(
            f"{run} holds a run with {found}; give another --workdir or the same config"
        )


def find(*, workdir: epath.PathLike | None, bits: int, config=None) -> epath.Path:
    """Finds the run to evaluate: `workdir`, or the newest finished one with these bits.

    One whose codes have these bits and no others comes before one of nested codes.

    Args:
      workdir: folder of a run, or None.
      bits: length of the run's codes, or of some of its nested ones.
      config: the config that the run must have but for its bits, or None for any.

    Raises:
      UserError: there is no such run, or it has other bits or another config.
    """
    wanted = None
    if config is not None:
        wanted = json.loads(config.to_json_best_effort())
    if workdir is not None:
        run = open_folder(workdir)
        check(run, read_config(run), bits, wanted)
        return run
    found: set[int] = set()
    prefix = None
    for run, described in _finished_runs():
        if described["model"].get("name") == "frame_classifier":  # it has no codes
            continue
        lengths = code_lengths(described["model"]["bits"])
        found.update(lengths)
        if bits in lengths and not lacks(described, wanted):
            if len(lengths) == 1:
                return run
            prefix = prefix or run
    if prefix:
        return prefix
    of_config = " of this config" if config is not None else ""
    others = f" (there are runs of {sorted(found)} bits)" if found else ""
    raise UserError(
        f"{FOLDER}/ has no finished run of {bits} bits{of_config}{others}; "
        "train one with train.py or name its folder with --workdir"
    )


def _finished_runs() -> list[tuple[epath.Path, dict]]:
    """Lists the finished runs with their configs, the newest first; damaged ones are left out."""
    finished = []
    for path in epath.Path(FOLDER).glob(f"*/{FINISHED}"):
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, UserError):
            time_of = float(json.loads(path.read_text())["finished_at"])
            finished.append((time_of, path.parent, read_config(path.parent)))
    return [
        (run, described)
        for _, run, described in sorted(finished, key=operator.itemgetter(0), reverse=True)
    ]


def read_config(run: epath.Path) -> dict:
    """Reads the config a run was started with.

    Raises:
      UserError: the folder holds no run.
    """
    try:
        described = json.loads((run / CONFIG).read_text())
        described["model"]["bits"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{run} is no run (no readable {CONFIG}); give the folder that train.py printed"
        ) from error
    return described


def check(run: epath.Path, described: dict, bits: int, wanted: dict | None) -> None:
    """Checks that a run has these bits and this config.

    Raises:
      UserError: it has others.
    """
    lengths = code_lengths(described["model"]["bits"])
    if bits not in lengths:
        raise UserError(
            f"{run} has codes of {' and '.join(map(str, lengths))} bits, not {bits}; "
            f"use --bits={lengths[-1]} or another --workdir"
        )
    if found := lacks(described, wanted):
        raise UserError(f"{run} is a run of another config: it has {found}")


def lacks(described: dict, wanted: dict | None) -> str:
    """Names the first field but the bits in which a run's config differs from `wanted`, or ""."""
    # A run's config also has what was found in the data and in the weights.
    names = ("activity_names", "action_names", "backbone_weights")
    bare = {name: value for name, value in described.items() if name not in names}
    if not wanted:
        return ""
    wanted = {**wanted, "model": {**wanted["model"], "bits": described["model"]["bits"]}}
    return difference(bare, wanted)


def difference(stored: dict, wanted: dict) -> str:
    """Names the first field in which two configs differ, "" if none does; free ones may."""
    stored, wanted = flatten(stored), flatten(wanted)
    for name in sorted((stored.keys() | wanted.keys()) - set(FREE_FIELDS)):
        before = ADDED_FIELDS.get(name)
        if stored.get(name, before) != wanted.get(name, before):
            return f"{name}={stored.get(name, before)!r}, not {wanted.get(name, before)!r}"
    return ""


def flatten(config: dict, prefix: str = "") -> dict:
    """Flattens nested dicts to dotted names."""
    flat = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
