"""Indexes clips by their codes, and finds those like a clip.

index | query | groups | name | watch | serve

python search.py index --run demo/run --split train --out demo/index
python search.py query --index demo/index --clip 3/220 --focus visual
"""

import argparse
import json
import math
import re
import sys

from stvh_jax import files
from stvh_jax.cli import asked, found, grouping, naming, own_video, parsing, serving, taken
from stvh_jax.errors import UserError, shown
from stvh_jax.names import printable


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
    commands = parser.add_subparsers(
        required=True, metavar="index | query | groups | name | watch | serve"
    )
    _add_index(
        commands.add_parser(
            "index", help="add the clips of videos, or of a prepared set, to an index"
        )
    )
    _add_query(commands.add_parser("query", help="find the clips like a clip"))
    grouping.add_options(commands.add_parser("groups", help="put the clips into groups, to begin"))
    naming.add_options(commands.add_parser("name", help="give clips a name, to find them by it"))
    _add_watch(commands.add_parser("watch", help="report the clips like a clip as they are added"))
    serving.add_options(commands.add_parser("serve", help="search by looking, in a browser"))
    return parser


def _add_index(parser: parsing.StrictParser) -> None:
    parser.set_defaults(run=_index)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--run", dest="folder", help="a run: folder, .zip, URL")
    source.add_argument(
        "--from",
        dest="others",
        nargs="+",
        metavar="INDEX",
        help="in place of a run: indexes of one model, whose clips are added",
    )
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
    parser.add_argument(
        "--visual",
        choices=("model", "colour"),
        default="model",
        help="what the visual bits say: what the model sees, or, of a model of boxes, the colours "
        "of people and hall, for which frames are read",
    )
    parser.add_argument(
        "--fps",
        type=float,
        default=25.0,
        help="frames per second of the prepared set's videos; of your own, those that the model "
        "takes. 25",
    )
    parser.add_argument("--media", default="", help='the file of a clip: "videos/{match}.mp4"')
    own_video.add_options(parser)


def _add_query(parser: parsing.StrictParser) -> None:
    parser.set_defaults(run=_query)
    asked.add_options(parser)
    taken.add_options(parser)
    found.add_options(parser)
    parser.add_argument("--filter", type=_renamed, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_watch(parser: parsing.StrictParser) -> None:
    parser.set_defaults(run=_watch)
    asked.add_options(parser)
    near = parser.add_mutually_exclusive_group(required=True)
    near.add_argument("--within", type=float, metavar="BITS", help="report what is as near as this")
    near.add_argument(
        "--top",
        type=float,
        metavar="PERCENT",
        help="report what is nearer than so many percent of the archive as it stands now",
    )
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between looks; 1")
    parser.add_argument("--for", type=float, dest="seconds", help="end after so many seconds")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each hit")
    parser.add_argument("--out", metavar="FILE", help="add these lines to a file, too")
    parser.add_argument(
        "--post", metavar="URL", help="send each to a program here, http://127.0.0.1:PORT/..."
    )


def _numbers(text: str) -> list[int]:
    if not all(re.fullmatch("[0-9]{1,9}", part) for part in text.split(",")):
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not a list of foci; give numbers, for example 0,3"
        )
    return [int(part) for part in text.split(",")]


def _renamed(text: str):
    raise argparse.ArgumentTypeError("a condition on the clips is now given by --where")


def _index(arguments: argparse.Namespace) -> int:
    if arguments.others:
        return _join(arguments)
    if arguments.video:
        return own_video.index(arguments)
    own_video.check_absent(arguments)
    from stvh_jax.inference.colour_encoder import with_colours
    from stvh_jax.retrieval.indexing import index_split
    from stvh_jax.runs import packed

    run = packed.open_run(arguments.folder)
    encoder, dataset = asked.open_run(
        arguments, run, arguments.checkpoint, arguments.data_dir, bits=arguments.bits
    )
    if arguments.visual == "colour":
        encoder = with_colours(encoder)
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


def _join(arguments: argparse.Namespace) -> int:
    """Adds the clips of indexes to one, which is made if there is none."""
    from stvh_jax.retrieval import merging
    from stvh_jax.retrieval.index import Index

    if arguments.video or arguments.split:
        raise UserError("--from takes the clips of indexes; leave out --video and --split")
    others = [Index.open(uri) for uri in arguments.others]
    for other in others[1:]:
        merging.check_same(others[0].engine, other.engine)
    if Index.exists(arguments.out):
        target = Index.open(arguments.out)
    elif others[0].adaptation:
        raise UserError(f"{arguments.others[0]} is adapted to its clips; add to a copy of it")
    else:
        names = ("bits", "stored_foci", "filter_matrix", "bit_weights", "readout", "columns")
        parts = {name: getattr(others[0].info, name) for name in names}
        target = Index.create(arguments.out, **parts, origin=others[0].info.origin)
    for other in others:
        print(f"{other.uri}: {target.add_from(other)} of {len(other)} clips added", flush=True)
    print(f"{arguments.out}: {len(target)} clips")
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
    asked.check(arguments)
    taken.check(arguments)
    from stvh_jax.retrieval.index import Index

    index = Index.open(arguments.index)
    query, focus, open_model = asked.read(arguments, index)
    hits, moments = found.find(arguments, index, query, focus=focus)
    _show(arguments, index, query, hits, focus=focus, moments=moments)
    taken.write(arguments, index, query, hits, moments, open_model, focus=focus)
    return 0


def _show(arguments: argparse.Namespace, index, query, hits, *, focus, moments) -> None:
    """Prints the hits, or the moments that they are of."""
    from stvh_jax.retrieval import hits_report

    if arguments.json:
        values = hits_report.hits_to_dict(index, query, hits, focus=focus, moments=moments)
        print(json.dumps(values, indent=2))
    else:
        print(found.table(index, query, hits, moments, focus=focus), end="")


def _watch(arguments: argparse.Namespace) -> int:
    asked.check(arguments)
    from stvh_jax.retrieval import watching
    from stvh_jax.retrieval.index import Index

    if arguments.post:
        watching.check_webhook(arguments.post)
    if arguments.out:
        files.output(arguments.out)
    index = Index.open(arguments.index)
    query, focus, _ = asked.read(arguments, index)
    options = {"focus": focus, "where": arguments.where}
    within = arguments.within
    if within is None:
        within = watching.distance_of_share(index, query, arguments.top, **options)
    added = watching.watch(
        index,
        query,
        within,
        interval=arguments.interval,
        until=math.inf if arguments.seconds is None else arguments.seconds,
        **options,
    )
    print(
        f"watching {arguments.index} for what is like {printable(query.title)} within {within:.4g} "
        f"bits, ranked by {printable(query.way)}",
        file=sys.stderr,
        flush=True,
    )
    for hit in added:
        _report(arguments, hit)
    return 0


def _report(arguments: argparse.Namespace, hit) -> None:
    """Says that a clip was found: on the screen, in a file, to a program."""
    from stvh_jax.retrieval import hits_report, watching

    line = json.dumps(hit.to_dict())
    print(line if arguments.json else hits_report.hit_line(hit), flush=True)
    if arguments.out:
        with files.writing(arguments.out), open(arguments.out, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    if arguments.post:
        try:
            watching.post(arguments.post, hit.to_dict())
        except UserError as error:  # the watch goes on
            print(f"warning: {error}", file=sys.stderr, flush=True)
