"""The page's answers to a program that asks: pages, pieces, pictures, loops, and mistakes."""

import html
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from stvh_jax.retrieval.index import Index
from tests.helpers.served import serving
from tests.helpers.shown_index import ACTIVITIES, GONE


def cards(answer):
    """Gives the names of the cards in order."""
    return [
        html.unescape(name)
        for name in re.findall(r'<li class="card[^>]*data-key="([^"]*)"', answer.text)
    ]


def said(answer):
    """Gives what an answer complains of."""
    return [html.unescape(text) for text in re.findall(r'class="error">([^<]*)<', answer.text)]


def test_the_first_page_shows_clips_and_what_can_be_asked(served):
    answer = served.get("/")
    assert answer.status == 200 and len(cards(answer)) == 24
    assert "24 of 53 clips" in answer.text
    for name in ACTIVITIES:
        assert f'href="/?activity={name}"' in answer.text
    assert 'id="scale"' not in answer.text and 'id="take"' not in answer.text


def test_a_piece_is_the_part_of_the_page_that_changes(served):
    asked = {"clip": "cup final/5", "scale": "0.2"}
    page, piece = served.get("/", **asked), served.get("/results", **asked)
    assert cards(page) == cards(piece) and len(cards(piece)) == 24
    assert "<html" in page.text and "<html" not in piece.text


def test_moments_are_made_of_clips_that_overlap(served):
    answer = served.get("/", clip="gala/10", count="480")
    assert "3 clips</span>" in answer.text
    assert len(cards(answer)) == 53 - 1 - 2  # but for the query, and three are one
    assert 'id="more"' not in answer.text
    assert 'id="more"' in served.get("/", clip="gala/10").text


def test_given_and_predicted_activities_look_different(served, shown):
    answer = served.get("/", clip="cup final/5", count="480")
    text = html.unescape(answer.text)
    for record in shown.records[6:9]:
        name, what = f"{record['match']}/{record['clip']}", record["predicted"]
        card = text[text.index(f'data-key="{name}"') :].split("</article>")[0]
        if record["activity"] is None:
            percent = round(100 * record["confidence"])
            assert f"{what}?</span>" in card and f"predicted {percent} %" in card
        else:
            assert f"{what}</span>" in card and "labelled" in card and "predicted" not in card


WRONG = {
    "/?clip=gala/99": (404, "gala/99 is not in the index"),
    "/?clip=nothing": (400, "'nothing' is not the name of a clip"),
    "/?scale=2&activity=set": (400, "scale '2'; give a number from 0 to 1"),
    "/?activity=juggle": (400, "there is no activity 'juggle'"),
    "/?is.rating=1": (400, "this index has no field 'rating'"),
    "/?saved=none": (404, "there is no query 'none'"),
    "/?upload=none": (404, "this upload is gone"),
    "/?like=gala/1&not=gala/1": (400, "gala/1 is liked and not liked"),
    "/?upload=x&activity=set": (404, "this upload is gone"),
    "/ask?text=nonsense": (404, "nothing here is called 'nonsense'"),
    "/research?clip=gala/99": (404, "gala/99 is not in the index"),
    "/research?other=9": (400, "scale '9'; give a number from 0 to 1"),
    "/?activity=<script>alert(1)</script>": (400, "there is no activity '<script>alert(1)"),
}


@pytest.mark.parametrize("address", WRONG)
def test_a_mistake_is_a_line_on_a_page_that_works(served, address):
    status, line = WRONG[address]
    answer = served.ask(address)
    (text,) = said(answer)
    assert line in text and "Traceback" not in answer.text
    assert answer.status == status
    assert "<script>alert" not in answer.text
    assert 'id="text"' in answer.text


def test_pictures_and_loops_are_of_clips_by_name(served):
    poster = served.get("/poster", clip="cup final/5")
    assert (poster.status, poster.headers["content-type"]) == (200, "image/jpeg")
    with Image.open(io.BytesIO(poster.content)) as picture:
        assert picture.size == (160, 64)
    loop = served.get("/loop", clip="cup final/5")
    assert (loop.status, loop.headers["content-type"]) == (200, "video/mp4")
    part = served.ask("/loop?clip=cup+final/5", range="bytes=10-19")
    assert (part.status, part.content) == (206, loop.content[10:20])
    boxes = json.loads(served.get("/boxes", clip="cup final/5").content)
    assert len(boxes["times"]) == len(boxes["boxes"]) == 70  # 2.8 seconds
    for path in ("/poster", "/loop", "/boxes"):
        for clip, status in (("gala/99", 404), ("away/1", 404), ("x", 400), ("", 400)):
            answer = served.get(path, clip=clip)
            assert answer.status == status and answer.headers["content-type"].startswith(
                "text/plain"
            )
            assert "\n" not in answer.text


def test_the_map_has_every_clip(served, shown):
    answer = json.loads(served.get("/map").content)
    matches = [answer["matches"][place] for place in answer["match"]]
    names = {(each["match"], each["clip"]) for each in shown.records}
    assert set(zip(matches, answer["clip"])) == names and len(answer["clip"]) == len(names)
    assert [len(layout) for layout in answer["layouts"]] == [2 * len(names)] * 4


def test_a_clip_whose_video_is_gone_says_so(served, shown):
    answer = served.get("/", clip="away/1")
    assert f"{shown.folder / GONE}.mp4 is gone; put it back, or index it again" in answer.text
    assert "the index names no video for this clip" in served.get("/", clip="it's/1").text


def test_a_hit_leads_to_the_like_of_it_under_the_same_conditions(served):
    answer = served.ask(
        "/?clip=gala/4&scale=0.5&is.match=gala&like=gala/9&round=1&count=48&elsewhere=1"
    )
    links = [
        html.unescape(link) for link in re.findall(r'class="choose" href="([^"]*)"', answer.text)
    ]
    assert not links and said(answer) == []  # other matches, of this match alone: nothing fits
    assert "No moment fits." in answer.text
    answer = served.ask("/?clip=gala/4&scale=0.5&is.match=gala&like=gala/9&round=1&count=48")
    links = [
        html.unescape(link) for link in re.findall(r'class="choose" href="([^"]*)"', answer.text)
    ]
    assert links == [
        f"/?clip={name.replace('/', '%2F')}&scale=0.5&is.match=gala" for name in cards(answer)
    ]


def test_research_shows_distances_failures_and_two_searches(served):
    answer = served.get("/research", clip="cup final/5", other="0.5", pair=["pass", "set"])
    assert answer.status == 200
    for words in (
        "Two searches side by side",
        "How far activities are apart",
        "of pass that find set",
    ):
        assert words in answer.text
    assert "Two searches" not in served.get("/research").text


def test_an_empty_index_says_what_to_do(tmp_path):
    index = Index.create(tmp_path / "index", bits=16, stored_foci=(1,))
    with serving(index, tmp_path) as page:
        for address in ("/", "/research", "/map"):
            assert page.ask(address).status == 200
        assert "Nothing indexed yet" in page.ask("/").text
        assert f"--out {index.uri}" in html.unescape(page.ask("/").text)
        assert page.ask("/ask?text=spike").status == 404


def test_an_index_without_times_activities_or_videos_is_shown(tmp_path):
    index = Index.create(tmp_path / "index", bits=16, stored_foci=(1,))
    index.add(
        np.eye(4, 2, dtype=np.uint8), match=["a", "a", "b", '"><b id=x>'], clip=[1, 2, 3, "&<4>"]
    )
    with serving(index, tmp_path) as page:
        for address in ("/", "/?clip=a/1", "/?clip=a/1&elsewhere=1", "/research?clip=a/1", "/map"):
            assert page.ask(address).status == 200
        answer = page.get("/", clip='"><b id=x>/&<4>')
        assert sorted(cards(answer)) == ["a/1", "a/2", "b/3"] and "<b id=x>" not in answer.text
        # There is one focus, so there is nothing to slide.
        assert re.search(r'id="scale"[^>]* disabled', answer.text)
        assert page.get("/", clip="a/1", scale="0.5").status == 400


def test_a_video_that_comes_back_is_shown_again(tmp_path, shown):
    video = tmp_path / "moved.mp4"
    index = Index.create(tmp_path / "index", bits=16, stored_foci=(1,))
    index.add(np.zeros(2, np.uint8), match="m", clip="1", start=1.0, stop=1.8, media=str(video))
    with serving(index, tmp_path) as page:
        assert "moved.mp4 is gone" in page.ask("/").text
        assert page.get("/poster", clip="m/1").status == 404
        shutil.copy(shown.folder / "gala.mp4", video)
        assert "is gone" not in page.ask("/").text
        assert page.get("/poster", clip="m/1").status == 200
