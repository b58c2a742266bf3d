"""Videos that are uploaded: good ones become queries, all others one line."""

import base64
import dataclasses
import io
import time

import numpy as np
import pytest
from PIL import Image

from stvh_jax.app import upload_worker
from stvh_jax.app.uploads import UploadLimits, Uploads, read_result
from stvh_jax.codes.visual_maps import Adaptation
from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.inference.encoder import load
from stvh_jax.retrieval import asking
from stvh_jax.retrieval.encoded_queries import moment_query
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.queries import Query
from stvh_jax.retrieval.video_indexing import Footage
from tests.app.conftest import RUN
from tests.helpers.filmed import opened
from tests.helpers.videos import make_sound, make_video, number_in

# A machine may be busy.
LIMITS = UploadLimits(patience=300)


@pytest.fixture
def uploads(filmed, tmp_path):
    made = Uploads(filmed / "index", tmp_path, limits=LIMITS)
    yield made
    made.close()
    assert not list(tmp_path.glob("uploads-*"))


@pytest.fixture
def unread(uploads, index, monkeypatch):
    """Gives uploads that are not read: all have the query of one clip."""
    query = Query(*index.get([("game", "1000")]))
    monkeypatch.setattr(uploads, "_encoded", lambda folder, at, job: (query, b"\xff\xd8\xff"))
    return uploads


@pytest.mark.slow
def test_an_upload_becomes_the_query_that_the_command_line_makes(uploads, index, sent, filmed):
    upload = uploads.take(*sent(), title=" a \n spike\x1b ", at=1.0)
    footage = Footage(*opened(filmed / "other.mp4"), "other")
    expected = moment_query(index, lambda: load(RUN), footage, 1.0)
    for made, own in (
        (upload.query.codes, expected.codes),
        (upload.query.relaxed, expected.relaxed),
    ):
        assert made.keys() == own.keys()
        for focus, values in own.items():
            assert made[focus].dtype == values.dtype
            np.testing.assert_allclose(made[focus], values, atol=1e-5)
    (record,), (other,) = upload.query.records, expected.records
    assert {name: record[name] for name in ("start", "stop", "predicted")} == {
        name: other[name] for name in ("start", "stop", "predicted")}  # fmt: skip
    assert record["match"] is record["clip"] is record["media"] is None
    assert number_in(np.asarray(Image.open(io.BytesIO(upload.poster)))) in (25, 26)
    assert upload.title == "a spike\\x1b" and upload.video.is_file()
    assert uploads.get(upload.name) is upload
    hits = asking.search(index, asking.ask(index, upload.query), k=3)
    assert len(hits) == 3


@pytest.mark.slow
def test_a_time_of_an_indexed_video_is_encoded_by_its_kept_tracks(uploads, index):
    upload = uploads.moment("game", 1.0)
    codes, (stored,) = index.get([("game", "1000")])
    for focus, values in codes.items():
        np.testing.assert_array_equal(upload.query.codes[focus], values)
    (record,) = upload.query.records
    for name in ("match", "clip", "start", "stop", "predicted", "media"):
        assert record[name] == stored[name]
    assert str(upload.video) == stored["media"] and upload.title == "game at 0:00:01.0"


@pytest.mark.slow
def test_what_fails_in_the_process_is_one_line_and_leaves_nothing(uploads, sent):
    video, tracks = sent()
    video.write_bytes(b"#EXTM3U\n/etc/passwd\n")
    with pytest.raises(Damaged, match="^video is not a readable video") as caught:
        uploads.take(video, tracks, title="x", at=None)
    assert "\n" not in str(caught.value)
    assert not list(uploads._folder.iterdir())


def test_one_that_takes_too_long_is_ended(filmed, sent, tmp_path):
    made = Uploads(filmed / "index", tmp_path, limits=UploadLimits(patience=0.05))
    with pytest.raises(UserError, match="longer than 0.05 seconds"):
        made.take(*sent(), title="x", at=None)
    assert not list(made._folder.iterdir())
    made.close()


def job(index, folder, **other):
    return {
        "video": str(folder / "video"), "tracks": str(folder / "tracks"), "match": "upload",
        "at": None, "most_seconds": 120.0, "info": index.info.to_json(), "adaptation": None,
        "run": RUN,
    } | other  # fmt: skip


def disguised(path, kind):
    """Writes something else in the place of a video."""
    if kind == "sound":
        return make_sound(path.with_suffix(".m4a")).rename(path)
    if kind == "truncated":
        return path.write_bytes(path.read_bytes()[:3000])
    secret = path.with_name("secret.mp4")
    make_video(secret, 30)
    contents = {
        "empty": b"",
        "garbage": bytes(range(256)) * 4000,
        "zeros": bytes(1 << 22),
        "script": b"#!/bin/sh\necho hello\n",
        "concat": f"ffconcat version 1.0\nfile {secret}\n".encode(),
        "playlist": f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n".encode(),
        "session": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nm=video 5004 RTP/AVP 96\n",
        "manifest": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
        "picture": b"P6 1 1 255\n000",
        "subtitles": b"1\n00:00:00,000 --> 00:00:01,000\nhello\n",
        "archive": b"PK\x03\x04" + bytes(1000),
    }
    return path.write_bytes(contents[kind])


@pytest.mark.parametrize(
    "kind",
    ["empty", "garbage", "zeros", "script", "concat", "playlist", "session", "manifest", "picture",
     "subtitles", "archive", "sound", "truncated"],
)  # fmt: skip
def test_what_is_no_video_is_refused(index, sent, kind):
    video, _ = sent()
    disguised(video, kind)
    with pytest.raises(UserError, match="video") as caught:
        upload_worker.encode(job(index, video.parent))
    assert "\n" not in str(caught.value) and "ffconcat" not in str(caught.value)


@pytest.mark.parametrize(
    ("other", "kind", "message"),
    [
        ({"most_seconds": 3.0}, UserError, "lasts 0:00:04.0, and at most 0:00:03.0 are taken"),
        ({"at": 1.8}, NotFound, "nobody is tracked in .* at 0:00:01.8"),
        ({"at": 100.0}, NotFound, "has no clip at 0:01:40.0; give a time from"),
        ({"at": -1.0}, NotFound, "has no clip at"),
    ],
)
def test_what_cannot_be_encoded_is_refused(index, sent, other, kind, message):
    video, _ = sent()
    with pytest.raises(kind, match=message):
        upload_worker.encode(job(index, video.parent, **other))


def test_tracks_of_another_video_are_refused(index, sent):
    video, tracks = sent()
    for text, message in (
        ("".join(f"{n},1,1500,900,40,80,1,-1,-1,-1\n" for n in range(1, 76)), "tracks: "),
        ("PK\x03\x04", "ZIP archive"),
        ("[" * 100_000, "tracks"),
    ):
        tracks.write_text(text)
        with pytest.raises(UserError, match=message):
            upload_worker.encode(job(index, video.parent))


def test_files_that_are_too_large_are_refused(unread, sent):
    video, tracks = sent()
    size = video.stat().st_size
    unread.limits = dataclasses.replace(LIMITS, most_video_bytes=size - 1)
    with pytest.raises(UserError, match="the file of the video has more than"):
        unread.take(video, tracks, title="x", at=None)
    unread.limits = dataclasses.replace(LIMITS, most_video_bytes=size, most_tracks_bytes=10)
    with pytest.raises(UserError, match="the file of the tracks has more than"):
        unread.take(video, tracks, title="x", at=None)
    tracks.write_text("")
    with pytest.raises(UserError, match="the file of the tracks is empty"):
        unread.take(video, tracks, title="x", at=None)


def test_the_oldest_uploads_are_dropped(unread, sent, monkeypatch):
    unread.limits = dataclasses.replace(LIMITS, most_kept=2, keep_for=3600)
    kept, (video, tracks) = [], sent()
    for _ in range(3):
        again = [path.with_suffix(".again") for path in (video, tracks)]
        for path, copy in zip((video, tracks), again):
            copy.write_bytes(path.read_bytes())
        kept.append(unread.take(*again, title="", at=None))
    assert kept[0].title == "an uploaded clip" and len({each.name for each in kept}) == 3
    with pytest.raises(NotFound, match="this upload is gone: .* 60 minutes; upload it again"):
        unread.get(kept[0].name)
    assert [path.name for path in sorted(unread._folder.iterdir())] == sorted(
        each.name for each in kept[1:]
    )
    assert unread.get(kept[2].name) is kept[2] and kept[2].video.is_file()
    later = time.monotonic() + 3601
    monkeypatch.setattr(time, "monotonic", lambda: later)
    with pytest.raises(NotFound):
        unread.get(kept[2].name)
    assert not list(unread._folder.iterdir())
    for name in ("", "..", "../x", "nonsense"):
        with pytest.raises(NotFound):
            unread.get(name)


def test_only_what_the_index_names_is_encoded(filmed, tmp_path):
    index = Index.create(tmp_path / "i", bits=16, stored_foci=(1,))
    index.add(np.zeros((2, 2), np.uint8), match=["gone", "bare"], clip="0",
              media=["/gone.mp4", str(filmed / "game.mp4")])  # fmt: skip
    uploads = Uploads(index.uri, tmp_path)
    for match in ("/etc/passwd", "gone", "it's"):
        with pytest.raises(NotFound, match=f"match {match} has no video"):
            uploads.moment(match, 0)
    with pytest.raises(NotFound, match="keeps no tracks of match bare"):
        uploads.moment("bare", 0)
    assert not list(uploads._folder.iterdir())


GOOD = {
    "codes": {"3": "00" * 16},
    "relaxed": {"3": [0.5] * 128},
    "record": {"clip": "0", "start": 0.0, "stop": 1.0, "predicted": "r_set"},
    "poster": None,
}


@pytest.mark.parametrize(
    "other",
    [
        {"codes": {"3": "00" * 15}},
        {"codes": {"3": "zz" * 16}},
        {"codes": {"2": "00" * 16}, "relaxed": {"2": [0.5] * 128}},
        {"codes": []},
        {"relaxed": {}},
        {"relaxed": {"3": [float("nan")] * 128}},
        {"relaxed": {"3": [[0.5] * 128]}},
        {"relaxed": {"3": "text"}},
        {"record": {}},
        {"record": GOOD["record"] | {"start": "0"}},
        {"record": GOOD["record"] | {"stop": float("inf")}},
        {"record": GOOD["record"] | {"predicted": "x" * 1000}},
        {"record": GOOD["record"] | {"clip": ["0"]}},
        {"poster": "PHNjcmlwdD4="},
        {"poster": "not base64"},
        {"poster": 7},
    ],
)
def test_what_a_process_answers_is_checked(index, other):
    query, poster = read_result(GOOD, index.info)
    assert query.codes[3].shape == (1, 16) and poster is None
    with pytest.raises(Damaged):
        read_result(GOOD | other, index.info)


def test_an_adapted_index_is_outlined_whole(index):
    adaptation = Adaptation(np.ones((3, 2), np.float32), np.zeros(2, np.float32))
    content = base64.b64encode(adaptation.to_bytes()).decode()
    outline = upload_worker._outline({"info": index.info.to_json(), "adaptation": content})
    assert outline.adaptation.number == adaptation.number
    assert outline.info.to_json() == index.info.to_json()
