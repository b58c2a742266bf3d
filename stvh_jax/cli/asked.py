"""The options that say what is asked of an index, which several commands share."""

import argparse
import functools
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from stvh_jax.cli import own_video, parsing
from stvh_jax.errors import UserError


def add_options(parser: parsing.StrictParser) -> None:
    """Adds the options of the index, of what is asked, and of the model that may be needed."""
    add_index(parser)
    parser.add_argument(
        "--clip",
        action="append",
        metavar="MATCH/CLIP",
        help="a clip of the index or of its prepared set; several make one query",
    )
    parser.add_argument("--frames", type=pathlib.Path, metavar="DIR", help="a clip's images")
    parser.add_argument(
        "--boxes",
        type=pathlib.Path,
        metavar="FILE",
        help="its people: a tracker's lines (frame, person, left, top, width, height in pixels) or "
        "a .npy file [frames, people, 4] (y_min, x_min, y_max, x_max in 0..1)",
    )
    parser.add_argument(
        "--start",
        type=int,
        metavar="FRAME",
        help="the first of --frames that is read, from 1; the middle ones are, if left out",
    )
    parser.add_argument(
        "--appearance",
        type=pathlib.Path,
        metavar="FILE",
        help="features of its whole frames, a .npy file [frames, channels], for a model of them",
    )
    parser.add_argument(
        "--video", type=pathlib.Path, metavar="FILE", help="one of your videos, with --at TIME"
    )
    parser.add_argument(
        "--at", type=own_video.seconds, metavar="TIME", help="what it shows at h:mm:ss"
    )
    own_video.add_tracks(parser)
    _add_examples(parser)
    add_focus(parser)
    add_model(parser)


def add_index(parser: parsing.StrictParser) -> None:
    """Adds the option of the index."""
    parser.add_argument("--index", required=True, help="a folder, s3://..., http://...")


def add_focus(parser: parsing.StrictParser) -> None:
    """Adds the options of the focus, and of a condition on the clips."""
    focus = parser.add_mutually_exclusive_group()
    focus.add_argument("--focus", help="activity (if left out), visual, 0 to L, or 2.3")
    focus.add_argument("--scale", type=float, help="the focus from 0, visual, to 1, activity: 0.5")
    parser.add_argument(
        "--where", help="""a condition on the clips in SQL, for example "match = '13'" """
    )


def add_model(parser: parsing.StrictParser) -> None:
    """Adds the options of the model and of the prepared sets."""
    parser.add_argument("--run", dest="folder", help="the model, if it was moved since")
    parser.add_argument("--data-dir", help="the prepared sets, if they were moved since")
    parser.add_argument("--dataset", metavar="MODULE:FUNCTION", help=parsing.DATASET_HELP)


def _add_examples(parser: parsing.StrictParser) -> None:
    parser.add_argument("--activity", metavar="NAME", help="an activity by its name, or one beside")
    parser.add_argument(
        "--like",
        action="append",
        default=[],
        metavar="MATCH/CLIP",
        help="an example, a clip of the index; as many as you like",
    )
    parser.add_argument(
        "--not-like",
        action="append",
        default=[],
        metavar="MATCH/CLIP",
        help="a counter-example; as many as you like",
    )
    parser.add_argument(
        "--name", metavar="NAME", help="clips of this name are examples; they are left out, too"
    )
    parser.add_argument("--query", metavar="FILE", help="a query that was saved, to go on from")
    parser.add_argument(
        "--rank",
        choices=("class", "asymmetric", "hamming"),
        help="what of the clip is compared: its bits (hamming), what the network made of it before "
        "the signs (asymmetric), or that and the class it seems to be of (class, if left out; of a "
        "model without labels, asymmetric if the clip is encoded, else hamming)",
    )


def check(arguments: argparse.Namespace) -> None:
    """Checks that the options go together, before anything is read.

    Raises:
      UserError: they do not.
    """
    if arguments.frames and not arguments.boxes:
        raise UserError("--frames needs --boxes FILE, the boxes of the people in them")
    if (arguments.video is None) != (arguments.at is None):
        raise UserError("give --video FILE and --at TIME together: what it shows then")
    if not arguments.video and (arguments.tracks or arguments.region):
        raise UserError("--tracks and --region need --video FILE")
    own_video.check_tracks(arguments)
    given = [arguments.clip, arguments.boxes, arguments.video]
    if len([each for each in given if each]) > 1:
        raise UserError("give --clip MATCH/CLIP, --frames DIR with --boxes FILE, or --video FILE")
    if not is_given(arguments):
        raise UserError(
            "give --clip MATCH/CLIP, --video FILE --at TIME, or --frames DIR with --boxes FILE; or "
            "--activity NAME, --like MATCH/CLIP, --name NAME, --query FILE"
        )
    if arguments.start is not None and not arguments.boxes:
        raise UserError("--start chooses among the frames of --boxes FILE; give that")
    if arguments.appearance and not arguments.boxes:
        raise UserError("--appearance is of the clip of --boxes FILE; give that")
    if arguments.rank and not any(given):
        raise UserError("--rank says how a clip is compared; give --clip, --video or --boxes")


def is_given(arguments: argparse.Namespace) -> bool:
    """Says whether anything is asked for."""
    names = ("clip", "boxes", "video", "activity", "like", "not_like", "name", "query")
    return any(getattr(arguments, name) for name in names)


def read(arguments: argparse.Namespace, index) -> tuple[Any, str | float, Callable[[], tuple]]:
    """Reads what is asked.

    Returns:
      What is asked (`retrieval.asking.Asked`), the focus, and what opens the index's model and its
      prepared set.

    Raises:
      UserError: it makes no sense.
    """
    from stvh_jax.retrieval import asking, queries, saved_query

    saved = saved_query.load(arguments.query) if arguments.query else None
    open_model = model_opener(arguments, index)
    clips = None
    if arguments.clip:
        names = [queries.parse_clip(text) for text in arguments.clip]
        encode = arguments.rank == "asymmetric"
        clips = queries.clips_query(index, names, open_model, encode=encode)
    elif arguments.video:
        clips = _video_query(arguments, index)
    elif arguments.boxes:
        clips = _files_query(arguments, index)
    liked, not_liked = (
        [queries.parse_clip(text) for text in texts]
        for texts in (arguments.like, arguments.not_like)
    )
    asked = asking.ask(
        index,
        clips,
        ranking=arguments.rank,
        activity=arguments.activity,
        liked=liked,
        not_liked=not_liked,
        named=arguments.name,
        saved=saved,
    )
    return asked, focus_of(arguments, index, saved), open_model


def model_opener(arguments: argparse.Namespace, index) -> Callable[[], tuple]:
    """Gives what opens the index's model and its prepared set, once."""
    from stvh_jax.retrieval import index_model

    @functools.cache
    def open_model():
        return open_run(
            arguments,
            index_model.run_of(index.info, arguments.folder),
            index_model.checkpoint_of(index.info),
            arguments.data_dir or index.info.origin.get("data_dir"),
            bits=index.info.bits,
        )

    return open_model


def focus_of(arguments: argparse.Namespace, index, saved=None) -> str | float:
    """Gives the focus of a query: as said, or as it was saved."""
    if arguments.scale is not None:
        return index.info.focus_at(arguments.scale)
    before = None if saved is None else saved.focus
    return arguments.focus or ("activity" if before is None else before)


def _video_query(arguments: argparse.Namespace, index):
    """Takes the clip of the index at a time of a video, or encodes the one that begins there."""
    from stvh_jax.retrieval import index_model, kept_tracks, queries, video_queries
    from stvh_jax.video.footage import open_video
    from stvh_jax.video.regions import read_region

    video, at = arguments.video, arguments.at
    if arguments.rank != "asymmetric":
        name = video_queries.indexed_clip(index, video, at)
        if name is not None:
            return queries.Query(*index.get([name]))
    region = None if arguments.region is None else read_region(arguments.region)
    match, _ = video_queries.match_of(index, video)
    opened = open_video(video)
    video_queries.check_moment(opened, at)
    if arguments.tracks:
        tracks = own_video.read_tracks(arguments, opened)
    else:
        tracks = kept_tracks.read(arguments.index, match, opened)
    from stvh_jax.retrieval.encoded_queries import moment_query  # it loads JAX
    from stvh_jax.retrieval.video_indexing import Footage

    parsing.prepare_devices()
    encoder = functools.partial(index_model.load_encoder, index.info, arguments.folder)
    footage = Footage(opened, tracks, match)
    return moment_query(index, encoder, footage, at, region=region)


def _files_query(arguments: argparse.Namespace, index):
    from stvh_jax.inference.clip_files import read_appearance, read_clip
    from stvh_jax.retrieval import encoded_queries, index_model

    parsing.prepare_devices()
    encoder = index_model.load_encoder(index.info, arguments.folder)
    clip = read_clip(
        arguments.boxes,
        arguments.frames,
        num_frames=encoder.config.model.num_frames,
        start=arguments.start,
        report=lambda frames: print(
            f"searching with {frames}; choose others with --start", file=sys.stderr
        ),
    )
    appearance = arguments.appearance and read_appearance(arguments.appearance)
    return encoded_queries.files_query(index, encoder, *clip, appearance=appearance)


def open_run(
    arguments: argparse.Namespace,
    folder,
    checkpoint: str,
    data_dir: str | None,
    *,
    bits: int | None,
):
    """Loads a run's model and opens its prepared set."""
    from stvh_jax.inference.encoder import load

    parsing.prepare_devices()
    encoder = load(folder, checkpoint=checkpoint, bits=bits)
    with encoder.config.data.unlocked():
        encoder.config.data.dir = data_dir or encoder.config.data.dir
    opener = parsing.dataset_opener(arguments.dataset, arguments.open_dataset)
    return encoder, opener(encoder.config.data)
