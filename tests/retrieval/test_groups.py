"""Groups of an index's clips: what stands for each, and what is said of it."""

import numpy as np
import pytest

from stvh_jax.errors import NotFound, UserError
from stvh_jax.retrieval.groups_report import groups_table, groups_to_dict
from stvh_jax.retrieval.hit_pictures import write_groups
from stvh_jax.retrieval.index import Index
from tests.codes.test_grouping import drawn
from tests.helpers.indexed_clips import random_matrix

CLIPS = 90


@pytest.fixture
def index(tmp_path):
    """Gives an index of three groups, in which three windows overlap at a time."""
    codes, truth = drawn(3, CLIPS // 3, bits=24, flips=2)
    order = np.argsort(truth, kind="stable")
    index = Index.create(
        tmp_path / "index", bits=24, stored_foci=(3,), filter_matrix=random_matrix()
    )
    start = np.arange(CLIPS) // 3 * 10.0 + np.arange(CLIPS) % 3
    split = np.array(["a", "b", "c"])[truth[order]]
    index.add(
        codes[order], match="m", clip=range(CLIPS), start=start, stop=start + 2.5, split=split
    )
    return index


def test_each_has_a_representative_and_others_of_other_moments(index):
    groups = index.groups(3)
    assert [len(group) for group in groups] == [30] * 3 and groups.clips == CLIPS
    for group in groups:
        records = [group.representative, *group.others]
        assert len(records) == 4
        assert len({record["split"] for record in records}) == 1
        assert len({int(record["clip"]) // 3 for record in records}) == 4  # each of other windows
        assert {record["clip"] for record in records} <= {clip for _, clip in group.clips}
        (hits,) = index.search(index.get([("m", records[0]["clip"])])[0], k=CLIPS)
        own = [hit.distance for hit in hits if ("m", hit.clip) in set(group.clips)]
        assert group.distance == pytest.approx(np.mean(own), abs=1e-4)
        assert group.share == pytest.approx(1 / 3)
    assert sorted(clip for group in groups for clip in group.clips) == sorted(
        ("m", str(clip)) for clip in range(CLIPS)
    )


def test_they_are_of_the_clips_and_the_focus_asked(index):
    groups = index.groups(where="split <> 'b'")
    assert len(groups) == 2 and groups.clips == 60 and groups.silhouette > 0.5
    blend = index.groups(3, focus=2.5)
    codes = {focus: index.export_codes(focus=focus)["codes"] for focus in (2, 3)}
    bits = {focus: np.unpackbits(values, axis=1) for focus, values in codes.items()}
    for group in blend:
        rows = [int(clip) for _, clip in group.clips]
        middle = int(group.representative["clip"])
        away = sum((bits[f][rows] != bits[f][middle]).sum(axis=1) for f in bits) / 2
        assert group.distance == pytest.approx(away.mean(), abs=1e-4)
    assert len(index.groups(3, scale=0)) == 3


def test_as_a_table_as_json_and_as_pictures(index, tmp_path):
    index.name([("m", clip) for clip in range(20)], "first one")
    groups = index.groups(3)
    names = [group.name for group in groups]
    assert sorted(names, key=str) == [None, None, "first one"]
    table = groups_table(groups, focus="activity")
    assert table.startswith("3 groups of 90 clips at focus activity\n")
    assert "first one" in table and "33.3 %" in table and " at 0:0" in table
    values = groups_to_dict(index, groups, focus="activity")
    assert [each["name"] for each in values["groups"]] == names
    image = np.zeros((9, 16, 3), np.uint8)
    key_frames = lambda: lambda split, names: dict.fromkeys(names, image)  # noqa: E731
    written = write_groups(tmp_path / "groups.png", groups, key_frames, focus="activity")
    assert [path.name for path in written] == ["groups.png"]
    assert (tmp_path / "groups.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"number": 0}, "0 groups; give a whole number from 1 to 256"),
        ({"number": 2.5}, "2.5 groups; give a whole number"),
        ({"number": True}, "True groups; give a whole number"),
        ({"number": 91}, "91 groups of 90 clips; give no more groups than clips"),
        ({"number": 300}, "300 groups; give a whole number from 1 to 256"),
        ({"where": "split = 'x'"}, "has no clip that meets the condition, so there are no groups"),
        ({"where": "splt = 'x'"}, "there is no field 'splt'"),
        ({"focus": 7}, "focus 7 cannot be searched"),
        ({"focus": 1, "scale": 0.5}, "give one of the two"),
    ],
)
def test_what_cannot_be_grouped(index, options, message, unchecked_shapes):
    with pytest.raises(UserError, match=message):
        index.groups(**options)


def test_more_groups_than_different_codes(tmp_path):
    index = Index.create(tmp_path / "same", bits=16, stored_foci=(1,))
    index.add(np.array([[1, 1], [1, 1], [9, 9]], np.uint8), match="m", clip=range(3))
    with pytest.raises(UserError, match="3 groups of clips with 2 different codes at this focus"):
        index.groups(3)
    with pytest.raises(NotFound, match="there is no group 3; the groups are 1 to 2"):
        index.groups(2).numbered(3)
