"""What a result is said to show, and the page of the filter matrix."""

import json
import pathlib

import pytest

from experiments import claims, filter_page
from stvh_jax.errors import Damaged

ROOT = pathlib.Path(__file__).parents[2]


def focus_result(activity, match):
    foci = {
        str(focus): {"activity_map@10": one, "match_map@10": other}
        for focus, (one, other) in enumerate(zip(activity, match))
    }
    return {"runs": [{"seeds": [{"foci": foci}]}]}


def test_a_step_is_not_a_scale():
    step = claims._by_focus(focus_result((0.1, 0.9, 1.0), (0.8, 0.0, 0.0)))
    assert step.startswith("A step from visual to activity at the first layer, not a scale.")
    assert "is 10.0, 90.0, 100.0, for the match 80.0, 0.0, 0.0" in step
    assert "makes 89 % of the whole rise and 100 % of the whole fall" in step
    scale = claims._by_focus(focus_result((0.1, 0.5, 1.0), (0.8, 0.4, 0.0)))
    assert scale.startswith("More a scale than a step.")


def test_distances_of_the_named_pairs():
    names = [f"{side}_{kind}" for side in "rl" for kind in ("set", "spike", "pass", "winpoint")]
    rows = [[one, *("10.0" if one == other else "50.0" for other in names)] for one in names]
    found = {"tables": [{"header": ["", *names], "rows": rows}]}
    assert claims._by_distance(found).startswith("Not shown as printed: ")
    far = names.index("l_winpoint") + 1
    rows[names.index("r_set")][far] = "60.0"
    said = claims._by_distance(found)
    assert said.startswith("Shown: the three pairs named as alike are 50.0, 50.0, 50.0 bits apart")
    assert "Clips of one activity are 10.0 apart" in said
    found["tables"][0]["header"][1] = rows[0][0] = "walking"
    assert "do not have the activities" in claims._by_distance(found)


@pytest.mark.parametrize("name", ["demo", "vd_boxes"])
def test_own_codes_of_both_pages_are_of_one_run(name):
    """The own codes that F is compared with are those of Fig. 10, up to a few rounded bits."""
    matrix = json.loads((ROOT / f"results/filter_matrix/{name}.json").read_text())
    figure = json.loads((ROOT / f"results/{name}/fig10.json").read_text())
    (seed,) = (one for one in figure["runs"][0]["seeds"] if one["seed"] == matrix["seed"])
    assert (seed["checkpoint"], seed["hardware"]) == (matrix["checkpoint"], matrix["hardware"])
    for focus, measured in seed["foci"].items():
        own = next(row for row in matrix["foci"][focus] if row[0] == "own")
        for value, kind in zip(own[3:5], ("activity", "match")):
            assert value == pytest.approx(measured[f"{kind}_map@10"], abs=5e-4)


def test_the_tables_of_the_filter_page_are_written_between_their_marks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert filter_page.write(pathlib.Path("results")) == []
    folder = pathlib.Path("results/filter_matrix")
    folder.mkdir(parents=True)
    text = (ROOT / "results/filter_matrix/demo.json").read_text()
    (folder / "demo.json").write_text(text)
    filter_page.PAGE.parent.mkdir()
    filter_page.PAGE.write_text("before\n")
    with pytest.raises(Damaged, match="has no place for results/filter_matrix/demo.json"):
        filter_page.write(pathlib.Path("results"))
    filter_page.PAGE.write_text("before\n<!-- table: demo -->\nold\n<!-- end of table: demo -->\nx")
    for _ in range(2):
        filter_page.write(pathlib.Path("results"))
        page = filter_page.PAGE.read_text()
        assert page.startswith("before\n<!-- table: demo -->\nThe stored code, focus 3: act. 96.4")
        assert page.endswith("| 192 | 0 |\n<!-- end of table: demo -->\nx")
    (folder / "demo.json").write_text('{"foci": 3}')
    with pytest.raises(Damaged, match="run the benchmark again"):
        filter_page.write(pathlib.Path("results"))
