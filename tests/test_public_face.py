"""What `import stvh_jax` offers: to a program, to an editor, and what it costs."""

import ast
import importlib.util
import json
import pathlib
import subprocess
import sys
import tomllib

import pytest

import stvh_jax

ROOT = pathlib.Path(__file__).resolve().parents[1]
NAMES = {
    "Damaged",
    "Encoder",
    "Encoding",
    "Exists",
    "FilterMatrix",
    "Hit",
    "Hits",
    "Index",
    "NotFound",
    "UserError",
    "__version__",
    "keep_compiled",
    "load",
    "queries",
    "read_clip",
}


def run(program: str, *options: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *options, "-c", program], capture_output=True, text=True, cwd=ROOT
    )


def test_dir_lists_the_public_names():
    assert set(dir(stvh_jax)) == NAMES
    assert set(stvh_jax.__all__) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_public_name_can_be_imported(name):
    value = getattr(stvh_jax, name)
    assert name == "__version__" or value.__name__ in (name, f"stvh_jax.{name}")


def test_errors_are_all_the_users_to_mend():
    for name in ("Damaged", "Exists", "NotFound"):
        assert issubclass(getattr(stvh_jax, name), stvh_jax.UserError)


def test_a_typo_is_an_attribute_error():
    with pytest.raises(AttributeError, match="^module 'stvh_jax' has no attribute 'Indx'$"):
        stvh_jax.Indx  # noqa: B018 - the access is the test


def test_type_checkers_read_the_names_that_python_reads():
    """The imports for type checkers name the same things, from the same modules, as the table."""
    tree = ast.parse((ROOT / "stvh_jax" / "__init__.py").read_text())
    (branch,) = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in branch.body if isinstance(node, ast.ImportFrom)]
    read = {alias.name: node.module for node in imports for alias in node.names}
    assert read == stvh_jax._HOMES
    assert {*read, "__version__"} == NAMES


def test_the_import_alone_brings_neither_jax_nor_numpy():
    done = run(
        "import sys, stvh_jax; dir(stvh_jax); stvh_jax.UserError; stvh_jax.__version__;"
        "print([name for name in ('jax', 'numpy', 'etils', 'pyarrow') if name in sys.modules])"
    )
    assert done.stdout == "[]\n", done.stderr


def test_a_model_needs_no_extra():
    program = (
        "import sys\n"
        "for name in ('faiss', 'lancedb', 'pyarrow', 'pymilvus', 'matplotlib', 'h5py',\n"
        "             'safetensors', 'tensorboardX', 'torch', 'scipy', 'tensorflow'):\n"
        "    sys.modules[name] = None\n"
        "import stvh_jax\n"
        "stvh_jax.load, stvh_jax.read_clip, stvh_jax.FilterMatrix\n"
    )
    done = run(program)
    assert done.returncode == 0, done.stderr


def test_a_missing_extra_is_named_in_one_line():
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import stvh_jax\n"
        "try: stvh_jax.Index\n"
        "except stvh_jax.UserError as error: print(error)\n"
    )
    done = run(program)
    assert done.stdout == (
        "an index needs pyarrow, which is not installed; pip install 'stvh_jax[search]'\n"
    ), done.stderr


def test_the_version_is_that_of_the_project():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    # Without site-packages nothing is installed, as in a checkout.
    done = run("import stvh_jax; print(stvh_jax.__version__)", "-S")
    assert done.stdout == f"{version}\n", done.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("basedpyright") is None, reason="basedpyright is not installed"
)
def test_an_editor_knows_the_names_and_flags_a_typo(tmp_path):
    snippet = tmp_path / "snippet.py"
    snippet.write_text(
        "import stvh_jax\n"
        "index: stvh_jax.Index = stvh_jax.Index.open('index')\n"
        "model: stvh_jax.Encoder = stvh_jax.load('run')\n"
        "version: str = stvh_jax.__version__\n"
        "stvh_jax.Indx\n"
        "index.serch\n"
    )
    (tmp_path / "pyrightconfig.json").write_text(
        json.dumps({"typeCheckingMode": "basic", "extraPaths": [str(ROOT)]})
    )
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--project", str(tmp_path)]
    command += ["--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True)
    found = [
        (each["range"]["start"]["line"] + 1, each["rule"])
        for each in json.loads(done.stdout)["generalDiagnostics"]
        if each["severity"] == "error"
    ]
    assert found == [(5, "reportAttributeAccessIssue"), (6, "reportAttributeAccessIssue")]
