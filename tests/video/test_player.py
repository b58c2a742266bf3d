import base64
import hashlib
import html.parser
import io
import json
import re

import av
import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.video.pieces import Piece
from stvh_jax.video.player import MovingBoxes, write_player
from tests.helpers.numbered_videos import read_numbers, write_video

HOSTILE = '"><script>alert(1)</script>&amp;'


class Page(html.parser.HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text):
        super().__init__()
        self.found, self.texts, self.open = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open and data.strip():
            self.texts.setdefault(self.open[-1], []).append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4", 60, rate=50, size=(512, 480))


@pytest.fixture(scope="module")
def page(video, tmp_path_factory):
    times = np.array([0.0, 0.5, 5.0])
    boxes = np.full((3, 2, 4), np.nan)
    boxes[0, 1] = [0.25, 0.5, 0.5, 0.75]
    pieces = [Piece(video, 0.2, 0.6, HOSTILE, HOSTILE, 2.5), Piece(video, 0.5, 0.7)]
    path = tmp_path_factory.mktemp("page") / "player.html"
    write_player(path, pieces, [MovingBoxes(times, boxes), None], title=HOSTILE)
    return Page(path.read_text())


def test_names_of_users_stay_text(page):
    scripts = page.all("script")
    assert [script.get("type") for script in scripts] == ["application/json", None]
    assert "alert(1)" not in "".join(page.texts["script"])
    assert page.texts["h1"] == [HOSTILE]
    assert page.texts["span"].count(HOSTILE) == 2
    assert page.all("video")[0]["aria-label"] == f"1 {HOSTILE} 0:00:00 {HOSTILE}"


def test_the_policy_lets_run_what_the_page_has_and_nothing_else(page):
    policy = next(meta for meta in page.all("meta") if "http-equiv" in meta)["content"]
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    for tag in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.texts[tag][-1].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    links = [value for _, attributes in page.found for value in attributes.values() if value]
    assert not any(re.match(r"(https?:)?//", link) for link in links)
    assert not any(name.startswith("on") or name == "style" for _, a in page.found for name in a)


def test_clips_are_small_and_show_their_piece(page, tmp_path):
    clips = page.all("video")
    for clip, first in zip(clips, (10, 25)):
        data = base64.b64decode(clip["src"].removeprefix("data:video/mp4;base64,"))
        with av.open(io.BytesIO(data)) as container:
            context = container.streams.video[0].codec_context
            assert (context.width, context.height) == (256, 240)
            assert (context.name, context.profile) == ("h264", "Constrained Baseline")
        path = tmp_path / "clip.mp4"
        path.write_bytes(data)
        numbers = [number for number, _ in read_numbers(path)]
        assert numbers == list(range(first, first + 2 * len(numbers), 2))
        poster = base64.b64decode(clip["poster"].removeprefix("data:image/jpeg;base64,"))
        assert poster.startswith(b"\xff\xd8")
    assert "2.5 bits" in page.texts["span"]


def test_boxes_are_those_near_the_piece(page):
    data = json.loads(page.texts["script"][0])
    assert data == {"times": [-200, 300], "boxes": [[2500, 5000, 5000, 7500], []]}


@pytest.mark.parametrize(
    "times, boxes, message",
    [
        ([0.0, 0.0], np.zeros((2, 1, 4)), "do not increase"),
        ([0.0, np.nan], np.zeros((2, 1, 4)), "do not increase"),
        ([0.0], np.full((1, 1, 4), 300.0), "beyond the frame"),
        ([0.0], np.full((1, 1, 4), np.inf), "beyond the frame"),
    ],
)
def test_impossible_boxes_are_refused(video, tmp_path, times, boxes, message):
    people = MovingBoxes(np.array(times), boxes)
    with pytest.raises(UserError, match=message):
        write_player(tmp_path / "a.html", [Piece(video, 0, 1)], [people], title="a")
    with pytest.raises(UserError, match="boxes are given for 1 pieces, but there are 2"):
        write_player(tmp_path / "a.html", [Piece(video, 0, 1)] * 2, [None], title="a")
    assert not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_made_leaves_nothing(video, tmp_path):
    lines = []
    pieces = [Piece(video, 0, 0.2), Piece(video, 50, 60)]
    with pytest.raises(UserError, match="ends at"):
        write_player(tmp_path / "a.html", pieces, title="a", report=lines.append)
    assert lines == ["clip 1 of 2"] and not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="cannot write"):
        write_player(tmp_path / "no folder" / "a.html", pieces[:1], title="a")
