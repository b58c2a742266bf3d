"""A run's folder: its config, and how a run is found by its bits and its config."""

import contextlib
import json
import operator
import time

from etils import epath

from stvh_jax import files
from stvh_jax.codes.packing import code_lengths
from stvh_jax.config import ADDED_FIELDS, OF_RUNS, check_fields, check_run
from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.fields import check_number, flatten

FOLDER = "runs"
CONFIG = "config.json"
FINISHED = "finished.json"
# The folder of the checkpoints, and the item of one that holds digests of the others.
CHECKPOINTS, DIGESTS = "checkpoints", "digests"
# Far more than either of them has.
MOST_BYTES = 16 << 20
# Fields that may differ when a run is resumed: they change numbers by rounding at most.
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
      NotFound: the path is a URL of a storage that cannot be read.
    """
    scheme, separator, rest = str(path).partition("://")
    if not separator:
        return epath.Path(path).absolute()
    if scheme == "file":
        return epath.Path(rest).absolute()
    try:
        return epath.Path(path)
    except KeyError as error:
        raise NotFound(f"{path} is in a storage that cannot be read; use a folder") from error


def default_workdir(config) -> str:
    """Names a run's folder by what tells the runs of one config apart."""
    model = config.model
    bits = "+".join(map(str, code_lengths(model.bits)))
    if model.get("objective", "printed") == "graded":
        bits += f"-{model.visual_bits}_visual"
    return f"{FOLDER}/{config.name}-{model.name}-{bits}-{config.seed}"


def prepare(run: epath.Path, run_config: dict) -> None:
    """Makes a run's folder and writes its config, unless they are there.

    Raises:
      UserError: the folder cannot be written.
    """
    with files.writing(run, "give another --workdir"):
        run.mkdir(parents=True, exist_ok=True)
        _write_once(run / CONFIG, run_config)


def finish(run: epath.Path, step: int) -> None:
    """Marks a run as finished now; a run that was finished before keeps its time."""
    _write_once(run / FINISHED, {"step": step, "finished_at": time.time()})


def _write_once(path: epath.Path, content: dict) -> None:
    """Writes a JSON file whole or not at all, and only where there is none."""
    if not path.exists():
        files.write(path, json.dumps(content, indent=2))


def check_same(run: epath.Path, run_config: dict) -> None:
    """Checks that the run in a folder has this config.

    Raises:
      UserError: it differs in a field that must stay the same.
    """
    if field := difference(read_config(run), run_config):
        raise UserError(
            f"{run} holds a run with {field}; give another --workdir or the same config"
        )


def find(*, workdir: epath.PathLike | None, bits: int, config=None) -> epath.Path:
    """Finds the run to evaluate: `workdir`, or the newest finished run with these bits.

    A run whose codes have just these bits comes before a run of nested codes.

    Args:
      workdir: folder of a run, or None.
      bits: length of the run's codes, or of some of its nested ones.
      config: the config that the run must have, except for its bits; None for any.

    Raises:
      NotFound: there is no such run.
      UserError: the run in `workdir` has other bits or another config.
    """
    expected = None
    if config is not None:
        expected = json.loads(config.to_json_best_effort())
    if workdir is not None:
        run = open_folder(workdir)
        check(run, read_config(run), bits, expected)
        return run
    lengths_there: set[int] = set()
    prefix = None
    for run, run_config in _finished_runs():
        if run_config["model"].get("name") == "frame_classifier":  # it has no codes
            continue
        lengths = code_lengths(run_config["model"]["bits"])
        lengths_there.update(lengths)
        if bits in lengths and not lacks(run_config, expected):
            if len(lengths) == 1:
                return run
            prefix = prefix or run
    if prefix:
        return prefix
    of_config = " of this config" if config is not None else ""
    others = f" (there are runs of {sorted(lengths_there)} bits)" if lengths_there else ""
    raise NotFound(
        f"{FOLDER}/ has no finished run of {bits} bits{of_config}{others}; "
        "train one with train.py or name its folder with --workdir"
    )


def _finished_runs() -> list[tuple[epath.Path, dict]]:
    """Lists the finished runs with their configs, the newest first; damaged ones are left out."""
    finished = []
    for path in epath.Path(FOLDER).glob(f"*/{FINISHED}"):
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, UserError):
            time_of = files.read_json(path, "the end of a run", most=MOST_BYTES)["finished_at"]
            check_number("finished_at", time_of, high=1e15)
            finished.append((time_of, path.parent, read_config(path.parent)))
    return [
        (run, run_config)
        for _, run, run_config in sorted(finished, key=operator.itemgetter(0), reverse=True)
    ]


def read_config(run: epath.Path) -> dict:
    """Reads the config a run was started with.

    Raises:
      NotFound: the folder holds no run.
      Damaged: its config cannot be read.
    """
    said = f"{run} is not a run (no readable {CONFIG}); give the folder that train.py printed"
    try:
        run_config = files.read_json(run / CONFIG, "a run's config", most=MOST_BYTES)
    except NotFound as error:
        raise NotFound(said) from error
    except Damaged as error:
        raise Damaged(f"{said} ({error})") from error
    try:
        check_fields(run_config, stored=True)
    except UserError as error:
        raise Damaged(f"{run / CONFIG} cannot be used: {error}") from error
    return run_config


def read_checkpoint_config(
    run: epath.Path, step: int, *, source: epath.PathLike | None = None
) -> dict:
    """Reads the config that a checkpoint was made with, and checks it.

    Args:
      run: the run's folder.
      step: the checkpoint's.
      source: the file that the run was unpacked from, for messages.

    Raises:
      Damaged: it cannot be read, or a field has a value that it cannot have.
    """
    from stvh_jax.runs import checkpoints  # it loads JAX and Orbax

    run_config = checkpoints.load_config(run, step)
    try:
        check_run(run_config)
    except UserError as error:
        raise Damaged(f"{source or run} is not a run that can be used: {error}") from error
    return run_config


def check(run: epath.Path, run_config: dict, bits: int, expected: dict | None) -> None:
    """Checks that a run has these bits and this config.

    Raises:
      UserError: it has others.
    """
    lengths = code_lengths(run_config["model"]["bits"])
    if bits not in lengths:
        raise UserError(
            f"{run} has codes of {' and '.join(map(str, lengths))} bits, not {bits}; "
            f"use --bits={lengths[-1]} or another --workdir"
        )
    if field := lacks(run_config, expected):
        raise UserError(f"{run} is a run of another config: it has {field}")


def lacks(run_config: dict, expected: dict | None) -> str:
    """Names the first field, bits aside, in which a run's config differs from `expected`; or ""."""
    # A run's config also holds what the data and the weights brought.
    bare = {name: value for name, value in run_config.items() if name not in OF_RUNS}
    if not expected:
        return ""
    expected = {**expected, "model": {**expected["model"], "bits": run_config["model"]["bits"]}}
    return difference(bare, expected)


def difference(stored: dict, expected: dict) -> str:
    """Names the first field, `FREE_FIELDS` aside, in which two configs differ; "" if none does."""
    stored, expected = flatten(stored), flatten(expected)
    for name in sorted((stored.keys() | expected.keys()) - set(FREE_FIELDS)):
        before = ADDED_FIELDS.get(name)
        if stored.get(name, before) != expected.get(name, before):
            return f"{name}={stored.get(name, before)!r}, not {expected.get(name, before)!r}"
    return ""
