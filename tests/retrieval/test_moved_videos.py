"""A video that was moved is the same match: nothing is indexed twice, and its clips know it."""

import re

import numpy as np
import pytest

from stvh_jax.codes.bit_weights import laid_out
from stvh_jax.errors import NotFound, UserError
from stvh_jax.inference.encoder import load
from stvh_jax.retrieval import kept_tracks, moved_videos
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.video_indexing import Archive, Cutting, Footage, index_video
from stvh_jax.retrieval.video_pieces import pieces_of
from tests.helpers.filmed import film, opened

CUTTING = Cutting(every=0.4)


@pytest.fixture(scope="module")
def encoder(trained):
    return load(trained())


@pytest.fixture
def add(trained, encoder, tmp_path):
    def add(path, cutting=CUTTING, **options):
        archive = Archive(trained(), encoder, tmp_path / "index", cutting)
        video, tracks = opened(path)
        footage = Footage(video, tracks, path.stem, keep=True)
        return index_video(archive, footage, cutting, **options)

    return add


@pytest.fixture
def old(add, tmp_path):
    """Indexes a video of four seconds, and gives its place."""
    (tmp_path / "old").mkdir()
    path = film(tmp_path / "old", "a")
    add(path)
    return path


def moved(old, folder):
    """Moves a video with its tracks."""
    folder.mkdir(parents=True)
    for path in (old, old.with_suffix(".txt")):
        path.rename(folder / path.name)
    return folder / old.name


def say(index, clips, media):
    """Has some clips of a match say that they are of another video."""
    codes, records = index.get([("a", clip) for clip in clips])
    columns = {name: [each[name] for each in records] for name in records[0]}
    index.upsert(codes, **columns | {"media": media})


def content(place):
    """Gives records and codes of all clips by their names, and where their videos are."""
    index = Index.open(place)
    table = index.clips().to_pylist()
    codes = index.export_codes()
    arrays = [codes[name].tolist() for name in codes if name.startswith("codes")]
    media = {each.pop("media") for each in table}
    return {each["clip"]: (each, *of_clip) for each, *of_clip in zip(table, *arrays)}, media


def test_it_is_the_same_match_at_its_new_place(add, old, tmp_path):
    place = tmp_path / "index"
    before, media = content(place)
    assert len(before) == 10 and media == {str(old)}
    hits = Index.open(place).search(Index.open(place).get([("a", "0")])[0], k=2)[0]
    new, lines = moved(old, tmp_path / "new"), []
    with pytest.raises(NotFound, match=re.escape("index it again from its new place: search.py")):
        pieces_of(hits)
    done = add(new, report=lines.append)
    assert (done.added, done.held) == (0, 10)
    told = f"was moved from {old}; the index knows its new place now"
    assert lines == [told, "windows that were done before: 10"]
    assert content(place) == (before, {str(new)})
    index = Index.open(place)
    assert [piece.media for piece in pieces_of(index.search(index.get([("a", "0")])[0])[0])] == [
        str(new)
    ] * 10
    version = index.version
    add(new, report=lines.append)
    assert lines.count(told) == 1 and Index.open(place).version == version


def test_what_is_missing_is_added(add, old, tmp_path):
    before, _ = content(tmp_path / "index")
    new = moved(old, tmp_path / "new")
    done = add(new, Cutting(every=0.2))
    assert (done.added, done.held) == (10, 10)
    after, media = content(tmp_path / "index")
    assert media == {str(new)} and len(after) == 20
    assert {name: after[name] for name in before} == before


def test_a_moving_that_was_cut_short_goes_on(add, old, tmp_path):
    """A server writes many clips in several requests, so that some may know the new place."""
    index = Index.open(tmp_path / "index")
    new = moved(old, tmp_path / "new")
    before, _ = content(index.uri)
    say(index, ["0", "400"], str(new))
    add(new)
    assert content(index.uri) == (before, {str(new)})


def short(folder):
    return film(folder, "a", 75)


def longer(folder):
    return film(folder, "a", 125)


def larger(folder):
    path = film(folder, "b")
    import av

    with av.open(str(path)) as source, av.open(str(folder / "a.mp4"), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuv420p"
        for frame in source.decode(video=0):
            target.mux(stream.encode(frame.reformat(320, 192)))
        target.mux(stream.encode())
    (folder / "b.txt").rename(folder / "a.txt")
    return folder / "a.mp4"


@pytest.mark.parametrize(
    ("make", "kept", "difference"),
    [
        (short, True, "that had a frame at 3.60 seconds, the last of this is at 2.96"),
        (short, False, "that had a frame at 3.60 seconds, the last of this is at 2.96"),
        (longer, True, r"that had \d+ x \d+ pixels and 100 frames, this has .* and 125 frames"),
        (larger, True, "that had .* and 100 frames, this has 320 x 192 pixels and 100 frames"),
    ],
)
def test_another_video_of_its_name_is_refused(add, old, tmp_path, make, kept, difference):
    index = tmp_path / "index"
    if not kept:
        kept_tracks.path_of(str(index), "a").unlink()
    before, version = content(index), Index.open(index).version
    moved(old, tmp_path / "gone").unlink()
    (tmp_path / "new").mkdir()
    words = f"from {old}, which is gone, but this is not that video: {difference}; give .* another"
    with pytest.raises(UserError, match=words):
        add(make(tmp_path / "new"))
    assert content(index) == before and Index.open(index).version == version


def test_a_copy_is_refused_while_the_old_file_is_there(add, old, tmp_path):
    before = content(tmp_path / "index")
    (tmp_path / "new").mkdir()
    with pytest.raises(UserError, match=f"from {old}, which is still there; give .* another name"):
        add(film(tmp_path / "new", "a"))
    assert content(tmp_path / "index") == before


@pytest.mark.parametrize(
    ("media", "words"),
    [(None, "without a video"), ("https://host/a.mp4", "from https://host/a.mp4"),
     ("videos/a.mp4", "from videos/a.mp4")],
)  # fmt: skip
def test_clips_of_no_file_are_not_of_a_moved_video(add, old, tmp_path, media, words):
    index = Index.open(tmp_path / "index")
    say(index, ["0", "400"], media)
    new = moved(old, tmp_path / "new")
    with pytest.raises(UserError, match=f"clips of a match a already, {words}; give"):
        add(new)
    assert content(index.uri)[1] == {media, str(old)}


def test_all_else_that_is_known_stays(tmp_path):
    weights, random = laid_out(bits=24, visual_bits=8, layers=3), np.random.RandomState(0)
    index = Index.create(
        tmp_path / "index",
        bits=24,
        stored_foci=[3],
        bit_weights=weights,
        columns={"player": "text", "points": "integer"},
    )
    for match in ("a", "it's"):
        codes = random.randint(0, 256, (10, 3)).astype(np.uint8)
        index.add(codes, match=match, clip=range(10), start=range(10), media=f"/{match}.mp4",
                  player=["Ana", None] * 5, points=range(10))  # fmt: skip
    names = [(match, str(clip)) for match in ("a", "it's") for clip in range(10)]
    match, clip = zip(*names)
    index.adapt(random.randn(20, 30), match=match, clip=clip)
    number, before, exported = index.adaptation.number, index.clips(), index.export_codes()
    moved_videos.move(index, "it's", "/new/it's.mp4")
    again = Index.open(tmp_path / "index")
    assert again.adaptation.number == number
    place = before.schema.get_field_index("media")
    assert again.clips().remove_column(place).equals(before.remove_column(place))
    assert again.clips()["media"].to_pylist() == ["/a.mp4"] * 10 + ["/new/it's.mp4"] * 10
    for name, values in again.export_codes().items():
        np.testing.assert_array_equal(values, exported[name])
