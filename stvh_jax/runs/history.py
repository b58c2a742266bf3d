"""The history of a run: its metrics as lines of JSON and as TensorBoard files."""

import json
import os

import jax
from etils import epath

HISTORY = "history.jsonl"


class History:
    """The metrics of a run on disk, written by process 0 alone."""

    def __init__(self, workdir: epath.Path, *, start_step: int):
        """Opens the history and drops what a killed run wrote after its last checkpoint."""
        self._writer = None
        if jax.process_index() != 0:
            return
        from tensorboardX import SummaryWriter

        self._path = workdir / HISTORY
        kept = [line for line in read_history(workdir) if line["step"] <= start_step]
        self._path.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self._writer = SummaryWriter(os.fspath(workdir / "tensorboard"), purge_step=start_step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Appends one line."""
        if self._writer is None:
            return
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes the TensorBoard files."""
        if self._writer is not None:
            self._writer.close()


def read_history(workdir: epath.Path) -> list[dict]:
    """Reads the whole lines of a run's history; a line cut by a kill is left out."""
    path = workdir / HISTORY
    if not path.exists():
        return []
    lines = []
    for line in path.read_text().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines
