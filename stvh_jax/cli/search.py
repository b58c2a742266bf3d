"""Indexes clips by their codes, and finds those like a clip: python search.py index | query.

python search.py index --run demo/run --split train --out demo/index
python search.py query --index demo/index --clip 3/220 --focus visual
"""

import argparse
import functools
import json
import pathlib
import re
import sys

from stvh_jax.cli import parsing
from stvh_jax.errors import UserError, shown


def main(open_dataset=None, argv: list[str] | None = None, *, program: str = "search.py") -> int:
    """Runs the command line and returns the exit status.

    Args:
      open_dataset: opens the data set of a run, where --dataset names no other function.
      argv: the arguments; those of the process if None.
      program: the name that messages and --help show.
    """
    parser = _parser(program)
    parser.set_defaults(open_dataset=open_dataset)
    return parsing.run_command(parser, argv)


def _parser(program: str) -> parsing.StrictParser:
    parser = parsing.StrictParser(
        prog=program,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="index | query")
    _add_index(commands.add_parser("index", help="add the clips of a prepared set to an index"))
    _add_query(commands.add_parser("query", help="find the clips like a clip"))
    return parser


def _add_index(parser: parsing.StrictParser) -> None:
    parser.set_defaults(run=_index)
    parser.add_argument("--run", dest="folder", required=True, help="a run: folder, .zip, URL")
    parser.add_argument("--checkpoint", choices=("best", "latest"), default="best")
    parser.add_argument("--bits", type=int, help="the first bits of nested codes; all if left out")
    parser.add_argument(
        "--split",
        help='the splits to index, "train" or "train+test"; the run\'s training split if left out',
    )
    parser.add_argument("--out", required=True, help="the index: a folder, s3://..., http://...")
    parser.add_argument("--data-dir", help="the prepared sets, if they were moved since")
    parser.add_argument("--dataset", metavar="MODULE:FUNCTION", help=parsing.DATASET_HELP)
    parser.add_argument(
        "--stored-foci",
        type=_numbers,
        metavar="FOCI",
        help="the foci whose own codes are stored, for example 3 or 0,3; the others are derived "
        "from the last. The first and the last if left out. A model with bit weights has one code",
    )
    parser.add_argument("--filter-values", choices=("binary", "01", "real"), default="binary")
    parser.add_argument("--filter-per-step", action="store_true", help="one matrix per step")
    parser.add_argument("--filter-normalise", choices=("code", "bit"), default="code")
    parser.add_argument(
        "--adapt",
        action="store_true",
        help="then fit the visual bits to all clips of the index, without labels; anew each time",
    )
    parser.add_argument("--fps", type=float, default=25.0, help="frames per second of the videos")
    parser.add_argument("--media", default="", help='the file of a clip: "videos/{match}.mp4"')


def _add_query(parser: parsing.StrictParser) -> None:
    parser.set_defaults(run=_query)
    parser.add_argument("--index", required=True, help="a folder, s3://..., http://...")
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
    parser.add_argument("--query", metavar="FILE", help="a query that was saved, to go on from")
    parser.add_argument("--save-query", metavar="FILE", help="save what is asked for, as .json")
    parser.add_argument(
        "--rank",
        choices=("class", "asymmetric", "hamming"),
        help="what of the clip is compared: its bits (hamming), what the network made of it before "
        "the signs (asymmetric), or that and the class it seems to be of (class, if left out)",
    )
    focus = parser.add_mutually_exclusive_group()
    focus.add_argument("--focus", help="activity (if left out), visual, 0 to L, or 2.3")
    focus.add_argument("--scale", type=float, help="the focus from 0, visual, to 1, activity: 0.5")
    parser.add_argument("--k", type=int, help="how many hits; 10, or all within a radius")
    parser.add_argument("--radius", type=float, help="the largest distance in bits, included")
    parser.add_argument(
        "--where", help="""a condition on the clips in SQL, for example "match = '13'" """
    )
    parser.add_argument("--filter", type=_renamed, help=argparse.SUPPRESS)
    parser.add_argument(
        "--exclude-near", type=float, metavar="SECONDS", help="leave out what is near the query"
    )
    parser.add_argument("--exclude-match", action="store_true", help="leave out the query's match")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--grid", metavar="FILE", help="draw the hits, as .png or .svg")
    parser.add_argument("--export", metavar="FILE", help="write the hits, as .csv, .json, .parquet")
    parser.add_argument("--run", dest="folder", help="the model, if it was moved since")
    parser.add_argument("--data-dir", help="the prepared sets, if they were moved since")
    parser.add_argument("--dataset", metavar="MODULE:FUNCTION", help=parsing.DATASET_HELP)


def _numbers(text: str) -> list[int]:
    if not all(re.fullmatch("[0-9]{1,9}", part) for part in text.split(",")):
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not a list of foci; give numbers, for example 0,3"
        )
    return [int(part) for part in text.split(",")]


def _renamed(text: str):
    raise argparse.ArgumentTypeError("a condition on the clips is now given by --where")


def _index(arguments: argparse.Namespace) -> int:
    from stvh_jax.retrieval.indexing import index_split
    from stvh_jax.runs import packed

    run = packed.open_run(arguments.folder)
    encoder, dataset = _open_model(
        arguments, run, arguments.checkpoint, arguments.data_dir, bits=arguments.bits
    )
    index = index_split(
        run,
        encoder,
        dataset,
        arguments.out,
        split=(arguments.split or encoder.config.data.train_split).replace(" ", ""),
        stored_foci=arguments.stored_foci,
        filter_options={
            "values": arguments.filter_values,
            "per_step": arguments.filter_per_step,
            "normalise": arguments.filter_normalise,
        },
        frames_per_second=arguments.fps,
        media=arguments.media,
        adapt=arguments.adapt,
    )
    bits = len(index.info.stored_foci) * index.info.bits
    adapted = ", the visual ones adapted" if index.adaptation else ""
    print(
        f"{arguments.out}: {len(index)} clips, {bits} bits each{adapted}, {_codes_of(index.info)}"
    )
    return 0


def _codes_of(info) -> str:
    """Says in words which codes an index holds."""
    from stvh_jax.retrieval.index_info import listed

    if info.bit_weights is not None:
        return f"one code for the foci 0 to {info.last_focus}, which weigh its bits"
    derived = [focus for focus in info.foci if focus not in info.stored_foci]
    codes = f"the codes of focus {listed(info.stored_foci)}"
    return f"{codes}; derived: {listed(derived)}" if derived else codes


def _query(arguments: argparse.Namespace) -> int:
    _check_clip_options(arguments)
    from stvh_jax.retrieval import asking, hits_report, saved_query
    from stvh_jax.retrieval.hits import EXPORTS, check_output
    from stvh_jax.retrieval.index import Index

    if arguments.export:
        check_output(arguments.export, EXPORTS)
    if arguments.grid:
        check_output(arguments.grid, hits_report.GRIDS)
    if arguments.save_query:
        check_output(arguments.save_query, (".json",))
    saved = saved_query.load(arguments.query) if arguments.query else None

    index = Index.open(arguments.index)

    @functools.cache
    def open_model():
        origin = index.info.origin
        return _open_model(
            arguments,
            _run_of(arguments, origin),
            origin.get("checkpoint_kind", "best"),
            arguments.data_dir or origin.get("data_dir"),
            bits=index.info.bits,
        )

    asked = _asked(arguments, index, saved, open_model)
    focus = _focus_of(arguments, index, saved)
    hits = asking.search(
        index,
        asked,
        focus=focus,
        k=10 if arguments.k is None and arguments.radius is None else arguments.k,
        radius=arguments.radius,
        where=arguments.where,
        exclude_near=arguments.exclude_near,
        exclude_match=arguments.exclude_match,
    )
    _show(arguments, index, asked, hits, open_model, focus=focus)
    return 0


def _check_clip_options(arguments: argparse.Namespace) -> None:
    """Checks that the options of a clip go together.

    Raises:
      UserError: they do not.
    """
    if arguments.frames and not arguments.boxes:
        raise UserError("--frames needs --boxes FILE, the boxes of the people in them")
    if arguments.clip and arguments.boxes:
        raise UserError("give --clip MATCH/CLIP, or --frames DIR with --boxes FILE")
    others = arguments.activity or arguments.like or arguments.not_like or arguments.query
    if not (arguments.clip or arguments.boxes or others):
        raise UserError(
            "give --clip MATCH/CLIP, or --frames DIR with --boxes FILE; or --activity NAME, --like "
            "MATCH/CLIP, --query FILE"
        )
    if arguments.start is not None and not arguments.boxes:
        raise UserError("--start chooses among the frames of --boxes FILE; give that")
    if arguments.appearance and not arguments.boxes:
        raise UserError("--appearance is of the clip of --boxes FILE; give that")
    if arguments.rank and not (arguments.clip or arguments.boxes):
        raise UserError("--rank says how a clip is compared; give --clip or --boxes")


def _asked(arguments: argparse.Namespace, index, saved, open_model):
    """Puts together what is asked for."""
    from stvh_jax.retrieval import asking, queries

    clips = None
    if arguments.clip:
        names = [queries.parse_clip(text) for text in arguments.clip]
        encode = arguments.rank == "asymmetric"
        clips = queries.clips_query(index, names, open_model, encode=encode)
    elif arguments.boxes:
        clips = _files_query(arguments, index)
    liked, not_liked = (
        [queries.parse_clip(text) for text in texts]
        for texts in (arguments.like, arguments.not_like)
    )
    return asking.ask(
        index,
        clips,
        ranking=arguments.rank,
        activity=arguments.activity,
        liked=liked,
        not_liked=not_liked,
        saved=saved,
    )


def _focus_of(arguments: argparse.Namespace, index, saved) -> str | float:
    """Gives the focus of a query: as said, or as it was saved."""
    if arguments.scale is not None:
        return index.info.focus_at(arguments.scale)
    before = None if saved is None else saved.focus
    return arguments.focus or ("activity" if before is None else before)


def _show(arguments: argparse.Namespace, index, asked, hits, open_model, *, focus) -> None:
    """Prints the hits and writes the files that are asked for."""
    from stvh_jax.retrieval import hits_report

    if arguments.json:
        print(json.dumps(hits_report.hits_to_dict(index, asked, hits, focus=focus), indent=2))
    else:
        print(hits_report.hits_table(index, asked, hits, focus=focus), end="")
    messages = sys.stderr if arguments.json else sys.stdout
    if arguments.save_query:
        asked.saved(index, focus).save(arguments.save_query)
        print(f"wrote {arguments.save_query}", file=messages)
    if arguments.export:
        hits.export(arguments.export)
        print(f"wrote {arguments.export}", file=messages)
    if arguments.grid:
        _, dataset = open_model()
        key_frames = dataset.key_frame_images
        hits_report.write_grid(arguments.grid, asked, hits, key_frames, focus=focus)
        print(f"wrote {arguments.grid}", file=messages)


def _files_query(arguments: argparse.Namespace, index):
    from stvh_jax.inference.clip_files import read_appearance, read_clip
    from stvh_jax.inference.encoder import load
    from stvh_jax.retrieval import queries

    origin = index.info.origin
    encoder = load(
        _run_of(arguments, origin),
        checkpoint=origin.get("checkpoint_kind", "best"),
        bits=index.info.bits,
    )
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
    return queries.files_query(index, encoder, *clip, appearance=appearance)


def _run_of(arguments: argparse.Namespace, origin) -> str:
    """Names the folder of the model that made an index."""
    from stvh_jax.runs import folders

    folder = arguments.folder or origin.get("run")
    if folder is None:
        raise UserError("the index does not say which model made its codes; give --run FOLDER")
    if not arguments.folder and not folders.open_folder(folder).is_dir():
        raise UserError(f"{folder}, the run that made the index, is not there; give --run FOLDER")
    return folder


def _open_model(
    arguments: argparse.Namespace,
    folder,
    checkpoint: str,
    data_dir: str | None,
    *,
    bits: int | None,
):
    """Loads a run's model and opens its prepared set."""
    from stvh_jax.inference.encoder import load

    encoder = load(folder, checkpoint=checkpoint, bits=bits)
    with encoder.config.data.unlocked():
        encoder.config.data.dir = data_dir or encoder.config.data.dir
    opener = parsing.dataset_opener(arguments.dataset, arguments.open_dataset)
    return encoder, opener(encoder.config.data)
