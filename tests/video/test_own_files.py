"""Videos are found by names and patterns, and each has its own of the tracks."""

import json
import pathlib

import pytest

from stvh_jax.errors import NotFound, UserError
from stvh_jax.video.footage import open_video
from stvh_jax.video.own_files import check_tracks_of_each, find_videos, tracks_of
from tests.helpers.videos import make_video


def coco(*names):
    """Makes COCO's JSON of videos of three frames, with one person in each frame of the n-th."""
    frames = [(video, frame) for video in range(max(1, len(names))) for frame in range(3)]
    return json.dumps(
        {
            "videos": [{"id": video, "name": name} for video, name in enumerate(names)],
            "images": [
                {"id": 10 * video + frame, "video_id": video, "frame_id": frame}
                for video, frame in frames
            ],
            "categories": [{"id": 1, "name": "person"}],
            "annotations": [
                {
                    "image_id": 10 * video + frame,
                    "category_id": 1,
                    "track_id": 100 + video,
                    "bbox": [10, 10, 20, 30],
                }
                for video, frame in frames
            ],
        }
    )


def test_files_and_patterns_are_found_in_their_natural_order_and_once(tmp_path):
    for name in ("game 10.mp4", "game 2.mp4", "a[1].mp4"):
        (tmp_path / name).touch()
    (tmp_path / "game 3.mp4").mkdir()
    patterns = [str(tmp_path / name) for name in ("game*.mp4", "game 2.mp4", "a[1].mp4", "gone")]
    found = [path.name for path in find_videos(patterns)]
    assert found == ["game 2.mp4", "game 10.mp4", "a[1].mp4", "gone"]
    with pytest.raises(NotFound, match="there is no video .*none"):
        find_videos([str(tmp_path / "none*")])
    (tmp_path / "game 2.mov").touch()
    with pytest.raises(UserError, match="game 2.mp4 have the same name, and a match is called by"):
        find_videos([str(tmp_path / "game 2.*")])


def test_one_file_is_for_several_videos_where_it_names_them(tmp_path):
    one, two, text = (tmp_path / name for name in ("one.json", "two.json", "text.json"))
    one.write_text(coco("a"))
    two.write_text(coco("a", "b"))
    text.write_text("1,1,10,10,20,30\n")
    check_tracks_of_each(str(two), 2)
    check_tracks_of_each("none/{match}.json", 2)
    check_tracks_of_each("none.json", 1)
    for path in (one, text):
        with pytest.raises(UserError, match="is one file for 2 videos; write {match} in place"):
            check_tracks_of_each(str(path), 2)
    with pytest.raises(NotFound, match=r"none.json: no such file"):
        check_tracks_of_each(str(tmp_path / "none.json"), 2)
    labels = tmp_path / "labels"
    labels.mkdir()
    for name in ("a_1.txt", "a_2.txt"):
        (labels / name).write_text("0 .5 .5 .2 .1\n")
    with pytest.raises(UserError, match="is one file for 2 videos"):
        check_tracks_of_each(str(labels), 2)
    (labels / "b_1.txt").write_text("0 .5 .5 .2 .1\n")
    check_tracks_of_each(str(labels), 2)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "match.mp4"
    make_video(path, 3)
    return open_video(path)


@pytest.mark.parametrize(
    ("name", "content", "person"),
    [
        ("one.json", coco(), 100),  # of images alone, as most exports are
        ("other.json", coco("task 7"), 100),
        ("two.json", coco("semi.mp4", "match.mp4"), 101),
        ("{match}.txt", "1,5,10,10,20,30\n2,5,10,10,20,30\n3,5,10,10,20,300\n", 5),
    ],
)
def test_tracks_are_those_of_the_video(video, tmp_path, name, content, person):
    (tmp_path / name.format(match="match")).write_text(content)
    said = []
    tracks = tracks_of(video, str(tmp_path / name), report=said.append)
    assert tracks.frames.tolist() == [0, 1, 2] and set(tracks.people.tolist()) == {person}
    assert all(line.startswith("match.mp4: ") for line in said)


def test_tracks_of_other_videos_alone_are_refused(video, tmp_path):
    path = pathlib.Path(tmp_path / "two.json")
    path.write_text(coco("a", "b"))
    with pytest.raises(NotFound, match=r"no video 'match'; it has the videos 'a', 'b'"):
        tracks_of(video, str(path))
