"""The one reader of images: whatever is in a file, eight-bit RGB as a person would see it."""

import os
import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from stvh_jax import files
from stvh_jax.errors import UserError

# The ends of the names, and what Pillow calls the formats. It would guess others, some of which
# start programs.
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
_FORMATS = ("BMP", "JPEG", "PNG", "WEBP")
# More than two frames of 8K. A file of a few bytes may announce any size.
MOST_PIXELS = 80_000_000
_TOO_LARGE = f"more than {MOST_PIXELS // 10**6} million pixels"
_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr"}


def read_image(path: os.PathLike | str) -> UInt8[np.ndarray, "H W 3"]:
    """Reads a JPEG, PNG, BMP or WebP image as RGB.

    It is turned as its EXIF orientation says. Of 16 bits the upper eight are taken, transparency is
    ignored, and of an animation the first picture is taken.

    Raises:
      NotFound: there is no such file.
      Damaged: it is not a whole image, or has more than `MOST_PIXELS`.
      UserError: it cannot be read.
    """
    with files.reading(path, "a readable image"), warnings.catch_warnings():
        # Pillow warns of odd metadata, and of sizes that are checked below.
        warnings.simplefilter("ignore")
        if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
            raise UserError(f"{path} is not a file")  # reading a pipe would wait forever
        try:
            image = Image.open(path, formats=_FORMATS)
        except UnidentifiedImageError as error:
            raise ValueError("no JPEG, PNG, BMP or WebP, or damaged") from error
        except Image.DecompressionBombError as error:
            raise ValueError(_TOO_LARGE) from error
        with image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(_TOO_LARGE)
            return _rgb(ImageOps.exif_transpose(image))


def read_images(paths: Sequence[os.PathLike | str]) -> UInt8[np.ndarray, "T H W 3"]:
    """Reads images of one size; see `read_image`.

    Raises:
      NotFound: one is missing.
      Damaged: one is not a whole image.
      UserError: one has another size, or cannot be read.
    """
    frames = []
    for path in paths:
        frames.append(read_image(path))
        if frames[-1].shape != frames[0].shape:
            (height, width), (h, w) = frames[-1].shape[:2], frames[0].shape[:2]
            raise UserError(
                f"{path} has another size than {os.path.basename(paths[0])}: {width} x {height} "
                f"pixels, not {w} x {h}"
            )
    return np.stack(frames)


def _rgb(image: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    if image.mode.startswith("I"):  # of PNG alone: grey of 16 bits, which convert() cuts at 255
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.stack([grey] * 3, axis=-1)
    if image.mode not in _MODES:
        raise ValueError(f"its pixels are of mode {image.mode}")
    return np.asarray(image.convert("RGB"))
