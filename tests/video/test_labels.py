"""What the labels of a video call clips of it."""

import numpy as np
import pytest

from stvh_jax.errors import UserError
from stvh_jax.video.labels import Label, activities_of, read_labels


def label(start, stop, activity):
    return Label("labels.csv:2", "a", float(start), float(stop), activity, {}, "")


def test_more_than_half_of_a_clip_names_it():
    labels = [
        label(1, 2, "set"),
        label(2, 3, "set"),
        label(3, 4, "spike"),
        label(3.5, 3.9, "spike"),
    ]
    clips = {
        (1.2, 1.6): "set",  # within
        (0.5, 1.5): None,  # half of it
        (0.51, 1.5): "set",
        (1.5, 2.5): "set",  # two labels say so
        (2.5, 3.5): None,
        (2.5, 3.6): "spike",
        (3.2, 5.0): None,  # labels that overlap count once
        (0.0, 0.9): None,
        (0.0, 9.0): None,
    }
    start, stop = np.array(list(clips), float).T
    assert activities_of(labels, start, stop) == list(clips.values())
    assert activities_of([], start, stop) == [None] * len(clips)


def test_any_labels_against_counted_milliseconds():
    rng = np.random.default_rng(0)
    for _ in range(30):
        edges = np.sort(rng.choice(2000, 9, replace=False))
        names = rng.choice(["x", "y", ""], 8)
        labels = [
            label(a / 1000, b / 1000, name) for a, b, name in zip(edges, edges[1:], names) if name
        ]
        shown = np.full(2400, "", object)
        for one in labels:
            shown[round(one.start * 1000) : round(one.stop * 1000)] = one.activity
        order = rng.permutation(len(labels))
        start = rng.integers(0, 2000, 40)
        stop = start + 2 * rng.integers(0, 200, 40) + 1  # odd, so that nothing is half of it
        expected = [
            next((n for n in "xy" if 2 * (shown[a:b] == n).sum() > b - a), None)
            for a, b in zip(start, stop)
        ]
        found = activities_of([labels[place] for place in order], start / 1000, stop / 1000)
        assert found == expected


def test_labels_of_other_videos_are_left_out_where_that_is_asked(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("video,start,stop,activity\nb,1,2,set\nother.mp4,x,y,\nb.mp4,2,3,spike\n")
    labels = read_labels(path, ["a.mp4", "b.mp4"], others=True)
    assert [(one.video, one.start, one.activity) for one in labels] == [
        ("b", 1, "set"), ("b", 2, "spike")]  # fmt: skip
    with pytest.raises(UserError, match=r"labels.csv has no label of a, c; name a video as its"):
        read_labels(path, ["c.mkv", "a.mp4"], others=True)
    with pytest.raises(UserError, match=r"labels.csv:3: unknown video 'other.mp4'"):
        read_labels(path, ["a.mp4", "b.mp4"])
