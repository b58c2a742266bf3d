"""The package: its pinned requirements, and a wheel that works far from the checkout."""

import importlib.metadata
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from stvh_jax.errors import EXTRAS, not_installed

# The folders of the library that hold files which are no programs.
FILES = {"static", "templates", "trained"}
ROOT = pathlib.Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = (ROOT / "requirements.txt").read_text()
# Extras that each user chooses by hand, for they bring gigabytes or another build of JAX.
NOT_PINNED = {"cuda", "gcs", "torch"}


def group(name: str) -> list[str]:
    """Gives a dependency group's requirements, those of the groups it includes too."""
    requirements = []
    for entry in PROJECT["dependency-groups"][name]:
        included = group(entry["include-group"]) if isinstance(entry, dict) else [entry]
        requirements += included
    return requirements


def pins() -> dict[str, list[Requirement]]:
    """Reads requirements.txt: each package's lines, one for each marker."""
    found: dict[str, list[Requirement]] = {}
    for line in PINNED.splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def test_what_the_project_requires_is_pinned():
    """Where this fails, run the command in the header of requirements.txt again."""
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = PROJECT["project"]["dependencies"] + group("dev")
    wanted += [each for name in sorted(extras.keys() - NOT_PINNED) for each in extras[name]]
    pinned, wrong = pins(), []
    for requirement in map(Requirement, wanted):
        lines = pinned.get(canonicalize_name(requirement.name), [])
        (versions,) = [[s.version for line in lines for s in line.specifier]]
        if not versions or not all(requirement.specifier.contains(v) for v in versions):
            wrong.append(f"{requirement} is pinned to {versions}")
    assert not wrong


def test_every_pin_is_one_version():
    for lines in pins().values():
        for line in lines:
            (specifier,) = line.specifier
            assert specifier.operator == "=="


def test_the_header_says_how_the_pins_were_made():
    """It names the extras and the group that the test above compares."""
    command = next(line for line in PINNED.splitlines() if "pip compile" in line)
    assert "pyproject.toml --universal --fork-strategy fewest --python-version 3.11" in command
    extras = set(PROJECT["project"]["optional-dependencies"])
    assert set(re.findall(r"--extra (\S+)", command)) == extras - NOT_PINNED
    assert re.findall(r"--group (\S+)", command) == ["dev"]


def test_the_pre_commit_hooks_use_the_pinned_ruff():
    (ruff,) = pins()["ruff"]
    (revision,) = re.findall(
        r"ruff-pre-commit\n\s*rev: v(\S+)", (ROOT / ".pre-commit-config.yaml").read_text()
    )
    assert str(ruff.specifier) == f"=={revision}"


def test_no_extra_is_for_a_folder_that_the_wheel_lacks():
    assert PROJECT["tool"]["setuptools"]["packages"]["find"]["include"] == ["stvh_jax*"]
    packages = {
        canonicalize_name(Requirement(each).name)
        for extra in PROJECT["project"]["optional-dependencies"].values()
        for each in extra
    }
    assert not packages & {"tensorflow-cpu", "tensorflow-datasets", "dill", "scipy", "nbclient"}


def test_a_missing_package_is_named_with_its_extra():
    extras = PROJECT["project"]["optional-dependencies"]
    declared = {
        canonicalize_name(Requirement(each).name): extra
        for extra, packages in extras.items()
        if extra not in {"cuda", "gcs"}  # other builds of what is always there
        for each in packages
    }
    named = {canonicalize_name(package): extra for package, extra in EXTRAS.items()}
    named["faiss-cpu"] = named.pop("faiss")
    assert named == declared
    missing = ModuleNotFoundError("No module named 'faiss.x'", name="faiss.x")
    assert not_installed(missing) == "faiss is not installed; pip install 'stvh_jax[search]'"


@pytest.mark.parametrize("missing", ["faiss", "lancedb", "pyarrow"])
def test_the_search_without_its_extra_ends_in_one_line(missing, tmp_path):
    (tmp_path / "index").mkdir()  # without which nothing is looked for in it
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from stvh_jax.cli.main import main\n"
        "sys.exit(main(['search', 'query', '--index', 'index', '--clip', 'a/1']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert re.fullmatch(
        rf"error: .*{missing}.* not installed; pip install 'stvh_jax\[search\]'\n", done.stderr
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    """Builds the wheel from a copy, so that the checkout gets no build folder."""
    needed = PROJECT["build-system"]["requires"][0]
    installed = importlib.metadata.version("setuptools")
    if not Requirement(needed).specifier.contains(Version(installed)):
        pytest.skip(f"building needs {needed}; setuptools {installed} is installed")
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "stvh_jax", source / "stvh_jax", ignore=shutil.ignore_patterns("__pycache__")
    )
    built = tmp_path_factory.mktemp("built")
    pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", built, source)
    (path,) = built.glob("*.whl")
    return path


def pip(*arguments) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *map(str, arguments)], check=True)


@pytest.mark.slow
def test_the_wheel_carries_the_library_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    # The packages, and the models and the parts of the page that come with them.
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "stvh_jax").rglob("*")
        if path.suffix in {".py", ".typed"} or path.parent.name in FILES
    }
    assert "stvh_jax/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name for name in names if ".dist-info/" not in name} == sources


@pytest.mark.slow
def test_the_wheel_alone_encodes_and_searches(wheel, tmp_path):
    """Far from the checkout: only the wheel, and what it depends on, can be imported."""
    target, away = tmp_path / "target", tmp_path / "away"
    away.mkdir()
    pip("install", "--no-deps", "--no-index", "--target", target, wheel)
    shutil.copy(ROOT / "notebooks" / "demo_run.zip", away)
    tour = ROOT / "tests" / "helpers" / "wheel_tour.py"
    environment = {**os.environ, "PYTHONPATH": str(target), "PYTHONSAFEPATH": "1"}

    def run(*arguments) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=away,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    result = json.loads(run(tour, "demo_run.zip", "tour"))
    assert result == {
        "package": str(target),
        "version": PROJECT["project"]["version"],
        "clips": 3,
        "first": ["own", "1", 0.0],
        "checkout": [],
    }

    stvh = target / "bin" / "stvh"
    assert "search" in run(stvh, "--help")
    assert run(stvh, "--version") == f"{PROJECT['project']['version']}\n"
    with zipfile.ZipFile(away / "demo_run.zip") as archive:
        archive.extractall(away / "run")
    assert run(stvh, "share", "run", "again.zip").startswith("again.zip: the best checkpoint")
    assert "own/0" in run(stvh, "search", "query", "--index", "tour/index", "--clip", "own/1")
    own = ["--frames", "tour/2/frames", "--boxes", "tour/2/tracks.csv", "--run", "again.zip"]
    found = json.loads(run(stvh, "search", "query", "--index", "tour/index", *own, "--json"))
    first = found["hits"][0]
    assert (first["match"], first["clip"], first["distance"]) == ("own", "2", 0)
