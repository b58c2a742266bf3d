"""search.py groups: puts the clips of an index into groups of those that are alike."""

import argparse
import json
import sys

from stvh_jax.cli import asked, parsing


def add_options(parser: parsing.StrictParser) -> None:
    """Adds the options."""
    parser.set_defaults(run=_groups)
    asked.add_index(parser)
    add_number(parser)
    asked.add_focus(parser)
    asked.add_model(parser)
    parser.add_argument(
        "--grid", metavar="FILE", help="draw what stands for each group, as .png or .svg, 4 a page"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_number(parser: parsing.StrictParser) -> None:
    """Adds the option of how many groups there are."""
    parser.add_argument(
        "--number", type=int, metavar="G", help="how many groups; if left out, a choice of 2 to 16"
    )


def _groups(arguments: argparse.Namespace) -> int:
    from stvh_jax.retrieval import groups_report
    from stvh_jax.retrieval.hits import GRIDS, check_output
    from stvh_jax.retrieval.index import Index

    if arguments.grid:
        check_output(arguments.grid, GRIDS)
    index = Index.open(arguments.index)
    focus = asked.focus_of(arguments, index)
    groups = index.groups(arguments.number, focus=focus, where=arguments.where)
    if arguments.json:
        print(json.dumps(groups_report.groups_to_dict(index, groups, focus=focus), indent=2))
    else:
        print(groups_report.groups_table(groups, focus=focus), end="")
    if arguments.grid:
        from stvh_jax.retrieval import hit_pictures  # slow to import, as what reads videos is

        open_model = asked.model_opener(arguments, index)
        key_frames = lambda: open_model()[1].key_frame_images  # noqa: E731
        for path in hit_pictures.write_groups(arguments.grid, groups, key_frames, focus=focus):
            print(f"wrote {path}", file=sys.stderr if arguments.json else sys.stdout)
    return 0
