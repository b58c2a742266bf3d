"""Small videos whose frames say their number, in eight blocks of brightness."""

import fractions
import pathlib

import av
import numpy as np

SIZE = (256, 96)


def numbered(number, size=SIZE):
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    block = size[0] // 8
    for bit in range(8):
        if number >> bit & 1:
            pixels[:block, bit * block : (bit + 1) * block] = 255
    return pixels


def write_video(
    path,
    count=50,
    *,
    rate: int | fractions.Fraction = 25,
    size=SIZE,
    key_every=10,
    times=None,
    **settings,
):
    """Writes frames 0 to count - 1; `times` in thousandths of a second, for a variable rate."""
    path = pathlib.Path(path)
    with av.open(str(path), "w") as container:
        options = {"g": str(key_every), "sc_threshold": "0", "preset": "ultrafast"}
        options |= settings.get("options", {})
        stream = container.add_stream(settings.get("codec", "libx264"), rate, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = settings.get("pixels", "yuv420p")
        if "rotation" in settings:
            stream.set_display_rotation(settings["rotation"])
        if times is not None:
            stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(numbered(number, size), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], fractions.Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_numbers(path, rotated=False):
    """Gives the number and the time of each frame of a file of these."""
    read = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            grey = frame.to_ndarray(format="gray")
            grey = np.rot90(grey, -1) if rotated else grey
            block = grey.shape[1] // 8
            bits = [grey[block // 2, bit * block + block // 2] > 128 for bit in range(8)]
            read.append((sum(bool(on) << bit for bit, on in enumerate(bits)), frame.time))
    return read


def duration(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return float((stream.duration or 0) * (stream.time_base or 0))
