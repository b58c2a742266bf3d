"""A film with its tracks, and an index of it by the model that comes with the library."""

import shutil

import pytest

from stvh_jax.inference.encoder import load
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.video_indexing import Archive, Cutting, Footage, index_video
from tests.helpers.filmed import film, opened

RUN = "volleyball-boxes"


@pytest.fixture(scope="session")
def filmed(tmp_path_factory):
    """Gives a folder with two films, and an index of one of them; to be read only."""
    folder = tmp_path_factory.mktemp("filmed")
    film(folder, "other", seed=3, nobody=range(40, 60))
    video, tracks = opened(film(folder, "game"))
    cutting = Cutting(every=1.0)
    archive = Archive(RUN, load(RUN), folder / "index", cutting)
    index_video(archive, Footage(video, tracks, "game", keep=True), cutting)
    return folder


@pytest.fixture
def index(filmed):
    return Index.open(filmed / "index")


@pytest.fixture
def sent(filmed, tmp_path):
    """Gives `sent(name)`: copies of a film and its tracks, as the server has received them."""

    def send(name="other"):
        folder = tmp_path / "sent"
        folder.mkdir()
        video = shutil.copy(filmed / f"{name}.mp4", folder / "video")
        return video, shutil.copy(filmed / f"{name}.txt", folder / "tracks")

    return send
