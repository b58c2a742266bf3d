"""The history of a run on disk: what is whole is read, whatever stands between."""

import json

import pytest
from etils import epath

from stvh_jax.errors import UserError
from stvh_jax.runs.history import HISTORY, History, read_history

LINES = [{"step": 3, "train/loss": 1.5}, {"step": 6, "train/loss": 1.25}]


@pytest.mark.parametrize(
    "damage",
    [
        b'{"step": 9, "train/lo',
        b"\x00\xff\xfe\x80",
        b"7",
        b"[1]",
        b'{"train/loss": 1.0}',
        b'{"step": "4", "train/loss": 1.0}',
        b'{"step": 4, "train/loss": "much"}',
        b'{"step": 4, "train/loss": [1]}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_line_is_left_out_and_the_others_stay(damage, tmp_path):
    first, second = (json.dumps(line).encode() for line in LINES)
    (tmp_path / HISTORY).write_bytes(b"\n".join([first, damage, second, damage]))
    assert read_history(epath.Path(tmp_path)) == LINES
    history = History(epath.Path(tmp_path), start_step=5)
    history.write(6, {"train/loss": 2.0})
    history.close()
    assert read_history(epath.Path(tmp_path)) == [LINES[0], {"step": 6, "train/loss": 2.0}]


def test_what_tensorboard_reads_has_the_numbers(tmp_path):
    from tensorboardX.proto import event_pb2

    history = History(epath.Path(tmp_path), start_step=2)
    history.write(3, {"train/loss": 1.5})
    history.close()
    (path,) = (tmp_path / "tensorboard").iterdir()
    content, events = path.read_bytes(), []
    while content:
        size = int.from_bytes(content[:8], "little")
        events.append(event_pb2.Event.FromString(content[12 : 12 + size]))
        content = content[16 + size :]
    version, started, logged = events
    assert version.file_version == "brain.Event:2"
    assert (started.step, started.session_log.status) == (3, event_pb2.SessionLog.START)
    (value,) = logged.summary.value
    assert (logged.step, value.tag, value.simple_value) == (3, "train/loss", 1.5)


def test_a_history_that_cannot_be_written_is_said_in_one_line(tmp_path):
    history = History(epath.Path(tmp_path), start_step=0)
    (tmp_path / HISTORY).unlink()
    (tmp_path / HISTORY).mkdir()
    with pytest.raises(UserError, match=f"^cannot write {tmp_path}/{HISTORY} .Is a directory.; m"):
        history.write(1, {"train/loss": 1.0})
    history.close()
