"""Containers of weights: .h5, .keras, .pth and .safetensors files, read into NumPy arrays.

A file is known by its first bytes, never by its name. Files of others are not trusted: a pickle is
read by PyTorch's unpickler for tensors alone, an HDF5 file may not point to other files, and none
may announce more than `MOST_BYTES` of tensors.
"""

import importlib
import io
import json
import os
import pathlib
import pickle
import re
import subprocess
import sys
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from stvh_jax.errors import UserError

# Four times what VGG-16 takes with its dense layers. A file of a few bytes may announce anything.
MOST_BYTES = 2 << 30
# How long trying an HDF5 file may take, besides a second for every 10 MB of it.
LONGEST_SECONDS = 120


class NamedTensors(NamedTuple):
    """The tensors of a PyTorch or .safetensors file by name; the latter may carry metadata."""

    tensors: dict[str, np.ndarray]
    metadata: dict[str, str]


class KerasLayers(NamedTuple):
    """The tensors of each layer of a Keras file, the layers of each kind in their order."""

    layers: dict[str, list[np.ndarray]]


def read_container(path: pathlib.Path) -> NamedTensors | KerasLayers:
    """Reads all tensors of a file.

    Raises:
      UserError: what is wrong with the file, without its name.
      Exception: whatever a parser raises of a damaged file.
    """
    kind = container_kind(path)
    if kind == "safetensors":
        return _read_safetensors(path)
    if kind == "pickle":
        return _read_torch(path)
    source = path if kind == "hdf5" else _zipped_hdf5(path)
    if source is None:
        return _read_torch(path)
    _try_hdf5(path)
    return _read_hdf5(source)


def container_kind(path: pathlib.Path) -> str:
    """Names the container of a file by its first bytes: hdf5, zip, pickle or safetensors."""
    if path.is_dir():
        raise UserError("is a folder; give the file of weights itself")
    if not path.exists():
        raise UserError("does not exist")
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise UserError("is empty; download it again")
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if start.startswith(b"PK\x03\x04"):
        return "zip"
    if start.startswith(b"\x80"):
        return "pickle"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise UserError("is a web page, not weights: the download failed; download it again")
    if start[8:9] == b"{":
        return "safetensors"
    raise UserError(
        f"is not a file of weights: it begins with {start[:20]!r}; known are Keras's .h5 "
        "and .keras, torchvision's .pth, and .safetensors"
    )


def _safetensors():
    try:
        import safetensors.numpy
    except ImportError as error:
        raise UserError("needs the package safetensors: pip install safetensors") from error
    return safetensors


def _read_safetensors(path: pathlib.Path) -> NamedTensors:
    safetensors = _safetensors()
    try:
        with safetensors.safe_open(path, "np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return NamedTensors(tensors, file.metadata() or {})
    except safetensors.SafetensorError as error:
        raise UserError(f"is a damaged .safetensors file ({error}); download it again") from error
    except (AttributeError, TypeError) as error:
        raise UserError(f"has tensors of a type that NumPy does not have ({error})") from error


def _read_torch(path: pathlib.Path) -> NamedTensors:
    """Reads the state dict of a .pth file, of the new format or the old."""
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise UserError(
            "is a PyTorch file, and torch is not installed: pip install torch, or save the state "
            "dict as .safetensors where torch is"
        ) from error
    try:
        with warnings.catch_warnings():
            # Of pickle protocols and TorchScript: what matters here is said below, in one line.
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            "holds Python objects other than tensors, which are not safe to load, or is damaged; "
            "save the model's state_dict() alone"
        ) from error
    except Exception as error:  # the unpickler of a damaged file may fail in any way
        raise UserError(
            "is damaged, or not a state dict of PyTorch; download it again, or save the model's "
            "state_dict() alone"
        ) from error
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping):
        raise UserError(f"holds a {type(state).__name__}; save the model's state_dict() alone")
    strange = [str(name) for name, value in state.items() if not torch.is_tensor(value)]
    if strange:
        raise UserError(
            f"is not a state dict: {first_few(strange)} are not tensors; save the model's "
            "state_dict() alone"
        )
    # A tensor may be larger than its storage, and is copied where its type is changed.
    _check_size(value.numel() * 4 for value in state.values())
    # NumPy knows no bfloat16.
    tensors = {
        str(name): (value.float() if value.is_floating_point() else value).detach().numpy()
        for name, value in state.items()
    }
    return NamedTensors(tensors, {})


def _read_hdf5(source: os.PathLike | io.BytesIO) -> KerasLayers:
    """Reads the weights that Keras has saved, in its legacy layout or that of version 3."""
    try:
        import h5py
    except ImportError as error:
        raise UserError("is a Keras file, and h5py is not installed: pip install h5py") from error
    try:
        with h5py.File(source, "r") as file:
            _check_hdf5(file)
            root: Any = file.get("model_weights", file)
            if "layer_names" in root.attrs:
                names = [_text(name) for name in root.attrs["layer_names"]]
                return KerasLayers({name: _legacy_tensors(root[name]) for name in names})
            if "layers" in root:
                groups = sorted(root["layers"].items(), key=lambda item: _counted(item[0]))
                return KerasLayers(
                    {name: _tensors(group.get("vars", {})) for name, group in groups}
                )
    except UserError:
        raise
    except Exception as error:  # what h5py makes of a damaged file is of any kind
        raise UserError("is a damaged HDF5 file; download it again") from error
    raise UserError("is an HDF5 file, but not a Keras model or weights: it lists no layers")


def _check_hdf5(file: Any) -> None:
    """Raises a `UserError` for a file that is read from other files, or has too large tensors."""
    import h5py

    sizes = []

    def elsewhere(name: str, member: Any) -> str | None:
        """Gives the name of what is read from another file; an error would not pass h5py whole."""
        if isinstance(member, h5py.Dataset):
            sizes.append(member.nbytes)
            return name if member.is_virtual or member.external else None
        return name if isinstance(member, h5py.ExternalLink) else None

    name = file.visititems_links(elsewhere) or file.visititems(elsewhere)
    if name is not None:
        raise UserError(f"points to another file at {first_few([name])}; give one file")
    _check_size(sizes)


def _check_size(sizes: Iterable[int]) -> None:
    total = sum(map(int, sizes))
    if total > MOST_BYTES:
        raise UserError(f"announces {total >> 20} MiB of tensors; no file known here has as much")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _legacy_tensors(group: Any) -> list[np.ndarray]:
    return [np.asarray(group[_text(name)]) for name in group.attrs["weight_names"]]


def _tensors(group: Mapping) -> list[np.ndarray]:
    return [np.asarray(group[name]) for name in sorted(group, key=int)]


def _counted(name: str) -> tuple[str, int]:
    """Splits the number off Keras's name of a layer: the first of a kind has none."""
    numbered = re.fullmatch(r"(.*)_(\d+)", name)
    return (numbered[1], int(numbered[2])) if numbered else (name, 0)


def _zipped_hdf5(path: pathlib.Path) -> io.BytesIO | None:
    """Gives what Keras has put into a zip archive; None of one of PyTorch's."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "model.weights.h5" in names:
                _check_size([archive.getinfo("model.weights.h5").file_size])
                return io.BytesIO(archive.read("model.weights.h5"))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise UserError("is a damaged zip archive; download it again") from error
    if any(name.endswith("/data.pkl") for name in names):
        return None
    raise UserError("is a zip archive, but neither Keras's nor PyTorch's")


def _try_hdf5(path: pathlib.Path) -> None:
    """Reads a file in another process first: HDF5's library may crash of a damaged one, or hang.

    Raises:
      UserError: it does; what is wrong with the file otherwise, reading it here will say.
    """
    command = [sys.executable, "-m", __spec__.name, os.fspath(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    seconds = LONGEST_SECONDS + path.stat().st_size / 10e6
    try:
        tried = subprocess.run(command, env=environment, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise UserError("is a damaged HDF5 file: it is read forever; download it again") from error
    if tried.returncode < 0:
        raise UserError("is a damaged HDF5 file: reading it crashes; download it again")


def safetensors_bytes(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Makes the content of a .safetensors file; equal tensors and metadata give equal bytes."""
    return _with_sorted_header(_safetensors().numpy.save(dict(tensors), dict(metadata)))


def _with_sorted_header(data: bytes) -> bytes:
    """Sorts the header of a .safetensors file, whose metadata come in an order of chance."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[end:]


def first_few(names: Iterable[str]) -> str:
    """Lists the first few names, which may be of a file's own, and says how many more there are."""
    names = list(names)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(name[:200] for name in names[:3]) + more


if __name__ == "__main__":  # in the process of _try_hdf5
    file = pathlib.Path(sys.argv[1])
    _read_hdf5(file if container_kind(file) == "hdf5" else _zipped_hdf5(file) or io.BytesIO())
