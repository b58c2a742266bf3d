"""CVAT's XML for videos."""

import numpy as np
import pytest

from stvh_jax.errors import Damaged, UserError
from stvh_jax.video.track_files import read_tracks


def box(frame, left, outside=0, keyframe=1):
    return (
        f'<box frame="{frame}" outside="{outside}" occluded="0" keyframe="{keyframe}" '
        f'xtl="{left}" ytl="20.00" xbr="{left + 40}" ybr="60.00" z_order="0">'
        '<attribute name="team">left</attribute></box>\n'
    )


def document(*tracks, meta="<original_size><width>200</width><height>100</height></original_size>"):
    body = "".join(
        f'<track id="{number}" label="{label}" source="manual">\n{boxes}</track>\n'
        for number, (label, boxes) in enumerate(tracks)
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        f"<meta><task><id>1</id><size>10</size>{meta}</task></meta>\n{body}</annotations>\n"
    )


# As CVAT writes it: every frame, and a box outside that ends the track.
EXPORT = document(
    ("player", "".join(box(f, 10 * f, keyframe=f in (0, 2)) for f in range(3)) + box(3, 20, 1)),
    ("ball", box(1, 100)),
    ("player", box(5, 100) + box(6, 100, 1) + box(8, 120) + box(9, 120, 1)),
)


def read(folder, text, **how):
    (folder / "a").write_bytes(text if isinstance(text, bytes) else text.encode())
    said = []
    return read_tracks(folder / "a", width=200, height=100, report=said.append, **how), said


def test_an_export(tmp_path):
    tracks, said = read(tmp_path, EXPORT, num_frames=10)
    assert tracks.frames.tolist() == [0, 1, 2, 5, 8] and tracks.people.tolist() == [0, 0, 0, 2, 2]
    np.testing.assert_allclose(tracks.boxes[:, 1] * 200, [0, 10, 20, 100, 120], atol=1e-4)
    np.testing.assert_allclose(tracks.boxes[0], [0.2, 0, 0.6, 0.2], atol=1e-6)
    assert said == ["4 boxes were left out: 1 of classes other than people, 3 outside the picture"]


def test_keyframes_alone_are_interpolated(tmp_path):
    text = document(("a", box(10, 50) + box(0, 0) + box(14, 90, 1) + box(20, 0) + box(22, 10)))
    tracks, said = read(tmp_path, text)
    assert tracks.frames.tolist() == [*range(14), 20, 21, 22]
    # The oracle is NumPy's own interpolation, over all boxes until the one outside.
    expected = np.interp(range(14), [0, 10, 14], [0, 50, 90])
    np.testing.assert_allclose(tracks.boxes[:14, 1] * 200, expected, atol=1e-4)
    np.testing.assert_allclose(tracks.boxes[14:, 1] * 200, [0, 5, 10], atol=1e-4)
    assert any("13 boxes between keyframes are filled in" in line for line in said)


def test_a_few_lines_cannot_ask_for_all_memory(tmp_path):
    with pytest.raises(UserError, match="line 6: 999999999 frames are missing after this box"):
        read(tmp_path, document(("person", box(0, 0) + box(10**9 + 0, 0))))


def test_a_size_that_disagrees_is_refused(tmp_path):
    with pytest.raises(UserError, match="200 x 100 pixels, but this video has 200 x 101"):
        (tmp_path / "a").write_text(EXPORT)
        read_tracks(tmp_path / "a", width=200, height=101)
    assert len(read(tmp_path, document(("person", box(1, 1)), meta=""))[0]) == 1


def test_entities_are_refused(tmp_path):
    bomb = '<!DOCTYPE a [<!ENTITY b "cccccccccc">]>\n'
    with pytest.raises(Damaged, match="DOCTYPE"):
        read(tmp_path, EXPORT.replace("<annotations>", bomb + "<annotations>", 1))
    with pytest.raises(Damaged, match="not well-formed"):
        read(tmp_path, EXPORT.replace("player", "&b;"))
    with pytest.raises(Damaged, match="nested too deeply"):
        read(tmp_path, "<annotations>" + "<a>" * 100_000)


def test_other_encodings(tmp_path):
    for encoding in ("utf-16", "utf-8-sig", "iso-8859-1"):
        named = encoding.removesuffix("-sig")
        text = EXPORT.replace("utf-8", named).replace("\n", "\r\n")
        assert len(read(tmp_path, text.encode(encoding))[0]) == 5
    with pytest.raises(Damaged, match="not well-formed"):
        read(tmp_path, EXPORT.replace("utf-8", "utf-99"))


@pytest.mark.parametrize(
    "text, words",
    [
        (EXPORT.replace('frame="1"', 'frame="x"'), "line 7: expected a box with frame"),
        (EXPORT.replace('xtl="10"', ""), "line 7: expected a box with frame"),
        (EXPORT.replace('frame="1"', 'frame="1.5"'), "frame 1.5 is not a whole number"),
        (EXPORT.replace("player", "home"), "'ball', 'home'; say which are people"),
        (EXPORT[: len(EXPORT) // 2], "not well-formed"),
        ("<annotations><image id='0'/></annotations>", 'export "CVAT for video 1.1"'),
        ("<annotations/>", "no box of a person"),
        ("<svg/>", "its XML begins with <svg>, not"),
        (
            EXPORT.replace('id="0"', 'id="0" task_id="7"').replace('id="2"', 'id="0" task_id="9"'),
            "it has the tasks",
        ),
    ],
)
def test_what_is_refused(tmp_path, text, words):
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert words in str(caught.value)


def test_other_shapes_are_left_out(tmp_path):
    polygon = '<polygon frame="0" keyframe="1" outside="0" points="1,1;2,2;3,3"/>'
    _, said = read(tmp_path, document(("person", box(0, 0)), ("person", polygon)))
    assert said == ["1 box was left out: 1 of other shapes than boxes"]
