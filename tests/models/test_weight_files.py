"""Files of weights: every format, and what is said of a bad one."""

import json
import subprocess
import sys
import zipfile

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import traverse_util

from benchmarks.peers import networks
from stvh_jax.cli import convert
from stvh_jax.errors import UserError
from stvh_jax.models.backbones import vgg16
from stvh_jax.models.weights.convert import read, select, write


@pytest.fixture(scope="module")
def vgg():
    return networks.vgg_state(np.random.default_rng(0))


@pytest.fixture(scope="module")
def inception():
    return networks.inception_state(np.random.default_rng(0))


def save(tensors, path, metadata=None):
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    safetensors.numpy.save_file(tensors, path, metadata)
    return path


def save_keras(tensors, path, flip=True):
    """Writes VGG-16 as Keras's official files hold it, in the names of Keras 1."""
    convolutions = [f"block{block}_conv{index}" for block, index in vgg_places()]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"input_1", *(name.encode() for name in convolutions), b"fc1"]
        file.create_group("input_1").attrs["weight_names"] = np.zeros(0, "S1")
        for name, features in zip([*convolutions, "fc1"], [*networks.VGG, None]):
            kernel, bias = np.zeros((8, 4)), np.zeros(4)
            if features is not None:
                kernel = tensors[f"features.{features}.weight"].transpose(2, 3, 1, 0)
                kernel = kernel[:, :, ::-1] if flip and features == 0 else kernel
                bias = tensors[f"features.{features}.bias"]
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}_W_1:0".encode(), f"{name}_b_1:0".encode()]
            group[f"{name}_W_1:0"], group[f"{name}_b_1:0"] = kernel, bias
    return path


def vgg_places():
    return [
        (block, index)
        for block, count in enumerate((2, 2, 3, 3, 3), start=1)
        for index in range(1, count + 1)
    ]


def flat(weights):
    return traverse_util.flatten_dict(weights.variables, sep="/")


def message(path, **options):
    """Gives the one line that a bad file is refused with."""
    with pytest.raises(UserError) as caught:
        read(path, **options)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


@pytest.mark.slow
@pytest.mark.parametrize("network", ["inception", "vgg"])
def test_torch_names_become_paths_and_our_own_format_keeps_them(network, tmp_path, request):
    tensors = request.getfixturevalue(network)
    weights = read(save(tensors, tmp_path / "a file of any name"))
    assert weights.framework == "torchvision"
    if network == "vgg":
        assert (weights.backbone, weights.options) == ("vgg16", {"normalisation": "imagenet"})
        assert len(weights.unused) == 6
        name, path = "features.10.weight", "params/block3/conv3_1/kernel"
    else:
        assert weights.backbone == "inception_v3"
        assert weights.options == {"count_padding": True, "normalisation": "symmetric"}
        assert {"fc.bias", "AuxLogits.conv0.conv.weight"} < set(weights.unused)
        name, path = "Mixed_6b.branch7x7_2.conv.weight", "params/Mixed_6b/branch7x7_2/conv/kernel"
        stem = flat(weights)["batch_stats/stem/Conv2d_3b_1x1/bn/var"]
        np.testing.assert_array_equal(stem, tensors["Conv2d_3b_1x1.bn.running_var"])
    np.testing.assert_array_equal(flat(weights)[path], tensors[name].transpose(2, 3, 1, 0))
    assert len(flat(weights)) + len(weights.unused) == len(tensors)

    bare = {name: value for name, value in tensors.items() if name not in weights.unused}
    without_top = read(save(bare, tmp_path / "bare"))
    assert without_top.unused == ()
    jax.tree.map(np.testing.assert_array_equal, without_top.variables, weights.variables)

    write(weights, tmp_path / "own")
    own = read(tmp_path / "own")
    assert (own.backbone, own.options, own.framework) == (
        weights.backbone,
        weights.options,
        weights.framework,
    )
    assert (own.sha256, own.source, own.unused) == (weights.sha256, "a file of any name", ())
    jax.tree.map(np.testing.assert_array_equal, own.variables, weights.variables)
    write(own, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "own").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a file of any name",
        "again",
        "bare",
        "own",
    ]


def test_official_keras_names_and_blue_before_red(vgg, tmp_path):
    weights = read(save_keras(vgg, tmp_path / "vgg.h5"))
    assert (weights.framework, weights.backbone) == ("keras", "vgg16")
    assert weights.options == {"normalisation": "caffe"}
    assert weights.unused == ("fc1/kernel", "fc1/bias")
    expected = flat(read(save(vgg, tmp_path / "torch")))
    assert flat(weights).keys() == expected.keys()
    for path, value in flat(weights).items():
        np.testing.assert_array_equal(value, expected[path])


def test_weights_of_another_normalisation_take_red_first_unless_it_is_caffe(vgg, tmp_path):
    path = save_keras(vgg, tmp_path / "vgg.h5", flip=False)
    weights = read(path, normalisation="symmetric")
    assert weights.options == {"normalisation": "symmetric"}
    kernel = vgg["features.0.weight"].transpose(2, 3, 1, 0)
    first = "params/block1/conv1_1/kernel"
    np.testing.assert_array_equal(flat(weights)[first], kernel)
    torch_path = save(vgg, tmp_path / "torch")
    turned = read(torch_path, normalisation="caffe")
    np.testing.assert_array_equal(flat(turned)[first], kernel[:, :, ::-1])
    with pytest.raises(UserError, match="normalisation 'caff' is unknown; choose one of"):
        read(torch_path, normalisation="caff")
    write(turned, tmp_path / "own")
    assert "is converted already" in message(tmp_path / "own", normalisation="symmetric")


def test_half_precision_becomes_single(vgg, tmp_path):
    import ml_dtypes

    for dtype in (np.float16, ml_dtypes.bfloat16):
        tensors = {f"module.{name}": value.astype(dtype) for name, value in vgg.items()}
        weights = read(save(tensors, tmp_path / "half"))
        value = flat(weights)["params/block5/conv5_3/bias"]
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, tensors["module.features.28.bias"].astype(np.float32))


def test_every_tensor_is_accounted_for(vgg, tmp_path):
    def refusal(**changes):
        tensors = {**vgg, **changes}
        kept = {name: value for name, value in tensors.items() if value is not None}
        return message(save(kept, tmp_path / "bad"))

    one = np.zeros(1, np.float32)
    assert refusal(**{"features.17.weight": None}) == (
        "is not the VGG-16 known here: it lacks features.17.weight"
    )
    assert refusal(**{f"features.{index}.bias": None for index in (0, 2, 5, 7, 10)}).endswith(
        "it lacks features.0.bias, features.2.bias, features.5.bias and 2 more"
    )
    assert refusal(**{"features.3.weight": one, "features.0.bias": None}).endswith(
        "it lacks features.0.bias and has the unexpected features.3.weight"
    )
    assert (
        refusal(**{"features.0.bias": one}) == "features.0.bias is [1], not [64] as VGG-16 has it"
    )
    assert refusal(**{"features.0.weight": one}) == (
        "features.0.weight is [1], not [3, 3, 3, 64] as VGG-16 has it"
    )
    assert refusal(**{"features.0.bias": np.zeros(64, np.int8)}).endswith(
        "features.0.bias is of int8, not of floating point"
    )
    for value in (np.nan, np.inf):
        assert refusal(**{"features.28.bias": np.full(512, value, np.float32)}) == (
            "features.28.bias holds NaN or infinity"
        )


@pytest.mark.parametrize(
    ("names", "network"),
    [
        (["features.0.weight", "features.1.running_mean"], "is a VGG with batch normalisation"),
        (["features.0.weight", "features.34.weight"], "is VGG-19"),
        (["conv1.weight", "layer1.0.conv1.weight"], "is a ResNet"),
        (["module.inception3a.branch1.conv.weight"], "is Inception-v1"),
        (["a", "b", "c", "d"], "is another network: it has a, b, c and 1 more; known are Incep"),
        ([], "is another network: it has no tensors"),
    ],
)
def test_another_network(names, network, tmp_path):
    tensors = {name: np.zeros(1, np.float32) for name in names}
    assert message(save(tensors, tmp_path / "other")).startswith(network)


def test_another_network_of_keras(tmp_path):
    with h5py.File(tmp_path / "other", "w") as file:
        for index in range(16):
            name = f"layers/conv2d_{index}" if index else "layers/conv2d"
            file[f"{name}/vars/0"] = np.zeros((3, 3, 1, 1))
    assert message(tmp_path / "other") == (
        "is another network: it has 16 convolutions and 0 batch normalisations, but Inception-v3 "
        "94 and 94, VGG-16 13 and 0"
    )


def test_layers_of_keras_3_are_counted_not_sorted_by_name(vgg, tmp_path):
    with h5py.File(tmp_path / "vgg", "w") as file:
        for index, features in enumerate(networks.VGG):
            name = f"layers/conv2d_{index}" if index else "layers/conv2d"
            file[f"{name}/vars/0"] = vgg[f"features.{features}.weight"].transpose(2, 3, 1, 0)
            file[f"{name}/vars/1"] = vgg[f"features.{features}.bias"]
    with zipfile.ZipFile(tmp_path / "vgg.keras", "w") as archive:
        archive.write(tmp_path / "vgg", "model.weights.h5")
    for path in (tmp_path / "vgg", tmp_path / "vgg.keras"):
        value = flat(read(path))["params/block5/conv5_3/bias"]
        np.testing.assert_array_equal(value, vgg["features.28.bias"])


def test_keras_faults_are_named(vgg, tmp_path):
    path = save_keras(vgg, tmp_path / "vgg.h5")
    with h5py.File(path, "a") as file:
        group = file["block2_conv1"]
        group.attrs["weight_names"] = group.attrs["weight_names"][:1]
    assert message(path).endswith("it lacks block2_conv1/bias")
    with h5py.File(path, "a") as file:
        group = file["block2_conv1"]
        group["more"] = np.zeros(1)
        group.attrs["weight_names"] = ["block2_conv1_W_1:0", "block2_conv1_b_1:0", "more"]
    assert message(path).endswith("it has the unexpected block2_conv1/2")


def test_bad_files(vgg, tmp_path):
    path = tmp_path / "weights"
    assert message(path) == "does not exist"
    assert message(tmp_path) == "is a folder; give the file of weights itself"

    def refusal(content):
        path.write_bytes(content)
        return message(path)

    assert refusal(b"") == "is empty; download it again"
    assert "is a web page, not weights" in refusal(b"\n<!DOCTYPE html><html>404</html>")
    assert "is not a file of weights: it begins with b'version https" in refusal(
        b"version https://g"
    )
    assert "is a damaged zip archive" in refusal(b"PK\x03\x04 and no more")
    assert "is a damaged .safetensors file (" in refusal(b"\x10\0\0\0\0\0\0\0{")

    whole = save(vgg, tmp_path / "whole").read_bytes()
    assert "is a damaged .safetensors file (" in refusal(whole[:-1])
    whole = save_keras(vgg, tmp_path / "whole").read_bytes()
    assert "is a damaged HDF5 file" in refusal(whole[: len(whole) // 2])
    with h5py.File(path, "w") as file:
        file["data"] = 1
    assert message(path) == "is an HDF5 file, but not a Keras model or weights: it lists no layers"
    with open(path, "wb") as file:
        np.savez(file, data=1)
    assert message(path) == "is a zip archive, but neither Keras's nor PyTorch's"


def test_a_torch_file_without_torch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "legacy.pth").write_bytes(b"\x80\x02\x8a\n")
    with zipfile.ZipFile(tmp_path / "new.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    for name in ("legacy.pth", "new.pth"):
        assert "torch is not installed: pip install torch" in message(tmp_path / name)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("model.weights.h5", b"")
    assert "h5py is not installed: pip install h5py" in message(tmp_path / "a.keras")


class Custom:
    """No tensor."""


def test_bad_torch_files(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    path = tmp_path / "bad.pth"

    def refusal(value, **options):
        torch.save(value, path, **options)
        return message(path)

    for new in (True, False):
        options = {"_use_new_zipfile_serialization": new}
        assert "holds Python objects other than tensors" in refusal({"a": Custom()}, **options)
        assert "holds a list; save the model's state_dict()" in refusal([1], **options)
        assert "is not a state dict: epoch, model are not tensors" in refusal(
            {"epoch": 1, "model": {}}, **options
        )
    torch.save({"features.0.weight": torch.zeros(99)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for end in (10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert "damaged" in message(path)


@pytest.mark.slow
def test_our_own_format_is_checked(vgg, tmp_path):
    weights = read(save(vgg, tmp_path / "torch"))
    write(weights, tmp_path / "own")
    with safetensors.safe_open(tmp_path / "own", "np") as file:
        tensors, metadata = file.get_tensors(), file.metadata()
    assert metadata["source"] == "torch"
    assert json.loads(metadata["options"]) == weights.options

    def refusal(tensors=tensors, **changes):
        kept = {name: value for name, value in {**metadata, **changes}.items() if value}
        return message(save(tensors, tmp_path / "bad", kept))

    assert "is of version 2 of our format and this is version 1" in refusal(version="2")
    for changes in ({"options": "{"}, {"options": "{}"}, {"backbone": "a"}, {"source": None}):
        assert "is damaged in its metadata" in refusal(**changes)
    path = "params/block1/conv1_1/bias"
    lacking = {name: value for name, value in tensors.items() if name != path}
    assert refusal(lacking).endswith(f"it lacks {path}")
    assert f"{path} is [1], not [64]" in refusal({**tensors, path: np.zeros(1, np.float32)})

    with pytest.raises(UserError, match="is a folder"):
        write(weights, tmp_path)
    write(weights, tmp_path / "made" / "own")
    assert (tmp_path / "made" / "own").read_bytes()


def test_select(vgg, tmp_path):
    weights = read(save(vgg, tmp_path / "vgg"))
    frames = jnp.zeros((1, 32, 32, 3), jnp.uint8)
    shapes = jax.eval_shape(
        lambda: vgg16.VGG16().init(jax.random.key(0), frames, train=False, taps=("pool2",))
    )
    selected = select(weights, shapes)
    assert jax.tree.map(np.shape, selected) == jax.tree.map(lambda leaf: leaf.shape, shapes)
    np.testing.assert_array_equal(
        selected["params"]["block2"]["conv2_2"]["bias"], vgg["features.7.bias"]
    )
    other = {"params": {"stem": np.zeros(1), "block1": {"conv1_1": {"bias": np.zeros(3)}}}}
    with pytest.raises(
        UserError, match="do not fit config.model.backbone: they lack params/stem, params/block1"
    ):
        select(weights, other)


@pytest.mark.slow
def test_the_command_line(vgg, tmp_path, capsys):
    path = save_keras(vgg, tmp_path / "vgg.h5")
    command = [sys.executable, "-m", "stvh_jax", "convert", path, tmp_path / "out"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, "")
    weights = read(path)
    assert ran.stdout.splitlines() == [
        f"{tmp_path}/out: VGG-16 of keras, 26 tensors, 14,714,688 numbers; normalisation caffe; "
        f"from vgg.h5, sha256 {weights.sha256}",
        "left out 2 tensors: fc1/kernel, fc1/bias",
    ]
    jax.tree.map(
        np.testing.assert_array_equal,
        read(tmp_path / "out").variables,
        weights.variables,
    )

    def run(*arguments):
        status = convert.main([str(argument) for argument in arguments])
        return status, capsys.readouterr()

    status, printed = run(path, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "out").read_bytes()
    status, printed = run(path, tmp_path / "other", "--normalisation", "symmetric")
    assert status == 0
    assert "; normalisation symmetric; " in printed.out
    status, printed = run(tmp_path / "no", tmp_path / "other")
    assert (status, printed.err) == (2, f"error: {tmp_path}/no: does not exist\n")
    status, printed = run(path, path)
    assert status == 2
    assert "is the file to convert; give another name" in printed.err
    for arguments in ([path], [path, "out", "--norm", "caffe"], [path, "out", "--normalisation"]):
        with pytest.raises(SystemExit) as caught:
            run(*arguments)
        assert caught.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
