"""Pixel normalisations: the range of colours that a backbone's weights were trained on."""

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from stvh_jax.errors import UserError

# name -> mean and deviation of red, green and blue, in 0..255.
NORMALISATIONS = {
    # -1..1, of the small backbone and of Inception-v3.
    "symmetric": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    # ImageNet's mean and deviation, of torchvision's VGG-16.
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    # ImageNet's mean alone, of Keras's VGG-16, which began as a Caffe model.
    "caffe": ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
}


def normalise(frames: UInt8[Array, "*b H W 3"], name: str) -> Float[Array, "*b H W 3"]:
    """Maps pixels from 0..255 to the range of this name: (x - mean) / deviation, in float32.

    Raises:
      UserError: no normalisation has this name.
    """
    if name not in NORMALISATIONS:
        raise UserError(
            f"normalisation {name!r} is unknown; choose one of {', '.join(NORMALISATIONS)}"
        )
    mean, deviation = (jnp.asarray(values, jnp.float32) for values in NORMALISATIONS[name])
    shape = (1,) * (frames.ndim - 1) + (3,)
    return (frames.astype(jnp.float32) - mean.reshape(shape)) / deviation.reshape(shape)
