"""Forms as browsers send them, and as nobody should: cut, slow, too large, of other parts."""

import asyncio

import pytest

pytest.importorskip("python_multipart")
from starlette.requests import Request

from stvh_jax.app.receiving import Receiver
from stvh_jax.app.uploads import UploadLimits
from stvh_jax.errors import UserError

LIMITS = UploadLimits(most_video_bytes=1000, most_tracks_bytes=200, sending=10, silence=5)
TYPE = "multipart/form-data; boundary=x-y"


def part(name, content, file=True):
    described = f'form-data; name="{name}"' + ('; filename="../../a.mp4"' if file else "")
    return b"--x-y\r\nContent-Disposition: %b\r\n\r\n%b\r\n" % (described.encode(), content)


VIDEO, TRACKS = part("video", b"\r\n--x-" * 100), part("tracks", b"1,1,2,3")
TITLE, END = part("title", "Träume".encode(), file=False), b"--x-y--\r\n"


def request(chunks, content_type=TYPE, *, pause=0.0, gone=False, **headers):
    left = list(chunks)

    async def receive():
        await asyncio.sleep(pause)
        if left:
            body = left.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(left) or gone}
        return {"type": "http.disconnect"}

    headers = {"content-type": content_type} | {k.replace("_", "-"): v for k, v in headers.items()}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def receive(folder, *arguments, limits=LIMITS, **options):
    async def run():
        async with Receiver(folder, limits).receive(request(*arguments, **options)) as received:
            return received.video.read_bytes(), received.tracks.read_bytes(), received.fields

    try:
        return asyncio.run(run())
    finally:
        assert not list(folder.iterdir())


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_form_is_received_however_it_is_cut(tmp_path, size):
    whole = VIDEO + TITLE + TRACKS + END
    chunks = [whole[place : place + size] for place in range(0, len(whole), size)]
    video, tracks, fields = receive(tmp_path, chunks)
    assert (video, tracks) == (b"\r\n--x-" * 100, b"1,1,2,3")
    assert fields == {"title": "Träume"}


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ([VIDEO, END], "the tracks is empty"),
        ([VIDEO, part("tracks", b""), END], "the tracks is empty"),
        ([part("video", b"0" * 1001), TRACKS, END], "video has more than"),
        ([VIDEO, part("tracks", b"0" * 201), END], "tracks has more than"),
        ([VIDEO, TRACKS, part("title", b"0" * 4001, file=False), END], "the title is too long"),
        ([VIDEO, TRACKS, part("title", b"\xff", file=False), END], "not UTF-8"),
        ([VIDEO, VIDEO, TRACKS, END], "the form has 'video' twice"),
        ([VIDEO, part("../x", b"0"), END], r"the form has a part '\.\./x'"),
        ([VIDEO, TRACKS], "ends too early"),
        ([b"nonsense" + VIDEO], "not a readable form"),
        ([VIDEO.replace(b"Content", b"X" * 70_000)], "not a readable form|too large"),
        ([b"--x-y\r\n\r\nvideo\r\n"], "the form has a part ''"),
    ],
)
def test_another_form_is_refused(tmp_path, form, message):
    with pytest.raises(UserError, match=message):
        receive(tmp_path, [b"".join(form)])


def test_what_is_no_form_is_refused(tmp_path):
    for kind in (
        "text/plain",
        "multipart/form-data",
        "",
        f"multipart/form-data; boundary={'b' * 999}",
    ):
        with pytest.raises(UserError, match="form"):
            receive(tmp_path, [VIDEO + TRACKS + END], kind)


def test_a_large_upload_is_refused_before_it_is_read(tmp_path):
    asked = request([b"x"] * 10, content_length="100000")

    async def run():
        async with Receiver(tmp_path, LIMITS).receive(asked):
            pass

    with pytest.raises(UserError, match="too large"):
        asyncio.run(run())
    assert not asked._stream_consumed
    endless = [part("video", b"")] + [part("video", b"0" * 500)] * 1000
    with pytest.raises(UserError, match="twice"):
        receive(tmp_path, endless)


def test_who_sends_too_slowly_is_cut_off(tmp_path):
    chunks = [VIDEO[place : place + 1] for place in range(len(VIDEO))]
    slow = UploadLimits(sending=0.2, silence=5)
    with pytest.raises(UserError, match="too slowly"):
        receive(tmp_path, chunks, limits=slow, pause=0.01)
    silent = UploadLimits(sending=60, silence=0.05)
    with pytest.raises(UserError, match="too slowly"):
        receive(tmp_path, chunks, limits=silent, pause=30)
    with pytest.raises(UserError, match="broken off"):
        receive(tmp_path, [VIDEO], gone=True)


def test_only_a_few_send_at_once(tmp_path):
    async def run():
        receiver, whole = Receiver(tmp_path, LIMITS), [VIDEO + TRACKS + END]
        open_ones = [receiver.receive(request(whole)) for _ in range(4)]
        folders = {(await each.__aenter__()).video.parent for each in open_ones}
        with pytest.raises(UserError, match="others are uploading"):
            await receiver.receive(request(whole)).__aenter__()
        await open_ones[0].__aexit__(None, None, None)
        async with receiver.receive(request(whole)):
            pass
        return folders

    assert len(asyncio.run(run())) == 4
