import html.parser
import re
import sys

import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.evaluation import report
from stvh_jax.reporting import pages, tables
from stvh_jax.reporting.plots import Picture

NAMES = ["r_set", "l_pass", "<l_winpoint> & 'more'"]


def measures(focus):
    return {
        "activity_map@5": 0.40 + focus / 10,
        "activity_map@10": 0.41 + focus / 10,
        "activity_map@10/over_k": 0.31 + focus / 10,
        "activity_map@20": 0.42 + focus / 10,
        "activity_map@50": 0.43 + focus / 10,
        "match_map@10": 0.98765 - focus / 10,
        "bit_balance": 0.1234,
        "distinct_codes": 1200.0 + focus,
    }


def fake_results():
    return {
        "run": "vd_128",
        "model": "mstvh",
        "bits": 128,
        "layers": 3,
        "checkpoint": {"step": 26190, "kind": "best"},
        "data": {
            "name": "volleyball",
            "variant": "720x1280",
            "base_split": "train",
            "query_split": "test",
            "base_clips": 3493,
            "query_clips": 1337,
            "untracked_share": 0.0125,
        },
        "seed": 7,
        "hardware": "2 cores",
        "activity_accuracy": 0.9566,
        "activity_mpca": 0.9455,
        "activity_accuracy_from_code": 0.9511,
        "action_accuracy": 0.8766,
        "action_mpca": float("nan"),
        "activity_names": NAMES,
        "action_names": ["waiting"],
        "confusion_matrix": [[5, 1, 0], [0, 7, 0], [0, 0, 3]],
        "class_distances": [[2.0, None, 9.0], [None, None, None], [9.0, None, 4.0]],
        "foci": {str(focus): measures(focus) for focus in range(4)},
    }


def derived_results():
    """Results with a filter matrix."""
    storage = {"name": "code of focus 3 and F", "bits_a_clip": 128, "matrix_bits": 16384}
    return fake_results() | {
        "filter_matrix": {"values": "binary", "digest": "c0ffee", "facts": {"clips": 3491}},
        "derived": {
            "0": {"activity_map@10": 0.7, "match_map@10": 0.02, "bit_agreement_query": 0.51},
            "2": {"activity_map@10": 0.6, "bit_agreement_query": 0.875},
        },
        "storage": [storage | {"bits": 463488, "compression_ratio": 463488 / 1341312}],
    }


def test_tables_of_derived_codes():
    text = report.metrics_table(derived_results())
    assert text.startswith(report.metrics_table(fake_results()))
    cells = [re.split(r" {2,}", line.strip()) for line in text.splitlines()]
    header = cells.index(
        ["focus (in %)", "activity mAP@10", "derived", "match mAP@10", "derived"]
        + ["equal bits, queries"]
    )
    assert cells[header + 1 : header + 3] == [
        ["0 visual", "41.00", "70.00", "98.77", "2.00", "51.00"],
        ["2", "61.00", "60.00", "78.77", "–", "87.50"],
    ]
    assert cells[-2:] == [
        ["stored", "bits a clip", "bits of F", "bits of all", "ratio (Eq. 18)"],
        ["code of focus 3 and F", "128", "16384", "463488", "0.3455"],
    ]


def test_page_of_derived_codes(tmp_path):
    page = Page(write_page(tmp_path, derived_results()))
    assert page.headings[:2] == ["What each focus finds", "One stored code"]
    own, derived = page.images[:2]
    assert "Derived: Same activity: 70.00, –, 60.00, 71.00. Same match: 2.00" in derived["alt"]
    assert "Own: Same activity: 41.00, 51.00, 61.00, 71.00." in derived["alt"]
    assert "erived" not in own["alt"]
    assert (tmp_path / "report" / "derived.png").exists()
    for shown in (
        "code of focus 3 and F", "0.3455", "filter_matrix.digest", "c0ffee", "87.50",
        "percent, derived codes, by focus",
    ):  # fmt: skip
        assert shown in page.text
    assert "derived" not in Page(write_page(tmp_path, fake_results())).text


def test_curves_and_activities_are_on_the_page_where_they_were_measured(tmp_path):
    curve = {"n": [1, 2], "precision": [0.75, 0.5], "recall": [0.25, 1.0]}
    nothing = {"n": [], "precision": [], "recall": []}
    results = fake_results() | {
        "curves": {
            "0": {"activity": curve, "match": nothing},
            "3": {"activity": curve, "match": nothing},
        },
        "map_by_activity": {"0": [0.125, None, 1.0], "3": [0.625, None, 1.0]},
    }
    page = Page(write_page(tmp_path, results))
    assert "Precision and recall" in page.headings
    (shown,) = (image for image in page.images if "nearest" in image["alt"])
    assert "Focus 3 activity: precision 75.00 of the nearest, 50.00 of all." in shown["alt"]
    for cell in ("mAP in % of the queries of", "focus 0 visual", "12.50", "62.50", "100.00"):
        assert cell in page.text
    # An evaluation from before these were measured still has its page.
    older = Page(write_page(tmp_path, fake_results()))
    assert "Precision and recall" not in older.headings
    assert "mAP in % of the queries of" not in older.text


def test_table_has_a_row_a_focus():
    lines = report.metrics_table(fake_results()).splitlines()
    assert "vd_128" in lines[0]
    assert "3493 train clips" in lines[0]
    cells = [re.split(r" {2,}", line.strip()) for line in lines]
    assert ["activity accuracy", "95.66 %"] in cells
    assert ["activity MPCA", "94.55 %"] in cells
    assert ["activity accuracy from the code", "95.11 %"] in cells
    assert ["action accuracy", "87.66 %"] in cells
    assert ["action MPCA", "– %"] in cells
    header = next(i for i, line in enumerate(lines) if line.startswith("focus"))
    assert cells[header][1:] == [
        "activity mAP@5", "mAP@10", "mAP@20", "mAP@50", "match mAP@10", "bit balance",
        "distinct codes",
    ]  # fmt: skip
    assert cells[header + 1 :] == [
        ["0 visual", "40.00", "41.00", "42.00", "43.00", "98.77", "0.123", "1200"],
        ["1", "50.00", "51.00", "52.00", "53.00", "88.77", "0.123", "1201"],
        ["2", "60.00", "61.00", "62.00", "63.00", "78.77", "0.123", "1202"],
        ["3 activity", "70.00", "71.00", "72.00", "73.00", "68.77", "0.123", "1203"],
    ]
    assert len({len(line) for line in lines[header:]}) == 1


def test_table_of_the_last_focus_alone():
    results = fake_results() | {"model": "stvh", "foci": {"3": {"activity_map@10": None}}}
    last = report.metrics_table(results).splitlines()[-1]
    assert last.split() == ["3", "activity"] + 7 * ["–"]


def test_table_of_nothing():
    text = report.metrics_table({})
    assert "focus" not in text
    assert "activity accuracy                – %" in text


class Page(html.parser.HTMLParser):
    """What a page consists of, and whether its elements close in order."""

    VOID = {"meta", "img"}

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.text, self.headings = [], [], "", []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "h2" in self.open:
            self.headings.append(data)


def write_page(tmp_path, results, **options):
    path = tmp_path / "report.html"
    report.write_evaluation(path, results, **options)
    return path.read_text(encoding="utf-8")


def test_page_shows_everything(tmp_path):
    image = np.zeros((9, 16, 3), np.uint8)
    queries = [[Picture(image, "r_set", 1), Picture(image, "l_pass", 2, 5)]]
    text = write_page(
        tmp_path,
        fake_results(),
        history={"train/loss": [(1, 2.0), (2, 1.25)]},
        hits={0: queries, 3: queries},
        config={"model": {"bits": 128, "fusion": "<none>"}},
        facts={"versions": {"jax": "0.10.2"}, "duration": "12 s"},
    )
    page = Page(text)
    assert page.headings == [
        "What each focus finds", "Nearest clips", "Activities taken for others", "Training",
        "All measures", "How this was made", "Config",
    ]  # fmt: skip
    assert len(page.images) == 6
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.images)
    assert all(len(image["alt"]) > 20 for image in page.images)
    focus, visual, activity, confusion, distances, losses = (im["alt"] for im in page.images)
    assert "Within one: 3.0, between two: 9.0 bits" in distances
    names = {path.stem for path in (tmp_path / "report").iterdir()}
    assert names == {"foci", "hits-0", "hits-3", "confusion", "class_distances", "training"}
    assert "41.00, 51.00, 61.00, 71.00" in focus
    assert "Visual focus (0)" in visual
    assert "r_set of match 1 finds l_pass of match 2" in activity
    assert "r_set 5 of 6" in confusion
    assert NAMES[2] in confusion
    assert "train/loss 1.25" in losses
    for shown in (
        "M-STVH on volleyball", "71.00 %", "98.77 %", "95.66 %", "model.fusion", "<none>",
        "versions.jax", "data.untracked_share", "0.0125", "activity_map@10/over_k", "2 cores",
    ):  # fmt: skip
        assert shown in page.text
    assert "nan" not in page.text


def test_page_asks_nothing_of_the_network(tmp_path):
    text = write_page(tmp_path, fake_results())
    markup = re.sub(r"data:image/png;base64,[\w+/=]+", "", text)
    assert len(markup) < len(text)
    assert not re.search(r"//|<script|<link|@import|url\(|\bdata:", markup)


def test_page_leaves_out_what_is_missing(tmp_path):
    results = fake_results() | {"foci": {"3": measures(3)}, "confusion_matrix": None}
    results["class_distances"] = None
    page = Page(write_page(tmp_path, results))
    assert page.headings == ["All measures", "How this was made"]
    assert "match mAP@10, focus 0" not in page.text
    assert "M-STVH" in Page(write_page(tmp_path, {"model": "mstvh"})).text


def test_markup_in_text_stays_text(tmp_path):
    path = tmp_path / "page.html"
    bad = "<script>alert('x')</script> & \"quoted\""
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\x03"
    items = [pages.Illustration(png, bad, bad), tables.Table([bad, bad], [[bad, bad]])]
    pages.write_html(
        path,
        title=bad,
        subtitle=bad,
        summary={bad: bad},
        sections=[pages.Section(bad, items), pages.Section(bad, [], folded=True)],
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert page.text.count(bad) == 12
    (image,) = page.images
    assert image["alt"] == bad
    assert image["width"] == "2"


def test_missing_matplotlib_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in [name for name in sys.modules if name.startswith("stvh_jax.reporting.plots")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("stvh_jax.reporting.plots")
    assert "95.66" in report.metrics_table(fake_results())
    with pytest.raises(UserError, match=r"matplotlib.*pip install 'stvh_jax\[report\]'"):
        write_page(tmp_path, fake_results())
