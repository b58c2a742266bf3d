"""The search command, and an index of a trained run."""

import shutil

import pytest
from etils import epath

from data import open_dataset
from stvh_jax.cli import search
from stvh_jax.inference.encoded_clips import encode_split
from stvh_jax.inference.encoder import load
from stvh_jax.retrieval.indexing import index_split
from tests.helpers.fakes import FakeDataset


@pytest.fixture
def command(monkeypatch, tmp_path, capsys):
    """Runs `python search.py ARGUMENTS` in an empty folder, on the data of the shared run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("data.prepared.pipeline.open_dataset", lambda config: FakeDataset())

    def run(*arguments):
        try:
            status = search.main(open_dataset, [str(one) for one in arguments])
        except SystemExit as stopped:
            status = stopped.code
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture(scope="session")
def indexed(trained, tmp_path_factory):
    """Gives the shared run and an index of its training clips; to be read only."""
    folder = epath.Path(tmp_path_factory.mktemp("indexed"))
    shutil.copytree(trained(), folder / "run")
    index_split(
        folder / "run", load(folder / "run"), FakeDataset(), folder / "index", split="train"
    )
    return folder


@pytest.fixture(scope="session")
def encoded(indexed):
    """Gives the network's own codes of each split."""
    encoder, dataset = load(indexed / "run"), FakeDataset()
    return {split: encode_split(encoder, dataset, split) for split in dataset.splits}
