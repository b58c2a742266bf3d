"""What a video is; and one line for whatever is none."""

import os

import numpy as np
import pytest

from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.video import footage
from stvh_jax.video.footage import open_video
from stvh_jax.video.frames import read_frames
from tests.helpers.videos import make_kind, make_sound, make_video, number_in


def test_what_a_video_is(tmp_path):
    video = open_video(str(make_video(tmp_path / "v.mp4", 50, rate=50, bf=2)))
    assert (video.width, video.height, video.codec, len(video)) == (160, 64, "h264", 50)
    assert video.rate == pytest.approx(50) and video.duration == pytest.approx(1)
    one = open_video(make_video(tmp_path / "one.mp4", 1, rate=10))
    assert len(one) == 1 and one.rate == pytest.approx(10) and one.duration == pytest.approx(0.1)


def test_only_the_first_frame_is_decoded(tmp_path, monkeypatch):
    made = make_kind("open_gop_mp4", tmp_path)
    first_frame, calls = footage._first_frame, []
    monkeypatch.setattr(
        footage, "_first_frame", lambda *args: calls.append(1) or first_frame(*args)
    )
    assert len(open_video(made)) == 60 and calls == [1]


def test_a_portrait_as_a_phone_stores_it(tmp_path):
    video = open_video(make_video(tmp_path / "v.mp4", 3, rotation=-90))
    assert (video.width, video.height) == (64, 160)
    upright = open_video(make_video(tmp_path / "u.mp4", 3, size=(160, 64)))
    assert (upright.width, upright.height) == (64, 160)


@pytest.mark.parametrize("kind", ["b_frames_mp4", "open_gop_mkv", "open_gop_ts", "mpeg4_avi"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_without_its_end(kind, share, tmp_path):
    made = make_kind(kind, tmp_path, 200)
    if made.suffix == ".mp4":
        made = make_video(made, 200, container={"movflags": "faststart"}, bf=2, g=12)
    content = made.read_bytes()
    made.write_bytes(content[: int(len(content) * share)])
    lines = []
    video = open_video(made, report=lines.append)
    whole = (kind, share) == ("mpeg4_avi", 0.9)  # where it is the index that is cut
    assert 20 < len(video) < 200 or whole
    if made.suffix != ".ts" and not whole:  # a transport stream announces nothing
        assert len(lines) == 1 and f"the {len(video)} frames that can be read" in lines[0]
    read = {number: number_in(image) for number, image in read_frames(video, range(len(video)))}
    # At the very end, frames that come earlier and are stored later are missing.
    assert all(read[number] == number for number in range(len(video) - 4))
    assert len(read) >= len(video) - 1


def test_a_stream_that_begins_in_the_middle(tmp_path):
    made = make_kind("open_gop_ts", tmp_path, 120)
    content = made.read_bytes()
    made.write_bytes(content[len(content) // 188 // 3 * 188 :])
    video = open_video(made)
    read = [number_in(image) for _, image in read_frames(video, range(len(video)))]
    # From the first that can be decoded to the last, without a gap.
    assert read == list(range(120 - len(read), 120)) and len(read) == len(video) > 60


def test_what_is_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("no video\n" * 50)
    (tmp_path / "empty.mp4").touch()
    whole = make_kind("b_frames_mp4", tmp_path).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    os.mkfifo(tmp_path / "pipe.mp4")
    cases = {
        "missing.mp4": (NotFound, "no such file"),
        "text.mp4": (Damaged, "is not a readable video"),
        "empty.mp4": (Damaged, "is not a readable video"),
        "cut.mp4": (Damaged, "is not a readable video"),
        ".": (UserError, "is a folder; give a video file"),
        "pipe.mp4": (UserError, "is not a file"),
        "a\0b": (Damaged, "is not a readable video"),
    }
    for name, (kind, words) in cases.items():
        with pytest.raises(kind, match=words) as error:
            open_video(tmp_path / name)
        assert "\n" not in str(error.value)


def test_sound_alone(tmp_path):
    with pytest.raises(UserError, match="has sound but no video; give a video file"):
        open_video(make_sound(tmp_path / "s.m4a"))


def test_an_encrypted_file(tmp_path):
    key = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
        "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
    }
    # The key stream differs each time, and about one such file in 25 begins with what decodes.
    for _ in range(50):
        with pytest.raises(UserError, match="is encrypted; give a copy"):
            open_video(make_video(tmp_path / "v.mp4", 5, container=key))


def test_an_unknown_codec(tmp_path):
    made = make_kind("b_frames_mp4", tmp_path, 5)
    made.write_bytes(made.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(UserError, match="cannot decode|no frame that can be decoded"):
        open_video(made)


def test_pyav_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(UserError, match=r"av is not installed; pip install 'stvh_jax\[video\]'"):
        open_video(tmp_path / "v.mp4")


@pytest.mark.parametrize("kind", ["b_frames_mp4", "open_gop_mkv", "mpeg2_ts", "mpeg4_avi"])
def test_broken_bytes_give_frames_or_one_line(kind, tmp_path):
    made = make_kind(kind, tmp_path, 20)
    whole, rng = made.read_bytes(), np.random.default_rng(0)
    for _ in range(25):
        content = bytearray(whole)
        for place in rng.integers(len(content), size=rng.integers(1, 30)):
            content[place] = rng.integers(256)
        made.write_bytes(content[: rng.integers(1, len(content) + 1)])
        try:
            video = open_video(made)
            assert (np.diff(video.times) > 0).all()
            for number, image in read_frames(video, range(0, len(video), 3)):
                assert image.shape == (video.height, video.width, 3) and number < len(video)
        except UserError as error:
            assert "\n" not in str(error)
