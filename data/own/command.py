"""The command `python -m data import`."""

import argparse
import functools
import pathlib
import sys

from data.own.clips import Cutting
from data.own.importing import Asked, read_set
from stvh_jax.errors import UserError

HELP = "turn your own videos, tracks and maybe labels into a prepared set; see docs/own_labels.md"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    usual = Cutting()
    add = parser.add_argument
    add("--video", nargs="+", required=True, help="files, or a pattern in quotes: 'matches/*.mp4'")
    add("--tracks", required=True, help="tracks of a video, {match} for its name without ending")
    labels = "table: video,start,stop,activity; all clips are without labels if left out"
    add("--labels", type=pathlib.Path, help=labels)
    add("--out", type=pathlib.Path, default=pathlib.Path("datasets"), help="folder of sets")
    add("--name", default="own", help="of the set (default own)")
    add("--boxes-only", action="store_true", help="boxes and labels, no frames: the default")
    size = {"nargs": 2, "type": int, "metavar": ("HEIGHT", "WIDTH")}
    add("--image-size", **size, help="keep frames, too, of this size")
    add("--num-frames", type=int, default=usual.num_frames, help="frames of a clip (default 10)")
    add("--num-actors", type=int, default=usual.num_actors, help="people at most (default 12)")
    add("--fps", type=float, default=usual.rate, help="frames per second of a clip (default 25)")
    add("--every", type=float, default=usual.every, help="seconds from clip to clip (default 0.5)")
    add("--unlabelled", action="store_true", help="clips of what has no label, too")
    add("--split-by", choices=("video", "time", "column"), default="", help="how to divide them")
    add("--gap", type=float, default=usual.gap, help="seconds between splits in time (default 10)")
    add("--seed", type=int, default=usual.seed, help="of the draw of videos (default 0)")
    add("--min-confidence", type=float, default=0.0, help="leave out boxes below it (default 0)")
    add("--first-frame", type=int, help="the number that the tracks give the first frame")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command."""
    if arguments.boxes_only and arguments.image_size:
        raise UserError("--image-size is for frames, --boxes-only keeps none; give one of them")
    report = functools.partial(print, file=sys.stdout, flush=True)
    asked = Asked(
        videos=arguments.video,
        tracks=arguments.tracks,
        labels=arguments.labels,
        name=arguments.name,
        image_size=tuple(arguments.image_size) if arguments.image_size else None,
        cutting=Cutting(
            num_frames=arguments.num_frames,
            num_actors=arguments.num_actors,
            rate=arguments.fps,
            every=arguments.every,
            split_by=arguments.split_by,
            gap=arguments.gap,
            seed=arguments.seed,
            unlabelled=arguments.unlabelled,
        ),
        min_confidence=arguments.min_confidence,
        first_frame=arguments.first_frame,
    )
    own = read_set(asked, report)
    # TensorFlow is slow to import, and not needed to find a mistake.
    from data.prepared.own_builder import prepare_own

    place = arguments.out / asked.name / asked.variant
    raw = asked.labels or next(iter(own.footage.values())).video.path
    prepare_own(own, place, raw=raw.parent, report=report)
    config = "own.py" if asked.labels else "own_label_free.py"
    ending = "" if asked.image_size is None else ":frames"
    where = f" --config.data.name={asked.name}" if asked.name != "own" else ""
    if str(arguments.out) != "datasets":
        where += f" --config.data.dir={arguments.out}"
    report(f"train on it: python train.py --config=configs/{config}{ending}{where}")
    return 0
