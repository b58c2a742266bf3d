"""Files of weights that are damaged or hostile: one line each, and nothing outside them is read."""

import json
import signal
import struct
import subprocess
import zipfile

import h5py
import numpy as np
import pytest
import safetensors.numpy

from stvh_jax.cli import convert as command
from stvh_jax.errors import UserError
from stvh_jax.models.weights import containers, convert
from stvh_jax.models.weights.convert import Weights, read, write


def refusal(path):
    """Gives the one line that a file is refused with."""
    with pytest.raises(UserError) as caught:
        read(path)
    line = str(caught.value)
    assert str(path) in line and "\n" not in line and len(line) < 900
    return line


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    """Another file, which no file of weights may make us read."""
    path = tmp_path_factory.mktemp("secret") / "secret.h5"
    with h5py.File(path, "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros((3, 3, 1, 1))
    return path


def test_an_hdf5_file_may_not_point_to_others(tmp_path, secret):
    def linked(file):
        file["layers/conv2d"] = h5py.ExternalLink(secret, "layers/conv2d")

    def virtual(file):
        layout = h5py.VirtualLayout((3, 3, 1, 1), "f8")
        layout[:] = h5py.VirtualSource(secret, "layers/conv2d/vars/0", (3, 3, 1, 1), "f8")
        file.create_virtual_dataset("layers/conv2d/vars/0", layout)

    def external(file):
        file.create_dataset("layers/conv2d/vars/0", (9,), external=[(str(secret), 0, 72)])

    def whole(file):
        file["model_weights"] = h5py.ExternalLink(secret, "/")

    for make in (linked, virtual, external, whole):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            make(file)
        assert "points to another file at " in refusal(tmp_path / "x.h5")


def test_no_file_announces_more_than_there_is_memory_for(tmp_path, monkeypatch):
    for name in ("layers/conv2d/vars/0", "elsewhere"):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file.create_dataset(name, (10**6, 10**6), chunks=(9, 9), dtype="f4")
        assert "announces 3814697 MiB of tensors" in refusal(tmp_path / "x.h5")
    monkeypatch.setattr(containers, "MOST_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "x.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(10**6))
    assert "announces 0 MiB" in refusal(tmp_path / "x.keras")


def test_a_file_that_would_be_read_forever_is_given_up(tmp_path, monkeypatch):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["a", "b"]
    content = bytearray(path.read_bytes())
    # The size of a text in HDF5's heap of texts: with none, its library never comes to the next.
    content[content.index(b"GCOL") + 24] = 0
    path.write_bytes(content)
    monkeypatch.setattr(containers, "LONGEST_SECONDS", 2)
    assert "is a damaged HDF5 file: it is read forever; download it again" in refusal(path)


def test_a_file_that_ends_the_process_that_reads_it_is_refused(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros((3, 3, 1, 1))
    killed = subprocess.CompletedProcess([], -signal.SIGSEGV)
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: killed)
    assert "is a damaged HDF5 file: reading it crashes; download it again" in refusal(
        tmp_path / "x.h5"
    )


def with_header(path, header):
    content = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content)
    return path


def test_headers_of_safetensors(tmp_path):
    tensor = {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 0]}
    for header in (
        {"a": tensor},
        {"a": {**tensor, "shape": [10**9], "data_offsets": [0, 4 * 10**9]}},
        {"a": {**tensor, "shape": [-1]}},
        '{"a":' * 50_000,
        "{" + "[" * 50_000,
    ):
        refusal(with_header(tmp_path / "x", header))
    for length in (2**63, 2**64 - 1, 2**40, 10**8):
        (tmp_path / "x").write_bytes(struct.pack("<Q", length) + b'{"a":1}')
        refusal(tmp_path / "x")


def test_names_of_a_file_are_shown_in_one_line(tmp_path):
    names = {f"{letter}\n\x1b[31m" + "x" * 10**5: np.zeros(1, np.float32) for letter in "abcd"}
    safetensors.numpy.save_file(names, tmp_path / "x")
    assert "is another network: it has a  [31mxxx" in refusal(tmp_path / "x")


def test_no_flip_of_a_bit_and_no_cut_leaves_more_than_a_line(tmp_path):
    tensors = {"a": np.ones(3, np.float32), "b": np.ones((2, 2), np.float16)}
    safetensors.numpy.save_file(tensors, tmp_path / "x", {"format": "pt"})
    content = (tmp_path / "x").read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        for damaged in (bytes(flipped), content[:place]):
            (tmp_path / "x").write_bytes(damaged)
            refusal(tmp_path / "x")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A small file of our own format, under a small network's shapes."""
    shapes = {"params/a/kernel": (2, 3), "params/a/bias": (3,)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "variable_shapes", lambda backbone: shapes)
        patch.setattr("stvh_jax.models.weights.names.variable_shapes", lambda backbone: shapes)
        tree = {"params": {"a": {"kernel": np.ones((2, 3), "f4"), "bias": np.ones(3, "f4")}}}
        options = {"normalisation": "caffe"}
        path = tmp_path_factory.mktemp("own") / "own.safetensors"
        write(Weights("vgg16", options, tree, (), "5" * 64, "source.h5", "keras"), path)
        yield path


def test_every_flipped_bit_of_our_own_format_is_noticed(own, tmp_path):
    assert read(own).source == "source.h5"
    content = own.read_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        (tmp_path / "x").write_bytes(flipped)
        try:
            weights = read(tmp_path / "x")
        except UserError:
            continue
        # What says nothing may change: blanks that fill the header.
        assert (weights.source, weights.sha256) == ("source.h5", "5" * 64)
        assert weights.options == {"normalisation": "caffe"}


def test_a_file_of_our_own_format_without_a_digest_of_its_metadata_is_read(own, tmp_path):
    with safetensors.safe_open(own, "np") as file:
        tensors, metadata = file.get_tensors(), file.metadata()
    del metadata["metadata_sha256"]
    safetensors.numpy.save_file(tensors, tmp_path / "x", metadata)
    assert read(tmp_path / "x").source == "source.h5"
    metadata["options"] = "[" * 10**5
    safetensors.numpy.save_file(tensors, tmp_path / "x", metadata)
    assert "is damaged in its metadata; convert the original file again" in refusal(tmp_path / "x")


def test_what_the_system_refuses_is_one_line(own, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    status = command.main([str(own), str(tmp_path / "file" / "out")])
    assert status == 2
    assert capsys.readouterr().err == f"error: cannot write {tmp_path}/file/out (File exists)\n"
