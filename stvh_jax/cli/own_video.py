"""The options of one's own videos, and how they are added to an index."""

import argparse
import dataclasses
import math
import pathlib
import re
import sys
import time
from collections.abc import Sequence

from stvh_jax import times
from stvh_jax.cli import parsing
from stvh_jax.console import error_line
from stvh_jax.errors import NotFound, UserError, shown
from stvh_jax.names import printable

# Seconds between two lines of progress.
_BETWEEN_LINES = 2.0

# Seconds between the beginnings of clips.
_EVERY = 0.5


def add_options(parser: parsing.StrictParser) -> None:
    """Adds the options by which videos are cut into clips."""
    group = parser.add_argument_group("your own videos, in place of a prepared set")
    group.add_argument(
        "--video",
        nargs="+",
        action="extend",
        metavar="FILE",
        help="video files, or patterns such as 'games/*.mp4'",
    )
    add_tracks(group)
    _add_detector(group)
    group.add_argument(
        "--labels",
        metavar="FILE",
        help="a table of what is done when: video,start,stop,activity (docs/own_labels.md)",
    )
    group.add_argument("--every", type=float, metavar="SECONDS", help="from clip to clip; 0.5")
    group.add_argument("--start", type=seconds, metavar="TIME", help="from h:mm:ss on")
    group.add_argument("--stop", type=seconds, metavar="TIME", help="until h:mm:ss")
    group.add_argument("--shard", metavar="I/N", help="only the I-th of N parts of the videos")


def _add_detector(parser) -> None:
    """Adds the options of a detector, for videos without tracks."""
    parser.add_argument(
        "--detect",
        metavar="FILE",
        help="in place of tracks: a YOLOX detector, .onnx (docs/detectors.md); what it finds is "
        "followed, and kept with the index",
    )
    parser.add_argument(
        "--tiles",
        type=_tiles,
        metavar="RxC",
        help="also search the frame in parts, to find people far away: 2x3",
    )
    parser.add_argument(
        "--least-height",
        type=float,
        default=0.0,
        help="leave out people who are smaller, in 0..1 of the frame's height: 0.1 leaves out most "
        "spectators",
    )
    parser.add_argument(
        "--detect-rate", type=float, default=8.0, help="frames per second that are searched; 8"
    )


def _tiles(text: str) -> tuple[int, int]:
    match = re.fullmatch("([1-9])x([1-9])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{shown(text)}; give rows x columns, for example 2x3")
    return int(match[1]), int(match[2])


def add_tracks(parser) -> None:
    """Adds the options of the tracks of a video's people."""
    parser.add_argument(
        "--tracks",
        metavar="FILE",
        help="what a tracker wrote (docs/track_formats.md); for several videos "
        "'tracks/{match}.txt'; kept with the index, so that it is needed once",
    )
    parser.add_argument(
        "--min-confidence", type=float, default=0.0, help="leave out boxes below it, 0..1"
    )
    parser.add_argument(
        "--first-frame",
        type=int,
        help="the number of the first frame in the tracks, if not the one usual for the format",
    )
    parser.add_argument(
        "--region",
        metavar="FILE",
        help="a .json file with corners [x, y]: people outside are left out",
    )


def seconds(text: str) -> float:
    """Reads a time, h:mm:ss, for a parser."""
    try:
        return times.seconds(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def check_tracks(arguments: argparse.Namespace) -> None:
    """Checks that the options of how tracks are read come with tracks.

    Raises:
      UserError: they do not.
    """
    if not arguments.tracks and (arguments.min_confidence or arguments.first_frame is not None):
        raise UserError("--min-confidence and --first-frame need --tracks FILE")


def check_absent(arguments: argparse.Namespace) -> None:
    """Checks that there are no options of videos where there is no video.

    Raises:
      UserError: there are.
    """
    names = ("tracks", "detect", "labels", "every", "start", "stop", "region", "shard")
    if any(getattr(arguments, name) is not None for name in names):
        options = ", ".join(f"--{name}" for name in names[:-1])
        raise UserError(f"{options} and --{names[-1]} need --video FILE")
    check_tracks(arguments)


def index(arguments: argparse.Namespace) -> int:
    """Adds the clips of videos to an index; one that cannot be read does not stop the others."""
    from stvh_jax.video import own_files

    videos = own_files.find_videos(arguments.video)
    _check(arguments, videos)
    labels = _read_labels(arguments.labels, videos)
    videos = shard_of(videos, arguments.shard)
    from stvh_jax.inference.colour_encoder import with_colours
    from stvh_jax.inference.encoder import load
    from stvh_jax.retrieval import video_indexing
    from stvh_jax.runs import packed
    from stvh_jax.video.regions import read_region

    cutting = video_indexing.Cutting(
        rate=arguments.fps,
        every=_EVERY if arguments.every is None else arguments.every,
        start=arguments.start or 0.0,
        stop=arguments.stop,
        region=None if arguments.region is None else read_region(arguments.region),
    )
    parsing.prepare_devices()
    encoder = load(arguments.folder, checkpoint=arguments.checkpoint, bits=arguments.bits)
    if arguments.visual == "colour":
        encoder = with_colours(encoder)
    run = packed.address_of(arguments.folder)
    archive = video_indexing.Archive(run, encoder, arguments.out, cutting)
    failed = 0
    for number, path in enumerate(videos, start=1):
        name = printable(path.name)
        place = f"{name} ({number} of {len(videos)})" if len(videos) > 1 else name
        try:
            footage = _footage(arguments, path)
            if labels is not None:
                footage = _labelled(footage, labels, arguments.labels)
            _index_one(archive, footage, cutting, place)
        except UserError as error:
            if len(videos) == 1:
                raise
            failed += 1
            print(error_line(f"{place}: {error}"), file=sys.stderr, flush=True)
    clips = 0 if archive.index is None else len(archive.index)
    without = f"; {failed} of {len(videos)} videos could not be indexed" if failed else ""
    print(f"{arguments.out}: {clips} clips{without}")
    return 2 if failed else 0


def _read_labels(path: str | None, videos: Sequence[pathlib.Path]) -> list | None:
    """Reads what a table of labels says of some videos; None without a table."""
    if path is None:
        return None
    from stvh_jax.video.labels import read_labels

    return read_labels(path, [video.name for video in videos], others=True)


def _labelled(footage, labels: list, table: str):
    """Gives a video with its own labels; says if there are none."""
    own = [label for label in labels if label.video == footage.video.path.stem]
    if not own:
        _warn(f"{table} has no label of {footage.video.path.name}")
    return dataclasses.replace(footage, labels=own)


def _check(arguments: argparse.Namespace, videos: Sequence[pathlib.Path]) -> None:
    """Checks that the options go together, before anything is read.

    Raises:
      UserError: they do not.
    """
    from stvh_jax.video import own_files

    if arguments.split or arguments.data_dir or arguments.media or arguments.dataset:
        raise UserError(
            "--split, --data-dir, --media and --dataset are for a prepared set; leave them out "
            "with --video"
        )
    filters = arguments.filter_values, arguments.filter_per_step, arguments.filter_normalise
    if arguments.adapt or arguments.stored_foci or filters != ("binary", False, "code"):
        raise UserError(
            "--adapt, --stored-foci and the options of the filter are for a prepared set; leave "
            "them out with --video"
        )
    if arguments.tracks and arguments.detect:
        raise UserError("give --tracks FILE or, to find people anew, --detect FILE; not both")
    limits = {"fps": "more than 0", "every": "0.001 seconds or more", "detect_rate": "more than 0"}
    for name, least in limits.items():
        value = getattr(arguments, name)
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"--{name.replace('_', '-')} {value}; give {least}")
    check_tracks(arguments)
    if arguments.tracks:
        own_files.check_tracks_of_each(arguments.tracks, len(videos))


def shard_of(videos: Sequence[pathlib.Path], shard: str | None) -> list[pathlib.Path]:
    """Gives the I-th of N parts of some videos; I/N counts from 1.

    Raises:
      UserError: it is no part.
    """
    if shard is None:
        return list(videos)
    match = re.fullmatch("([0-9]{1,6})/([0-9]{1,6})", shard)
    part, parts = map(int, match.groups()) if match else (0, 0)
    if not 1 <= part <= parts:
        raise UserError(f"--shard {shown(shard)}; give I/N, for example 3/16, from 1/16 to 16/16")
    return list(videos[part - 1 :: parts])


def _footage(arguments: argparse.Namespace, path: pathlib.Path):
    """Opens a video with its tracks: those that the options name, or those that were kept."""
    from stvh_jax.retrieval import kept_tracks
    from stvh_jax.retrieval.video_indexing import Footage
    from stvh_jax.video.footage import open_video

    video = open_video(path, report=_warn)
    kept = kept_tracks.path_of(arguments.out, path.stem)
    if arguments.tracks is None and (arguments.detect is None or (kept and kept.is_file())):
        return Footage(video, kept_tracks.read(arguments.out, path.stem, video), path.stem)
    find = _find_people if arguments.tracks is None else read_tracks
    return Footage(video, find(arguments, video), path.stem, keep=True)


def read_tracks(arguments: argparse.Namespace, video):
    """Reads the tracks of a video that the options name."""
    from stvh_jax.video import own_files

    return own_files.tracks_of(
        video,
        arguments.tracks,
        min_confidence=arguments.min_confidence,
        first_frame=arguments.first_frame,
        report=_warn,
    )


def _find_people(arguments: argparse.Namespace, video):
    """Finds and follows the people of a video.

    Raises:
      NotFound: there is nobody.
    """
    from stvh_jax.video.detection import Detector
    from stvh_jax.video.finding import filled_in, find_people
    from stvh_jax.video.frames import read_frames

    step = max(1, round(video.rate / arguments.detect_rate))
    numbers = range(0, len(video), step)
    with _Progress(f"{printable(video.path.name)}: finding people", "frames") as progress:
        tracks = find_people(
            read_frames(video, numbers, report=_warn),
            Detector.load(arguments.detect),
            rate=video.rate / step,
            tiles=arguments.tiles,
            least_height=arguments.least_height,
            progress=lambda done: progress(done, len(numbers)),
        )
    if not len(tracks):
        raise NotFound(f"nobody was found in {video.path}; try --tiles 2x3, or a larger detector")
    return filled_in(tracks, most=max(step, round(video.rate)))


def _index_one(archive, footage, cutting, place: str) -> None:
    """Adds the clips of one video, and says how far it is and how it went."""
    from stvh_jax.retrieval import video_indexing

    lines: list[str] = []
    with _Progress(place) as progress:
        done = video_indexing.index_video(
            archive, footage, cutting, report=lines.append, progress=progress
        )
    for line in lines:
        _warn(f"{footage.video.path.name}: {line}")
    decoded = video_indexing.frame_size(archive.encoder) is not None
    print(f"{place}: {done.summary(decoded=decoded)}", flush=True)
    if footage.labels and done.held:
        _warn(f"{footage.video.path.name}: the clips that were there keep the activity they have")


class _Progress:
    """Shows how far a video is, how fast it goes, and how long it will take."""

    def __init__(self, place: str, what: str = "windows"):
        self._place, self._what = place, what
        self._begun, self._shown = time.monotonic(), None

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown is not None:  # what is printed next has a line of its own
            print(file=sys.stderr, flush=True)

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        recent = self._shown is not None and now - self._shown < _BETWEEN_LINES
        if not sys.stderr.isatty() or (recent and done < total):
            return
        self._shown = now
        rate = done / max(1e-3, now - self._begun)
        left = f", {times.clock_tenths((total - done) / rate)} left" if 0 < done < total else ""
        line = f"\r{self._place}: {done}/{total} {self._what}, {rate:.1f} a second{left}   "
        print(line, end="", file=sys.stderr, flush=True)


def _warn(line: str) -> None:
    print(f"note: {printable(line)}", file=sys.stderr, flush=True)
