"""The options of one's own videos, and how they are added to an index."""

import argparse
import glob
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
from stvh_jax.names import natural_key, printable

# Seconds between two lines of progress.
_BETWEEN_LINES = 2.0


def add_options(parser: parsing.StrictParser) -> None:
    """Adds the options by which videos are cut into clips."""
    group = parser.add_argument_group("your own videos, in place of a prepared set")
    group.add_argument(
        "--video", nargs="+", metavar="FILE", help="video files, or patterns such as 'games/*.mp4'"
    )
    add_tracks(group)
    group.add_argument(
        "--every", type=float, default=0.5, metavar="SECONDS", help="a clip each; 0.5"
    )
    group.add_argument("--start", type=seconds, default=0.0, metavar="TIME", help="from h:mm:ss on")
    group.add_argument("--stop", type=seconds, metavar="TIME", help="until h:mm:ss")
    group.add_argument(
        "--region",
        metavar="FILE",
        help="a .json file of corners [x, y]: people outside are left out",
    )
    group.add_argument("--shard", metavar="I/N", help="only the I-th of N parts of the videos")


def add_tracks(parser) -> None:
    """Adds the options of the tracks of a video's people."""
    parser.add_argument(
        "--tracks",
        metavar="FILE",
        help="what a tracker wrote (docs/track_formats.md), of several videos "
        "'tracks/{match}.txt'; kept with the index, so that it is needed once",
    )
    parser.add_argument(
        "--min-confidence", type=float, default=0.0, help="boxes below it are left out, 0..1"
    )
    parser.add_argument(
        "--first-frame", type=int, help="the number of the first frame in the tracks, if not usual"
    )


def seconds(text: str) -> float:
    """Reads a time, h:mm:ss, for a parser."""
    try:
        return times.seconds(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def index(arguments: argparse.Namespace) -> int:
    """Adds the clips of videos to an index; one that cannot be read does not stop the others."""
    videos = shard_of(find_videos(arguments.video), arguments.shard)
    _check(arguments, videos)
    from stvh_jax.inference.colour_encoder import with_colours
    from stvh_jax.inference.encoder import load
    from stvh_jax.retrieval import video_indexing
    from stvh_jax.runs import packed
    from stvh_jax.video.regions import read_region

    cutting = video_indexing.Cutting(
        rate=arguments.fps,
        every=arguments.every,
        start=arguments.start,
        stop=arguments.stop,
        region=None if arguments.region is None else read_region(arguments.region),
    )
    run = packed.open_run(arguments.folder)
    encoder = load(arguments.folder, checkpoint=arguments.checkpoint, bits=arguments.bits)
    if arguments.visual == "colour":
        encoder = with_colours(encoder)
    video_indexing.frame_size(encoder)
    opened, failed = None, 0
    for number, path in enumerate(videos, start=1):
        place = f"{path.name} ({number} of {len(videos)})" if len(videos) > 1 else path.name
        try:
            footage = _footage(arguments, path)
            opened = opened or video_indexing.open_index(run, encoder, arguments.out, cutting)
            _index_one(opened, encoder, footage, cutting, printable(place))
        except UserError as error:
            if len(videos) == 1:
                raise
            failed += 1
            print(error_line(f"{place}: {error}"), file=sys.stderr, flush=True)
    if opened is not None:
        print(f"{arguments.out}: {len(opened)} clips")
    if failed:
        raise UserError(
            f"{failed} of {len(videos)} videos could not be indexed; see the lines above"
        )
    return 0


def _check(arguments: argparse.Namespace, videos: Sequence[pathlib.Path]) -> None:
    """Checks that the options go together, before anything is read.

    Raises:
      UserError: they do not.
    """
    if arguments.split or arguments.data_dir or arguments.media or arguments.dataset:
        raise UserError("--video is in place of a prepared set; leave out its options")
    if arguments.adapt:
        raise UserError("--adapt is for a prepared set, whose clips are encoded again for it")
    if not 0 < arguments.fps < math.inf:
        raise UserError(f"--fps {arguments.fps}; give more than 0")
    names = {}
    for path in videos:
        other = names.setdefault(path.stem, path)
        if other != path:
            raise UserError(
                f"{other} and {path} have one name, by which clips are called; rename one of them"
            )
    if len(videos) > 1 and arguments.tracks and not _is_of_each(arguments.tracks):
        raise UserError(
            f"--tracks {arguments.tracks} is one file for {len(videos)} videos; put {{match}} in "
            "its name, for example 'tracks/{match}.txt'"
        )


def _is_of_each(tracks: str) -> bool:
    """Says whether there are tracks of each of several videos."""
    return "{match}" in tracks or tracks.endswith(".json")  # COCO holds several videos


def find_videos(patterns: Sequence[str]) -> list[pathlib.Path]:
    """Finds the files of some names and patterns, in their natural order, each once.

    Raises:
      NotFound: there is none of a name or pattern.
    """
    found: dict[pathlib.Path, None] = {}
    for pattern in patterns:
        is_pattern = glob.has_magic(pattern) and not pathlib.Path(pattern).exists()
        paths = (
            sorted(glob.glob(pattern, recursive=True), key=natural_key) if is_pattern else [pattern]
        )
        paths = [path for path in map(pathlib.Path, paths) if not is_pattern or path.is_file()]
        if not paths:
            raise NotFound(f"there is no video {pattern}")
        found |= dict.fromkeys(paths)
    return list(found)


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
    """Opens a video with its tracks, which are then kept with the index."""
    from stvh_jax.retrieval import kept_tracks
    from stvh_jax.retrieval.video_indexing import Footage
    from stvh_jax.video.footage import open_video

    video = open_video(path, report=_warn)
    if arguments.tracks is None:
        return Footage(video, kept_tracks.read(arguments.out, path.stem, video), path.stem)
    tracks = read_tracks(arguments, path, video)
    kept_tracks.keep(arguments.out, path.stem, tracks, video)
    return Footage(video, tracks, path.stem)


def read_tracks(arguments: argparse.Namespace, path: pathlib.Path, video):
    """Reads the tracks of a video that the options name."""
    from stvh_jax.video import track_files

    return track_files.read_tracks(
        arguments.tracks.replace("{match}", path.stem),
        width=video.width,
        height=video.height,
        num_frames=len(video),
        min_confidence=arguments.min_confidence,
        first_frame=arguments.first_frame,
        video=path.stem,
        report=_warn,
    )


def _index_one(index, encoder, footage, cutting, place: str) -> None:
    """Adds the clips of one video, and says how far it is and how it went."""
    from stvh_jax.retrieval import video_indexing

    lines: list[str] = []
    done = video_indexing.index_video(
        index, encoder, footage, cutting, report=lines.append, progress=_Progress(place)
    )
    for line in lines:
        _warn(line)
    if not done.windows:
        raise UserError(
            f"{footage.video.path} has no window of {encoder.config.model.num_frames} frames at "
            f"{cutting.rate:g} per second between --start and --stop"
        )
    if not done.added and not done.held:
        raise UserError(f"{footage.video.path} has nobody in any of its {done.windows} windows")
    print(
        f"{place}: {done.summary(decoded=video_indexing.frame_size(encoder) is not None)}",
        flush=True,
    )


class _Progress:
    """Shows how far a video is, how fast it goes, and how long it will take."""

    def __init__(self, place: str):
        self._place, self._begun, self._shown = place, time.monotonic(), 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not sys.stderr.isatty() or (now - self._shown < _BETWEEN_LINES and done < total):
            return
        self._shown = now
        rate = done / max(1e-3, now - self._begun)
        left = f", {times.clock((total - done) / rate)} left" if done and done < total else ""
        end = "\n" if done >= total else ""
        line = f"\r{self._place}: {done}/{total} windows, {rate:.1f} a second{left}   "
        print(line, end=end, file=sys.stderr, flush=True)


def _warn(line: str) -> None:
    print(f"note: {printable(line)}", file=sys.stderr, flush=True)
