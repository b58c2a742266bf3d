import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stvh_jax.codes import packing
from stvh_jax.errors import UserError


def random_signs(seed, *shape):
    return np.random.default_rng(seed).choice(np.float32([-1, 1]), shape)


def test_sign_of_zero_is_plus_one():
    h = np.float32([-2.5, -0.0, 0.0, 1e-30, -1e-30])
    expected = np.float32([-1, 1, 1, 1, -1])
    np.testing.assert_array_equal(packing.binarize(h), expected)
    on_device = packing.binarize(jnp.asarray(h).astype(jnp.bfloat16))
    assert on_device.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(on_device, np.float32), expected)


def test_no_gradient_through_the_sign():
    gradient = jax.grad(lambda h: (h * packing.binarize(h)).sum())(jnp.array([0.3, -0.7, 0.0]))
    np.testing.assert_array_equal(gradient, [1.0, -1.0, 1.0])


def test_bit_order_is_big_endian():
    bits = np.zeros((3, 16), bool)
    bits[0, 0] = bits[1, 7] = bits[2, 9] = True
    np.testing.assert_array_equal(packing.pack(bits), [[128, 0], [1, 0], [0, 64]])


@pytest.mark.parametrize("bits", [8, 16, 24, 64, 128, 136])
def test_unpack_inverts_pack(bits):
    signs = random_signs(bits, 3, 5, bits)
    packed = packing.pack(signs)
    assert packed.dtype == np.uint8
    assert packed.shape == (3, 5, bits // 8)
    restored = packing.unpack(packed)
    assert restored.dtype == np.float32
    np.testing.assert_array_equal(restored, signs)
    np.testing.assert_array_equal(packing.pack(jnp.asarray(signs)), packed)
    np.testing.assert_array_equal(packing.pack(signs > 0), packed)
    np.testing.assert_array_equal(packing.pack((signs > 0).astype(int)), packed)


def test_odd_number_of_bits_is_refused():
    with pytest.raises(UserError, match="12 bits"):
        packing.pack(np.ones((2, 12)))


@pytest.mark.parametrize("bits", [8, 16, 64, 72, 128])
@pytest.mark.parametrize(("queries", "base"), [(7, 11), (1, 1), (13, 0), (0, 5)])
def test_distances_count_differing_signs(bits, queries, base):
    query_signs, base_signs = random_signs(1, queries, bits), random_signs(2, base, bits)
    expected = np.zeros((queries, base), int)
    for q in range(queries):
        for m in range(base):
            expected[q, m] = sum(query_signs[q, i] != base_signs[m, i] for i in range(bits))
    distances = packing.hamming_distances(packing.pack(query_signs), packing.pack(base_signs))
    assert distances.dtype == np.int32
    np.testing.assert_array_equal(distances, expected)


def test_distances_do_not_depend_on_the_chunks(monkeypatch):
    query_signs, base_signs = random_signs(3, 29, 128), random_signs(4, 31, 128)
    expected = (128 - query_signs @ base_signs.T) / 2
    for pairs in (1, 62, 100, 10_000):
        monkeypatch.setattr(packing, "_CHUNK_PAIRS", pairs)
        distances = packing.hamming_distances(packing.pack(query_signs), packing.pack(base_signs))
        np.testing.assert_array_equal(distances, expected)


CODES = np.zeros((3, 2), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: packing.pack(np.ones((2, 12))), "a code has 12 bits; the length must be a multi"),
        (lambda: packing.pack(np.array(["a"] * 8)), "signs are <U1 (8,); give -1 and +1"),
        (lambda: packing.pack(np.array([None] * 8)), "signs are object (8,); give"),
        (lambda: packing.pack(1.0), "signs are float64 (); give"),
        (lambda: packing.unpack(np.zeros((3, 2))), "codes: float64 (3, 2) are no packed codes; g"),
        (lambda: packing.unpack([1]), "codes: of type list are no packed codes; give NumPy's"),
        (lambda: packing.unpack(np.uint8(3)), "codes: of type uint8 are no packed codes"),
        (lambda: packing.hamming_distances(CODES, CODES[:, :1]), "base: codes of 8 bits cannot be"),
        (
            lambda: packing.hamming_distances(CODES.astype(int), CODES),
            "queries: int64 (3, 2)",
        ),
        (lambda: packing.hamming_distances(CODES, CODES[0]), "base: uint8 (2,) are no packed code"),
    ],
)
def test_what_are_no_codes_is_said(call, message, unchecked_shapes):
    with pytest.raises(UserError) as caught:
        call()
    assert str(caught.value).startswith(message)
