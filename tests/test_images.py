"""The one reader of images: known pixels of every kind of image, and one line for what is none."""

import io
import os
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.images import read_image, read_images

WIDTH, HEIGHT = 5, 4


def chunk(kind, data):
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png(*, width=WIDTH, height=HEIGHT, depth=8, color=2, rows=b"", extra=b""):
    """Writes a PNG by its specification; color 0 is grey, 2 is RGB."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + parts + chunk(b"IEND", b"")


def saved(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(mode, color):
    return Image.new(mode, (WIDTH, HEIGHT), color)


def grey16(value):
    return png(depth=16, color=0, rows=(b"\0" + struct.pack(">H", value) * WIDTH) * HEIGHT)


def rgb16(*values):
    return png(depth=16, rows=(b"\0" + struct.pack(">HHH", *values) * WIDTH) * HEIGHT)


PALETTE = plain("RGB", (1, 2, 3)).quantize(4)
KNOWN = {
    "RGB": (saved(plain("RGB", (9, 8, 7))), (9, 8, 7)),
    "grey": (saved(plain("L", 77)), (77, 77, 77)),
    "grey with alpha": (saved(plain("LA", (77, 0))), (77, 77, 77)),
    "transparent": (saved(plain("RGBA", (9, 8, 7, 0))), (9, 8, 7)),
    "black and white": (saved(plain("1", 1)), (255, 255, 255)),
    "palette": (saved(PALETTE), (1, 2, 3)),
    "transparent palette": (saved(PALETTE, transparency=0), (1, 2, 3)),
    "CMYK": (saved(plain("CMYK", (0, 255, 255, 0)), "JPEG"), (255, 0, 0)),
    "16 bits, black": (grey16(0), (0, 0, 0)),
    "16 bits, grey": (grey16(30000), (117, 117, 117)),
    "16 bits, white": (grey16(65535), (255, 255, 255)),
    "three times 16 bits": (rgb16(30000, 256 * 9, 65535), (117, 9, 255)),
    "BMP": (saved(plain("RGB", (9, 8, 7)), "BMP"), (9, 8, 7)),
    "WebP": (saved(plain("RGB", (9, 8, 7)), "WEBP", lossless=True), (9, 8, 7)),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_every_kind_of_image_has_the_pixels_that_one_sees(kind, tmp_path):
    content, color = KNOWN[kind]
    (tmp_path / "x.png").write_bytes(content)
    image = read_image(tmp_path / "x.png")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.full((HEIGHT, WIDTH, 3), color))


# Where the pixel of the first row and column is seen, by the orientation as EXIF defines it.
SEEN = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1)}


@pytest.mark.parametrize("orientation", [*SEEN, 8])
@pytest.mark.parametrize("bits", [8, 16])
def test_an_image_is_turned_as_it_says(orientation, bits, tmp_path):
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8 if bits == 8 else np.uint16)
    pixels[0, 0] = 2**bits - 1
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    image = read_image(tmp_path / "x.png")
    assert image.shape == ((HEIGHT, WIDTH, 3) if orientation < 5 else (WIDTH, HEIGHT, 3))
    place = SEEN.get(orientation, (-1, 0))
    assert image[place].tolist() == [255] * 3
    assert image.sum() == 3 * 255


GOOD = png(rows=(b"\0" + b"\1\2\3" * WIDTH) * HEIGHT)
NO_IMAGES = {
    "nothing": (b"", "no JPEG, PNG, BMP or WebP, or damaged"),
    "text": (b"no image", "no JPEG, PNG, BMP or WebP, or damaged"),
    "of a gigantic size": (png(width=65535, height=65535), "more than 80 million pixels"),
    "of a large size": (png(width=12000, height=12000), "more than 80 million pixels"),
    "of a negative size": (png(width=2**31, height=1), None),
    "a bitmap of a gigantic size": (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 2**31 - 1, 1, 1, 24, *[0] * 6),
        "more than 80 million pixels",
    ),
    "an animation": (saved(plain("P", 0), "GIF"), "no JPEG, PNG"),
    "a program": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 4\n", "no JPEG, PNG"),
    "floats": (saved(plain("F", 0.5), "TIFF"), "no JPEG, PNG"),
    "cut in its header": (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"\0\0"), "Truncated IHDR"),
    "cut in its pixels": (GOOD[:50], None),
    "of broken pixels": (GOOD[:45] + b"\xff" * 6 + GOOD[51:], None),
    "of another checksum": (GOOD[:29] + b"\1\2\3\4" + GOOD[33:], None),
    "with a bomb of text": (
        png(rows=b"", extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2_000_000)))),
        "too large",
    ),
}


@pytest.mark.parametrize("kind", NO_IMAGES)
def test_what_is_no_image_is_named_in_one_line(kind, tmp_path):
    content, reason = NO_IMAGES[kind]
    path = tmp_path / "x.png"
    path.write_bytes(content)
    message = f"^{re.escape(str(path))} is not a readable image \\(.*{reason or ''}"
    with pytest.raises(Damaged, match=message) as caught:
        read_image(path)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


def test_no_flip_of_a_bit_and_no_cut_leaves_more_than_a_line(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    for kind in ("PNG", "JPEG", "BMP", "WEBP"):
        content = saved(Image.fromarray(noise), kind)
        for place in range(0, len(content), max(1, len(content) // 60)):
            flipped = bytearray(content)
            flipped[place] ^= 1 << place % 8
            for damaged in (bytes(flipped), content[:place]):
                (tmp_path / "x.png").write_bytes(damaged)
                try:
                    assert read_image(tmp_path / "x.png").dtype == np.uint8
                except UserError as error:
                    assert str(error).startswith(str(tmp_path))


def test_what_is_no_file_is_named(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    for name, kind, message in (
        ("folder", UserError, r"^cannot read .*folder.png \(Is a directory\)$"),
        ("broken", NotFound, "broken.png: no such file$"),
        ("loop", UserError, r"^cannot read .*loop.png \(Too many levels"),
        ("pipe", UserError, "pipe.png is not a file$"),
    ):
        with pytest.raises(kind, match=message):
            read_image(tmp_path / f"{name}.png")


def test_images_of_several_sizes_are_named(tmp_path):
    plain("RGB", 0).save(tmp_path / "1.png")
    Image.new("RGB", (WIDTH, HEIGHT + 1)).save(tmp_path / "2.png")
    with pytest.raises(UserError, match=r"2.png has another size than 1.png: 5 x 5 pixels, not 5"):
        read_images([tmp_path / "1.png", tmp_path / "2.png"])
