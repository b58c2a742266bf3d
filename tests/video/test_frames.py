"""Frame n is the n-th that is shown, however it is stored and wherever reading begins."""

import numpy as np
import pytest

from stvh_jax.errors import Damaged, UserError
from stvh_jax.video import frames as frames_module
from stvh_jax.video.footage import open_video
from stvh_jax.video.frames import read_frames
from tests.helpers.videos import KINDS, SIZE, drawn, make_kind, make_video, number_in


def shown(video, numbers, **options):
    """Gives the number in each frame that is read, by the number that it is read by."""
    return {number: number_in(image) for number, image in read_frames(video, numbers, **options)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_itself_also_after_seeking(kind, tmp_path, monkeypatch):
    video = open_video(make_kind(kind, tmp_path))
    assert len(video) == 60
    np.testing.assert_allclose(video.times, np.arange(60) / 25, atol=1.1e-3)
    assert shown(video, range(60)) == {number: number for number in range(60)}
    monkeypatch.setattr(frames_module, "_WORTH_SEEKING", 1)
    for numbers in (range(7, 60, 13), [11, 12, 13, 47, 59], [59], [35, 36], range(1, 60, 2)):
        assert shown(video, numbers) == {number: number for number in numbers}


@pytest.mark.parametrize("kind", ["open_gop_mp4", "open_gop_ts", "open_gop_mkv", "mpeg2_ts"])
def test_seeking_reads_little(kind, tmp_path, monkeypatch):
    video = open_video(make_kind(kind, tmp_path, 300))
    taken = []
    number_of = frames_module._Decoder._number
    monkeypatch.setattr(
        frames_module._Decoder,
        "_number",
        lambda decoder, pts: taken.append(number_of(decoder, pts)) or taken[-1],
    )
    assert shown(video, [5, 290]) == {5: 5, 290: 290}
    assert len(taken) < 100 and max(np.diff([each for each in taken if each is not None])) > 150


def test_variable_rates_and_a_late_beginning(tmp_path):
    stamps = np.cumsum(np.random.default_rng(0).integers(10, 90, 80)) + 5000
    for ending in ("mkv", "mp4", "ts"):
        video = open_video(
            make_video(tmp_path / f"v.{ending}", 80, stamps=stamps.tolist(), bf=2, g=10)
        )
        np.testing.assert_allclose(video.times, (stamps - stamps[0]) / 1000, atol=1e-3)
        assert shown(video, [3, 70, 79]) == {3: 3, 70: 70, 79: 79}


def test_negative_times_and_edit_lists(tmp_path):
    made = make_video(tmp_path / "n.mkv", 40, stamps=[40 * n - 400 for n in range(40)], bf=2, g=8)
    video = open_video(made)
    # An edit list begins at 0: what lies before is not shown.
    assert 30 <= len(video) <= 40
    first = 40 - len(video)
    assert shown(video, range(len(video))) == {n: n + first for n in range(len(video))}


def test_frames_are_resized_and_look_as_they_should(tmp_path):
    video = open_video(make_video(tmp_path / "v.mp4", 3, crf=5))
    for size in ((32, 80), (64, 160), (100, 200), (33, 77)):
        for number, image in read_frames(video, [0, 2], size=size):
            assert image.shape == (*size, 3) and image.dtype == np.uint8
            assert number_in(image) == number
    (_, image), *_ = read_frames(video, [2])
    # Away from the edges of the blocks.
    assert np.abs(image[8:24, 40:56].astype(int) - drawn(2)[8:24, 40:56]).max() <= 4


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_rotation_is_applied(degrees, tmp_path):
    video = open_video(make_video(tmp_path / "v.mp4", 5, rotation=degrees))
    turned = [np.rot90(drawn(number), degrees // 90) for number in range(5)]
    for number, image in read_frames(video, range(5)):
        assert image.shape == turned[number].shape == (video.height, video.width, 3)
        assert np.abs(image.astype(int) - turned[number]).mean() < 8
    for _, image in read_frames(video, [1], size=(48, 40)):
        assert image.shape == (48, 40, 3)


def test_interlaced_frames_are_made_whole(tmp_path, monkeypatch):
    made = make_video(tmp_path / "v.ts", 60, flags="+ildct+ilme", g=12, bf=2)
    video = open_video(made)
    assert video.interlaced
    whole = dict(read_frames(video, range(60)))
    assert {number: number_in(image) for number, image in whole.items()} == dict(
        enumerate(range(60))
    )
    monkeypatch.setattr(frames_module, "_WORTH_SEEKING", 1)
    # The same pictures, wherever reading begins: the frame before takes part.
    for number, image in read_frames(video, [1, 24, 37, 59]):
        np.testing.assert_array_equal(image, whole[number])


def test_a_moving_edge_has_no_comb(tmp_path):
    import av

    path = tmp_path / "comb.ts"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 128, "yuv420p"
        stream.options = {"flags": "+ildct+ilme", "crf": "10"}
        for number in range(8):
            picture = np.full((64, 128, 3), 30, np.uint8)
            picture[0::2, 20 + 10 * number :] = 200
            picture[1::2, 25 + 10 * number :] = 200
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())

    def comb(image):
        return np.abs(np.diff(image[8:-8].astype(int), axis=0)).mean()

    with av.open(str(path)) as file:
        raw = [comb(frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]
    made = [comb(image) for _, image in read_frames(open_video(path), range(8))]
    assert len(made) == 8 and max(made[1:-1]) < min(raw) / 2


def test_damage_in_the_middle_costs_what_refers_to_it(tmp_path):
    made = make_kind("b_frames_mp4", tmp_path, 120)
    import av

    with av.open(str(made)) as file:
        places = [
            (packet.pos, packet.size) for packet in file.demux(video=0) if packet.pos is not None
        ]
    content = bytearray(made.read_bytes())
    for pos, size in places[40:44]:
        content[pos : pos + size] = b"\xff" * size
    made.write_bytes(content)
    lines = []
    read = shown(open_video(made), range(120), report=lines.append)
    assert all(number == found for number, found in read.items() if not 36 <= number < 50)
    assert set(range(34)) | set(range(60, 120)) <= set(read)
    assert len(read) < 120 and len(lines) == 1 and "cannot be decoded" in lines[0]


def test_a_file_that_is_damaged_after_its_beginning(tmp_path):
    video = open_video(make_kind("b_frames_mp4", tmp_path))
    video.path.write_bytes(b"\0" * 5000)
    with pytest.raises(Damaged, match="is not a readable video"):
        list(read_frames(video, [0]))
    video.path.unlink()
    with pytest.raises(UserError, match="no such file"):
        list(read_frames(video, [0]))


def test_numbers_that_do_not_rise_or_are_not_there(tmp_path):
    video = open_video(make_kind("b_frames_mp4", tmp_path, 10))
    for numbers in ([3, 3], [4, 2], [-1], [10]):
        with pytest.raises(UserError, match="give rising numbers below 10"):
            list(read_frames(video, numbers))
    assert list(read_frames(video, [])) == []


def test_an_error_of_the_numbers_passes_as_it_is(tmp_path):
    video = open_video(make_kind("b_frames_mp4", tmp_path, 10))

    def numbers():
        yield 0
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(read_frames(video, numbers()))


def test_a_change_of_size_does_not_change_the_pictures(tmp_path):
    made = [
        make_video(tmp_path / f"{width}.ts", 20, size=(64, width), bf=0, g=5)
        for width in (SIZE[1], 320)
    ]
    joined = tmp_path / "joined.h264"
    import av

    with open(joined, "wb") as file:
        for path in made:
            with av.open(str(path)) as source:
                for packet in source.demux(video=0):
                    file.write(bytes(packet))
    images = list(read_frames(open_video(joined), range(40)))
    assert {image.shape for _, image in images} == {(*SIZE, 3)}
    assert [number_in(image) for _, image in images] == [*range(20), *range(20)]
