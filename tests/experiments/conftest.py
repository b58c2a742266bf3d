import pathlib

import pytest

from tests.experiments.fake_commands import EVALUATE, TRAIN


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the two scripts, from which the experiments run, and data that are there."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("train.py", TRAIN), ("evaluate.py", EVALUATE), ("seconds.txt", "0")):
        pathlib.Path(name).write_text(text)
    monkeypatch.setattr("data.prepared.pipeline.open_dataset", lambda config: None)
    pathlib.Path("docs").mkdir()
    return tmp_path
