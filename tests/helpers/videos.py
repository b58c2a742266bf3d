"""Makes small videos whose frames show their own number as ten black or white blocks."""

import fractions

import numpy as np
import pytest

av = pytest.importorskip("av")

SIZE = (64, 160)  # two rows of five blocks of 32 x 32 pixels


def drawn(number, size=SIZE):
    """Draws a number."""
    bits = [number >> place & 1 for place in range(10)]
    blocks = 40 + 170 * np.array(bits, np.uint8).reshape(2, 5)
    height, width = size
    rows, columns = np.arange(height) * 2 // height, np.arange(width) * 5 // width
    return np.repeat(blocks[rows[:, None], columns][..., None], 3, axis=2)


def number_in(picture):
    """Reads the number in a picture of any size."""
    height, width = picture.shape[:2]
    rows = (np.arange(2) + 0.5) * height / 2
    columns = (np.arange(5) + 0.5) * width / 5
    bits = picture[rows.astype(int)[:, None], columns.astype(int)].mean(axis=-1) > 125
    return int((bits.reshape(-1) * 2 ** np.arange(10)).sum())


def make_video(
    path,
    count=60,
    *,
    codec="libx264",
    pixels="yuv420p",
    rate=25,
    stamps=None,
    sound=False,
    rotation=None,
    size=SIZE,
    container=None,
    **options,
):
    """Writes a video; `stamps` are milliseconds. Skips the test where this PyAV lacks the codec."""
    try:
        av.Codec(codec, "w")
    except Exception:
        pytest.skip(f"this PyAV has no {codec}")
    unit = fractions.Fraction(1, rate) if stamps is None else fractions.Fraction(1, 1000)
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = unit
        stream.options = {name.replace("_", "-"): str(value) for name, value in options.items()}
        if rotation is not None:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a rotation")
            stream.set_display_rotation(rotation)
        if sound:
            _add_sound(file, count / rate)
        for number in range(count):
            picture = np.ascontiguousarray(drawn(number, size))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
            frame.pts = number if stamps is None else stamps[number]
            frame.time_base = unit
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def make_sound(path, seconds=1.0):
    """Writes a file without a picture."""
    with av.open(str(path), "w") as file:
        _add_sound(file, seconds)
    return path


def _add_sound(file, seconds):
    stream = file.add_stream("aac", rate=8000)
    for place in range(int(seconds * 8000) // 1024 + 1):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate, frame.pts = 8000, place * 1024
        file.mux(stream.encode(frame))
    file.mux(stream.encode())


# What a video may be: the end of its name and how it is encoded, by a name for the test.
OPEN = {"bf": 3, "g": 12, "x264_params": "open-gop=1:b-adapt=0:scenecut=0"}
KINDS = {
    "b_frames_mp4": ("mp4", {"bf": 3, "g": 12}),
    "open_gop_mp4": ("mp4", OPEN),
    "open_gop_mkv": ("mkv", OPEN),
    "open_gop_ts": ("ts", OPEN),
    "open_gop_avi": ("avi", OPEN),
    "raw_h264": ("h264", OPEN),
    "flv": ("flv", OPEN),
    "mpeg4_avi": ("avi", {"codec": "mpeg4", "bf": 0, "g": 12}),
    "mpeg4_mp4": ("mp4", {"codec": "mpeg4", "bf": 2, "g": 12}),
    "mpeg2_ts": ("ts", {"codec": "mpeg2video", "bf": 2, "g": 12}),
    "mpeg2_mpg": ("mpg", {"codec": "mpeg2video", "bf": 2, "g": 12}),
    "hevc": ("mp4", {"codec": "libx265", "x265_params": "bframes=3:keyint=12:log-level=none"}),
    "vp9": ("webm", {"codec": "libvpx-vp9", "g": 12, "lag_in_frames": 10}),
    "vp8": ("webm", {"codec": "libvpx", "g": 12, "auto_alt_ref": 1, "lag_in_frames": 10}),
    "ten_bits": ("mp4", {"pixels": "yuv420p10le", "g": 12}),
    "four_four_four": ("mkv", {"codec": "ffv1", "pixels": "yuv444p"}),
    "fragments": ("mp4", {"container": {"movflags": "frag_keyframe+empty_moov"}, **OPEN}),
    "with_sound": ("mp4", {"sound": True, **OPEN}),
    "intra_refresh": ("mkv", {"x264_params": "intra-refresh=1:keyint=10:bframes=0"}),
}


def make_kind(kind, folder, count=60):
    """Makes a video of a kind."""
    ending, options = KINDS[kind]
    return make_video(folder / f"{kind}.{ending}", count, **options)
