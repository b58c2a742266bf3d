"""The filter matrix against loops over Python's integers, and what it is when it comes back."""

import dataclasses
import io
import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from etils import epath

from stvh_jax.codes.filter_fitting import fit
from stvh_jax.codes.filter_matrix import FilterMatrix, compression_ratio
from stvh_jax.errors import Damaged, UserError
from stvh_jax.inference import run_filter
from stvh_jax.inference.run_filter import load_or_fit

LARGEST = 32767


def random_codes(seed, *, clips, bits):
    return np.random.default_rng(seed).integers(0, 256, (clips, bits // 8)).astype(np.uint8)


def random_matrix(seed, *, bits, layers, values="binary", per_step=False, normalise="code"):
    random = np.random.default_rng(seed)
    shape = (layers if per_step else 1, bits, bits)
    factors = {
        "binary": lambda: 2 * random.integers(0, 2, shape) - 1,
        "01": lambda: random.integers(0, 2, shape),
        "real": lambda: random.integers(-LARGEST, LARGEST + 1, shape),
    }[values]()
    means = random.integers(-bits // 4, bits // 4, (layers, bits)) if normalise == "bit" else None
    return FilterMatrix(factors, layers, values, normalise, means)


def power_by_hand(matrix, focus):
    """Multiplies F with itself in Python's integers; real ones are rounded to 16 bits again."""
    power = np.eye(matrix.bits, dtype=int).astype(object)
    for step in range(matrix.layers - focus):
        factor = matrix.factors[step if len(matrix.factors) > 1 else 0].astype(object)
        power = factor.dot(power)
        if matrix.values == "real":
            largest = max(abs(entry) for entry in power.ravel())
            scale = next(scale for scale in itertools.count(1) if scale * LARGEST >= largest)
            rounded = [(Fraction(entry, scale) + Fraction(1, 2)) // 1 for entry in power.ravel()]
            power = np.array(rounded, object).reshape(power.shape)
    return power


def derive_by_hand(matrix, codes, focus):
    """Derives packed codes one clip and one bit at a time, in Python's integers."""
    power = power_by_hand(matrix, focus)
    derived = []
    for code in codes:
        signs = np.array(
            [1 if bit == "1" else -1 for byte in code for bit in f"{byte:08b}"], object
        )
        values = power.dot(signs)
        if matrix.normalise == "code":
            # value >= sum / K, without a quotient.
            bits = [matrix.bits * value >= sum(values) for value in values]
        else:
            bits = [value >= mean for value, mean in zip(values, matrix.means[focus].tolist())]
        text = "".join("1" if bit else "0" for bit in bits)
        derived.append([int(text[start : start + 8], 2) for start in range(0, len(text), 8)])
    return np.array(derived, np.uint8)


@pytest.mark.parametrize("normalise", ["code", "bit"])
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("values", ["binary", "01", "real"])
@pytest.mark.parametrize("bits", [8, 24, 64])
def test_derived_codes_are_those_of_a_loop(values, per_step, normalise, bits):
    options = {"values": values, "per_step": per_step, "normalise": normalise}
    matrix = random_matrix(bits, bits=bits, layers=3, **options)
    codes = random_codes(1, clips=7, bits=bits)
    for focus in range(3):
        expected = derive_by_hand(matrix, codes, focus)
        np.testing.assert_array_equal(matrix.derive(codes, focus), expected)
        # The same clips among so many that JAX derives them.
        many = np.concatenate([random_codes(2, clips=307, bits=bits), codes])
        np.testing.assert_array_equal(matrix.derive(many, focus)[307:], expected)
    assert matrix.derive(codes, 3) is codes


@pytest.mark.parametrize("size", [1, 256, 257, 512, 513, 65537])
def test_many_clips_are_derived_as_few_are(size):
    matrix = random_matrix(3, bits=8, layers=2)
    codes = random_codes(4, clips=size, bits=8)
    # A code of 8 bits is one of 256, so that a few clips say what all others are.
    each = matrix.derive(np.arange(256, dtype=np.uint8)[:, None], 0)
    np.testing.assert_array_equal(matrix.derive(codes, 0), each[codes[:, 0]])


def test_permuted_clips_have_permuted_codes():
    matrix = random_matrix(5, bits=16, layers=3, values="real")
    codes = random_codes(6, clips=601, bits=16)
    order = np.random.default_rng(7).permutation(601)
    np.testing.assert_array_equal(matrix.derive(codes[order], 1), matrix.derive(codes, 1)[order])


@pytest.mark.parametrize("clips", [3, 300])
def test_what_equals_the_mean_is_a_set_bit(clips):
    codes = np.full((clips, 1), 0b11111111, np.uint8)
    rows = np.array([[1] * 8, [-1] * 8] + 6 * [[1, -1] * 4])
    # The values are 8, -8 and six zeros, and their mean is zero.
    derived = FilterMatrix(rows[None], 1).derive(codes, 0)
    np.testing.assert_array_equal(derived, np.full((clips, 1), 0b10111111, np.uint8))
    means = np.array([[8, -7, 0, 1, 0, 1, 0, 1]])
    derived = FilterMatrix(rows[None], 1, "binary", "bit", means).derive(codes, 0)
    np.testing.assert_array_equal(derived, np.full((clips, 1), 0b10101010, np.uint8))


def test_values_beyond_32_bits_are_exact():
    # Nearly all entries are +1: the values of focus 0 go up to 128^4, and their sum over 128 bits
    # beyond what 32 bits with a sign hold, also less any common divisor of values of signs.
    factors = np.ones((1, 128, 128), int)
    factors[0][np.random.default_rng(0).random((128, 128)) < 0.001] = -1
    matrix = FilterMatrix(factors, 4)
    codes = np.concatenate([np.full((1, 16), 255, np.uint8), random_codes(8, clips=4, bits=128)])
    power = power_by_hand(matrix, 0)
    assert power.sum() // (2 * math.gcd(*power.ravel())) >= 2**31
    expected = derive_by_hand(matrix, codes, 0)
    np.testing.assert_array_equal(matrix.derive(codes, 0), expected)
    many = np.tile(codes, (53, 1))
    np.testing.assert_array_equal(matrix.derive(many, 0), np.tile(expected, (53, 1)))
    # With all entries +1 every value is the mean.
    every = FilterMatrix(np.ones((1, 128, 128), int), 4)
    np.testing.assert_array_equal(every.derive(many, 0), np.full((265, 16), 255, np.uint8))


def test_no_focus_and_no_other_bits():
    matrix = random_matrix(0, bits=16, layers=2)
    with pytest.raises(UserError, match="derives foci 0 to 2; there is no 3"):
        matrix.derive(random_codes(0, clips=1, bits=16), 3)
    with pytest.raises(UserError, match="the codes have 8 bits, but the filter matrix is for 16"):
        matrix.derive(random_codes(0, clips=1, bits=8), 1)
    assert matrix.derive(random_codes(0, clips=0, bits=16), 1).shape == (0, 2)


def known_codes(seed, *, clips, bits=16, layers=2):
    """Makes codes of every focus, those below the last derived by a known binary F."""
    known = random_matrix(seed, bits=bits, layers=layers)
    stored = random_codes(seed + 1, clips=clips, bits=bits)
    return {focus: known.derive(stored, focus) for focus in range(layers + 1)}


def agreement(matrix, codes, focus):
    derived = matrix.derive(codes[matrix.layers], focus)
    return np.mean(np.unpackbits(derived) == np.unpackbits(codes[focus]))


def part(codes, *where):
    return {focus: codes[focus][slice(*where)] for focus in codes}


@pytest.mark.parametrize(
    "values, per_step, normalise, least",
    [
        ("binary", False, "code", 0.95),
        ("binary", True, "code", 0.9),
        ("binary", False, "bit", 0.85),
        ("01", False, "code", 0.7),
        ("real", False, "code", 0.9),
    ],
)
def test_a_known_matrix_is_found_again(values, per_step, normalise, least):
    codes = known_codes(11, clips=601)
    options = {"values": values, "per_step": per_step, "normalise": normalise}
    matrix = fit(part(codes, 401), **options)
    for focus in (0, 1):
        assert agreement(matrix, part(codes, 401, 601), focus) > least
    # By chance half of the bits agree, as they do with an F that knows nothing.
    assert agreement(random_matrix(12, bits=16, layers=2), codes, 1) < 0.6
    entries = {"binary": {-1, 1}, "01": {0, 1}}.get(values)
    assert entries is None or set(np.unique(matrix.factors)) == entries
    assert len(matrix.factors) == (2 if per_step else 1)
    assert matrix.facts["clips"] == 401


def test_means_of_bits_are_those_of_the_base_set():
    codes = known_codes(13, clips=103)
    matrix = fit(codes, normalise="bit")
    stored = np.unpackbits(codes[2], axis=1).astype(int) * 2 - 1
    once = stored @ matrix.factors[0].T
    for focus, values in ((1, once), (0, once @ matrix.factors[0].T)):
        expected = np.packbits(values * 103 >= values.sum(axis=0), axis=1)
        np.testing.assert_array_equal(matrix.derive(codes[2], focus), expected)


def test_f_is_a_function_of_the_seed():
    codes = known_codes(14, clips=53)
    first, again, other = (fit(codes, seed=seed).digest for seed in (3, 3, 4))
    assert first == again != other


def test_a_missing_focus_and_unknown_options_are_refused():
    codes = known_codes(15, clips=5)
    with pytest.raises(ValueError, match=r"codes of foci \[0, 2\]"):
        fit({focus: codes[focus] for focus in (0, 2)})
    with pytest.raises(ValueError, match=r"codes of foci \[0\]"):
        fit({0: codes[0]})


@pytest.mark.parametrize("normalise", ["code", "bit"])
@pytest.mark.parametrize("values", ["binary", "01", "real"])
def test_bytes_and_back(values, normalise):
    matrix = random_matrix(16, bits=24, layers=2, values=values, normalise=normalise)
    matrix = dataclasses.replace(matrix, facts={"step": 7})
    again = FilterMatrix.from_bytes(matrix.to_bytes(), where="here")
    np.testing.assert_array_equal(again.factors, matrix.factors)
    assert again.digest == matrix.digest
    assert again.facts == {"step": 7}
    codes = random_codes(17, clips=9, bits=24)
    np.testing.assert_array_equal(again.derive(codes, 0), matrix.derive(codes, 0))


def test_stored_bits_are_those_on_disk():
    def stored(**options):
        matrix = random_matrix(18, bits=16, layers=3, **options)
        with np.load(io.BytesIO(matrix.to_bytes())) as arrays:
            on_disk = sum(8 * arrays[name].nbytes for name in arrays if name != "about")
        assert matrix.storage_bits == on_disk
        return on_disk

    assert stored() == 16 * 16
    assert stored(values="01") == 16 * 16
    assert stored(per_step=True) == 3 * 16 * 16
    assert stored(values="real") == 16 * 16 * 16
    assert stored(normalise="bit") == 16 * 16 + 3 * 16 * 64


def test_digest_names_all_that_changes_a_code():
    matrix = random_matrix(19, bits=16, layers=2, normalise="bit")
    factors = matrix.factors.copy()
    factors[0, 3, 5] *= -1
    others = [
        dataclasses.replace(matrix, factors=factors),
        dataclasses.replace(matrix, layers=3),
        dataclasses.replace(matrix, means=matrix.means + 1),
        dataclasses.replace(matrix, means=None, normalise="code"),
    ]
    assert len({matrix.digest, *(other.digest for other in others)}) == 5
    assert dataclasses.replace(matrix, facts={"step": 1}).digest == matrix.digest


def with_other_factors(content):
    """Changes a bit of F and leaves all else, the digest too, as it was."""
    with np.load(io.BytesIO(content)) as arrays:
        arrays = dict(arrays)
    arrays["factors"].ravel()[0] ^= 1
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def foreign(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def refused(content):
    with pytest.raises(Damaged, match="^there is not a readable filter matrix") as raised:
        FilterMatrix.from_bytes(content, where="there")
    assert "\n" not in str(raised.value)


def test_damaged_and_foreign_files_are_refused_in_one_line():
    content = random_matrix(20, bits=16, layers=2).to_bytes()
    about = np.frombuffer(json.dumps({"values": "binary"}).encode(), np.uint8)
    objects = io.BytesIO()
    np.save(objects, np.array([{}]), allow_pickle=True)
    for bad in (
        b"", b"no archive", content[:-1], content[: len(content) // 2], with_other_factors(content),
        foreign(codes=np.zeros(3)), foreign(about=about, factors=np.zeros((1, 8, 1), np.uint8)),
        objects.getvalue(),
    ):  # fmt: skip
        refused(bad)


def test_no_damaged_byte_goes_unnoticed():
    content = random_matrix(21, bits=8, layers=1).to_bytes()
    digest = FilterMatrix.from_bytes(content, where="here").digest
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 0b1001
        try:
            # Some of an archive's bytes say nothing of what is in it.
            assert FilterMatrix.from_bytes(bytes(damaged), where="here").digest == digest
        except UserError as error:
            assert "\n" not in str(error)


def test_a_run_is_fitted_once_for_each_choice(tmp_path, monkeypatch):
    run, codes = epath.Path(tmp_path), known_codes(22, clips=29)
    fitted = []

    def counting(*arguments, **options):
        fitted.append(options)
        return fit(*arguments, **options)

    monkeypatch.setattr(run_filter, "fit", counting)
    checkpoint = {"checkpoint": "12-abc", "base_split": "train", "seed": 5}
    first = load_or_fit(run, lambda: codes, **checkpoint)
    again = load_or_fit(run, lambda: codes, **checkpoint)
    assert len(fitted) == 1
    assert again.digest == first.digest
    assert [first.facts[name] for name in checkpoint] == ["12-abc", "train", 5]
    assert again.facts == first.facts
    for options in (
        {"values": "01"}, {"values": "real"}, {"per_step": True}, {"normalise": "bit"},
        {"checkpoint": "12-abd"}, {"base_split": "train+validation"},
    ):  # fmt: skip
        load_or_fit(run, lambda: codes, **{**checkpoint, **options})
    assert len(fitted) == len(list((run / "filter_matrix").iterdir())) == 7


def test_what_cannot_be_read_or_written_is_said(tmp_path):
    codes = known_codes(23, clips=7, bits=8)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="^cannot write .*/file"):
        load_or_fit(
            epath.Path(tmp_path / "file"), lambda: codes, checkpoint="1-a", base_split="train"
        )
    load_or_fit(epath.Path(tmp_path), lambda: codes, checkpoint="1-a", base_split="train")
    (saved,) = (tmp_path / "filter_matrix").iterdir()
    saved.write_bytes(saved.read_bytes()[:100])
    with pytest.raises(Damaged, match=f"^{saved} is not a readable filter matrix .* delete it"):
        load_or_fit(epath.Path(tmp_path), lambda: codes, checkpoint="1-a", base_split="train")


def test_progress_is_told(tmp_path):
    told = []
    matrix = fit(known_codes(24, clips=7, bits=8), progress=lambda *now: told.append(now))
    done, steps, losses = zip(*told)
    assert done[-1] == steps[-1] == matrix.facts["steps"]
    assert sorted(done) == list(done)
    assert losses[-1] == matrix.facts["loss"] < losses[0]


def test_compression_ratio_by_hand():
    # Volleyball: (3493 * 128 + 128^2) bits of 3 * 3493 * 128.
    assert compression_ratio(bits=128, layers=3, clips=3493) == pytest.approx(463488 / 1341312)
    assert round(compression_ratio(bits=128, layers=3, clips=3493), 4) == 0.3455


def archived(about, **arrays):
    file = io.BytesIO()
    np.savez_compressed(file, about=np.frombuffer(about, np.uint8), **arrays)
    return file.getvalue()


def test_hostile_files_are_refused_in_one_line(unchecked_shapes):
    matrix = random_matrix(23, bits=8, layers=1)
    with np.load(io.BytesIO(matrix.to_bytes())) as arrays:
        about, factors = json.loads(arrays["about"].tobytes()), arrays["factors"]
    for changes in ({"layers": 10**9}, {"layers": None}, {"values": []}, {"normalise": "bit"}):
        # A digest tells damage; who computes it anew has to be told, too.
        changed = {**about, **changes}
        fields = (changed["layers"], changed["values"], changed["normalise"])
        other = FilterMatrix(matrix.factors, *fields)
        refused(archived(json.dumps({**changed, "digest": other.digest}).encode(), factors=factors))
    for text in (b"[" * 10**5, b"null", b"[]", b"\xff", json.dumps({**about, "facts": 3}).encode()):
        refused(archived(text, factors=factors))
    refused(archived(json.dumps(about).encode(), factors=np.zeros(300 << 20, np.uint8)))
    refused(archived(json.dumps(about).encode(), factors=factors[0]))


def test_a_filter_matrix_of_other_things_than_codes(unchecked_shapes):
    matrix = random_matrix(24, bits=8, layers=1)
    for codes in (np.zeros((2, 1), int), np.zeros((2, 1)), np.zeros(1, np.uint8), [[1]]):
        with pytest.raises(UserError, match="^codes: .* are no packed codes; give"):
            matrix.derive(codes, 0)
