"""The notebook: run as a newcomer runs it, it finds what its words say."""

import json
import pathlib

import nbclient
import nbformat
import pytest

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "notebooks"
MEGABYTE = 1e6
# What the test is told of the notebook's variables, and that TensorFlow was not needed.
REPORT = """
import json

print(json.dumps({
    "tensorflow": "tensorflow" in sys.modules,
    "clips": len(index),
    "right": right,
    "activity": [activity for activity, match in found.values()],
    "match": [match for activity, match in found.values()],
    "own": [hits[0].match, hits[0].clip] == [clips[40].match, clips[40].clip],
}))
"""


@pytest.fixture
def report(tmp_path, monkeypatch):
    """Gives what the notebook finds, run in its own folder."""
    for name in ("IPYTHONDIR", "TMPDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    notebook = nbformat.read(FOLDER / "colab.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(REPORT))
    nbclient.execute(notebook, cwd=str(FOLDER), timeout=120)
    (printed,) = notebook.cells[-1].outputs
    return json.loads(printed.text)


@pytest.mark.slow
def test_the_notebook_finds_what_it_says(report):
    assert not report["tensorflow"]
    assert report["clips"] == 96
    assert report["right"] > 80
    assert report["own"]
    # By chance 12 % of the hits have the query's activity and 24 % its match. From the visual focus
    # to the activity's the one share rises and the other falls.
    (first, between, last) = report["activity"]
    assert first < 0.3 < between < last
    assert last > 0.8
    (first, between, last) = report["match"]
    assert first >= between > 0.5  # in between, all hits may still be of the match
    assert first > 0.8
    assert last < 0.4


def test_what_is_kept_is_small_and_complete():
    # More than half of it are the maps of the visual bits.
    assert (FOLDER / "demo_run.zip").stat().st_size < 4 * MEGABYTE
    text = (FOLDER / "colab.ipynb").read_text()
    assert len(text) < 0.4 * MEGABYTE
    notebook = nbformat.reads(text, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert all(output.get("name", "stdout") == "stdout" for output in outputs)
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) == 4
