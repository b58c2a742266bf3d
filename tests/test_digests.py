"""Digests of files and arrays."""

import hashlib

import ml_dtypes
import numpy as np
import pytest

from stvh_jax import digests


def test_a_file_has_the_digest_of_its_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert digests.of_file(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


ARRAYS = [
    np.arange(6, dtype=np.int32).reshape(2, 3),
    np.float32(3),
    np.zeros((0, 4), np.float16),
    np.ones(3, ml_dtypes.bfloat16),
    np.arange(12).reshape(3, 4)[:, ::2],
]


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_an_array_has_the_digest_of_its_type_shape_and_values(array):
    array = np.asarray(array)
    expected = hashlib.sha256(f"{array.dtype} {array.shape}\n".encode() + array.tobytes())
    assert digests.of_array(array) == expected.hexdigest()


def test_one_flipped_bit_changes_it():
    array = np.zeros((4, 5), np.float32)
    before = digests.of_array(array)
    array.view(np.uint8)[3, 7] ^= 1
    assert digests.of_array(array) != before
    assert digests.of_array(np.zeros((5, 4), np.float32)) != before
