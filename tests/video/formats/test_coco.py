"""COCO's and COCO-VID's JSON."""

import json

import numpy as np
import pytest

from stvh_jax.errors import Damaged, NotFound, UserError
from stvh_jax.video.track_files import read_tracks
from stvh_jax.video.tracks import UNTRACKED


def of_two_videos():
    """Makes a file of two videos of three frames each, with two people and a ball."""
    images, annotations = [], []
    for video in (1, 2):
        for frame in range(3):
            number = len(images) + 1
            images.append(
                {
                    "id": number,
                    "video_id": video,
                    "frame_id": frame,
                    "file_name": f"v{video}/{frame + 1:06d}.jpg",
                    "width": 100 * video,
                    "height": 100,
                }
            )
            for instance, category in ((1, 1), (2, 1), (3, 5)):
                box = {"bbox": [10 * instance, 20, 30, 40], "iscrowd": 0, "area": 1200}
                ids = {"id": len(annotations) + 1, "image_id": number, "instance_id": instance}
                annotations.append({**ids, **box, "category_id": category, "video_id": video})
    return {
        "videos": [{"id": 1, "name": "final.mp4"}, {"id": 2, "name": "semi.mp4"}],
        "categories": [{"id": 1, "name": "person"}, {"id": 5, "name": "ball"}],
        "images": images,
        "annotations": annotations,
    }


def of_one_video():
    content = of_two_videos()
    del content["videos"]
    content["images"] = content["images"][:3]
    content["annotations"] = content["annotations"][:9]
    return content


def read(folder, content, name="a.json", width=100, **how):
    (folder / name).write_text(json.dumps(content))
    said = []
    tracks = read_tracks(folder / name, width=width, height=100, report=said.append, **how)
    return tracks, said


def test_one_of_several_videos(tmp_path):
    for video in ("final", "final.mp4", "1"):
        tracks, said = read(tmp_path, of_two_videos(), video=video, num_frames=3)
        assert tracks.frames.tolist() == [0, 0, 1, 1, 2, 2] and tracks.people.tolist() == [1, 2] * 3
        np.testing.assert_allclose(tracks.boxes[0], [0.2, 0.1, 0.6, 0.4], rtol=1e-6)
        assert "'final.mp4', one of 2" in said[0] and "from 0" in said[1]
    assert len(read(tmp_path, of_two_videos(), "semi.json", width=200)[0]) == 6
    with pytest.raises(
        UserError, match="the videos 'final.mp4', 'semi.mp4'; choose one with video"
    ):
        read(tmp_path, of_two_videos())
    with pytest.raises(NotFound, match="no video 'third'"):
        read(tmp_path, of_two_videos(), video="third")


def test_a_size_that_disagrees_is_refused(tmp_path):
    with pytest.raises(UserError, match="200 x 100 pixels, but this video has 100 x 100"):
        read(tmp_path, of_two_videos(), video="semi")


def test_where_the_frame_comes_from(tmp_path):
    content = of_one_video()
    for image in content["images"]:
        image["frame_index"] = image.pop("frame_id") + 1
    tracks, said = read(tmp_path, content, num_frames=3)
    assert tracks.frames.tolist() == [0, 0, 1, 1, 2, 2] and "from 1" in said[0]
    for image in content["images"]:
        del image["frame_index"]
        image["file_name"] = f"clip7_{image['id'] * 10}.jpg"
    tracks, said = read(tmp_path, content)
    assert tracks.frames.tolist() == [9, 9, 19, 19, 29, 29] and "names of the images" in said[0]
    for image in content["images"]:
        del image["file_name"]
    tracks, said = read(tmp_path, content)
    assert tracks.frames.tolist() == [0, 0, 1, 1, 2, 2] and "in their order" in said[0]


def test_where_the_person_comes_from(tmp_path):
    content = of_one_video()
    for annotation in content["annotations"]:
        annotation["attributes"] = {"track_id": annotation.pop("instance_id") + 7}
        annotation["score"] = 0.5
    tracks, _ = read(tmp_path, content)
    assert tracks.people.tolist() == [8, 9] * 3 and (tracks.confidences == 0.5).all()
    for annotation in content["annotations"]:
        del annotation["attributes"]
    assert (read(tmp_path, content)[0].people == UNTRACKED).all()


def test_crowds_and_classes(tmp_path):
    content = of_one_video()
    content["annotations"][0]["iscrowd"] = 1
    tracks, said = read(tmp_path, content)
    assert len(tracks) == 5
    assert "4 boxes were left out: 1 crowds, 3 of classes other than people" in said[1]
    content["categories"][0]["name"] = "libero"
    with pytest.raises(UserError, match="'ball', 'libero'; say which are people"):
        read(tmp_path, content)
    assert len(read(tmp_path, content, classes=["Libero"])[0]) == 5
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] == 1]
    tracks, said = read(tmp_path, content)
    assert len(tracks) == 5 and "'libero', which is taken to be people" in said[1]


@pytest.mark.parametrize(
    "place, key, value",
    [
        ("annotations", "bbox", [1, 2, 3]),
        ("annotations", "bbox", [1, 2, 3, "4"]),
        ("annotations", "bbox", [1, 2, 3, 10**400]),
        ("annotations", "image_id", 77),
        ("annotations", "image_id", []),
        ("annotations", "category_id", {}),
        ("annotations", "instance_id", [1]),
        ("annotations", "instance_id", 1.5),
        ("annotations", "score", "high"),
        ("images", "id", None),
        ("images", "frame_id", "x"),
        ("images", "frame_id", -1),
        ("categories", "id", []),
    ],
)
def test_broken_entries(tmp_path, place, key, value):
    content = of_one_video()
    content[place][1][key] = value
    with pytest.raises(Damaged):
        read(tmp_path, content)


def test_empty_lists(tmp_path):
    with pytest.raises(UserError, match="no box"):
        read(tmp_path, {**of_one_video(), "annotations": []})
    with pytest.raises(UserError, match="no images"):
        read(tmp_path, {**of_one_video(), "images": [], "annotations": []})
