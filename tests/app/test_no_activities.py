"""The page of an index whose model learned without labels: it makes up no activity."""

import html

import pytest

from stvh_jax.app.upload_worker import _plain
from stvh_jax.app.uploads import read_result
from stvh_jax.inference.encoder import load
from stvh_jax.retrieval.encoded_queries import moment_query
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.video_indexing import Archive, Cutting, Footage, index_video
from tests.helpers.filmed import film, opened
from tests.helpers.served import serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nameless(label_free, tmp_path_factory):
    """Gives an index of a film, and the film."""
    folder = tmp_path_factory.mktemp("nameless")
    video, tracks = opened(film(folder, "game"))
    cutting, footage = Cutting(every=0.5), Footage(video, tracks, "game", keep=True)
    archive = Archive(label_free, load(label_free), folder / "index", cutting)
    index_video(archive, footage, cutting)
    return Index.open(folder / "index"), footage


def test_no_activity_is_shown_or_offered(nameless, label_free, tmp_path):
    index, _ = nameless
    with serving(index, tmp_path, run=label_free) as page:
        pages = [
            page.get("/"),
            page.get("/", clip="game/1000"),
            page.get("/", clip="game/1000", like="game/0"),
            page.get("/research"),
        ]
        refused = page.get("/ask", text="nonsense")
    for answered in pages:
        text = html.unescape(answered.text)
        assert answered.status == 200
        assert "(predicted)" not in text and 'class="activity' not in text
        assert "an activity, or" not in text and 'aria-label="Activities"' not in text
        assert not any(name in text for name in ("l_set", "r_spike"))  # the classes of the run
    assert "write a clip as MATCH/CLIP" in html.unescape(refused.text)


def test_a_name_that_a_clip_was_given_is_shown(nameless, label_free, tmp_path):
    index, _ = nameless
    seen = []
    for name in ("<fast> break", None):
        index.name([("game", "1000")], name)
        with serving(index, tmp_path, run=label_free) as page:
            seen.append(page.get("/", clip="game/1000").text)
    assert '<span class="activity">&lt;fast&gt; break</span>' in seen[0]
    assert "<fast>" not in seen[0] and "activity not known" in seen[0]  # of the other clips
    assert "break" not in seen[1]


def test_an_upload_is_of_no_activity(nameless, label_free):
    index, footage = nameless
    query = moment_query(index, lambda: load(label_free), footage, 1.0)
    read, _ = read_result(_plain(query, footage.video), index.info)
    assert read.records[0]["predicted"] is None
