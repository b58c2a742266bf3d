"""The history of a run: its metrics as lines of JSON and as TensorBoard files."""

import json
import os
import time
from typing import Any

import jax
from etils import epath

from stvh_jax import files

HISTORY = "history.jsonl"


# How long what TensorBoard is to show may wait for its way to the disk.
_SECONDS_OF_BUFFERING = 60


class History:
    """The metrics of a run on disk, written by process 0 alone."""

    def __init__(self, workdir: epath.Path, *, start_step: int):
        """Opens the history and drops what a killed run wrote after its last checkpoint.

        Raises:
          UserError: it cannot be read or written.
        """
        self._events: Any = None
        self._is_written, self._start_step = jax.process_index() == 0, start_step
        if not self._is_written:
            return
        self._path, self._folder = workdir / HISTORY, workdir / "tensorboard"
        kept = [line for line in read_history(workdir) if line["step"] <= start_step]
        with self._writing():
            files.write(self._path, "".join(json.dumps(line) + "\n" for line in kept))
            self._folder.mkdir(exist_ok=True)

    def _open_events(self) -> Any:
        """Begins a TensorBoard file, which replaces what others hold of the steps to come."""
        # It imports PyTorch where that is installed, which takes seconds: after the first step.
        # Its SummaryWriter writes in a thread, and waits for ever when that has met a full disk.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        self._proto: Any = event_pb2
        self._events = EventsWriter(os.fspath(self._folder / "events"))
        started = self._proto.SessionLog(status=self._proto.SessionLog.START)
        self._add_event(self._start_step + 1, session_log=started)
        self._events.flush()
        self._flushed = time.monotonic()
        return self._events

    def _writing(self):
        return files.writing(self._path, "make room, and the same command resumes")

    def _add_event(self, step: int, **content) -> None:
        self._events.write_event(self._proto.Event(wall_time=time.time(), step=step, **content))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Appends one line.

        Raises:
          UserError: it cannot be written.
        """
        if not self._is_written:
            return
        with self._writing():
            with self._path.open("a") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
            events = self._events or self._open_events()
            from tensorboardX.summary import scalar

            for name, value in values.items():
                self._add_event(step, summary=scalar(name, value))
            if time.monotonic() - self._flushed > _SECONDS_OF_BUFFERING:
                events.flush()
                self._flushed = time.monotonic()

    def close(self) -> None:
        """Flushes the TensorBoard files.

        Raises:
          UserError: they cannot be written.
        """
        if self._events is not None:
            with self._writing():
                self._events.close()


def read_history(workdir: epath.Path) -> list[dict]:
    """Reads the lines of a run's history; one that is cut or damaged is left out.

    Raises:
      UserError: the system does not let it be read.
    """
    path = workdir / HISTORY
    if not path.exists():
        return []
    content = files.read_bytes(path, "a history of metrics").decode(errors="replace")
    lines = [_parse(line) for line in content.split("\n")]
    return [line for line in lines if line is not None]


def _parse(line: str) -> dict | None:
    """Reads the step and the numbers of a line; None if it is not one."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or type(values.get("step")) is not int:
        return None
    return values if all(type(value) in (int, float) for value in values.values()) else None
