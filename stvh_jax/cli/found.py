"""What a query finds: how much, and the hits, or the moments that they are of."""

import argparse
from collections.abc import Sequence
from typing import Any

from stvh_jax.cli import parsing


def add_options(parser: parsing.StrictParser) -> None:
    """Adds the options."""
    parser.add_argument("--k", type=int, help="how many hits; 10, or all within a radius")
    parser.add_argument(
        "--radius", type=float, metavar="BITS", help="the largest distance in bits, included"
    )
    parser.add_argument(
        "--exclude-near", type=float, metavar="SECONDS", help="leave out what is near the query"
    )
    parser.add_argument("--exclude-match", action="store_true", help="leave out the query's match")
    parser.add_argument(
        "--moments",
        action=argparse.BooleanOptionalAction,
        help="join hits that overlap in time; if left out, where there are such",
    )


def find(
    arguments: argparse.Namespace, index: Any, query: Any, *, focus: str | float
) -> tuple[Any, Sequence[Any] | None]:
    """Finds the hits, and the moments that are shown in their place; None where they are not."""
    from stvh_jax.retrieval import asking

    def search(count):
        return asking.search(
            index,
            query,
            focus=focus,
            k=count,
            radius=arguments.radius,
            where=arguments.where,
            exclude_near=arguments.exclude_near,
            exclude_match=arguments.exclude_match,
        )

    hits = search(10 if arguments.k is None and arguments.radius is None else arguments.k)
    return hits, _moments(arguments, index, query, hits, search)


def table(
    index: Any, query: Any, hits: Any, moments: Sequence[Any] | None, *, focus: str | float
) -> str:
    """Lays out the hits, or the moments, as plain text."""
    from stvh_jax.retrieval import hits_report

    if moments is None:
        return hits_report.hits_table(index, query, hits, focus=focus)
    return hits_report.moments_table(index, query, moments, focus=focus)


def _moments(arguments: argparse.Namespace, index, query, hits, search):
    from stvh_jax.retrieval import moments

    wanted, step = arguments.moments, moments.step_of(index)
    beside = [] if query.clips is None else query.clips.records
    if wanted is None:
        wanted = moments.overlap_in_time(hits, beside=beside, step=step)
    if not wanted:
        return None
    if arguments.k is None and arguments.radius is not None:
        return moments.moments_of(moments.apart_from(hits, beside, step=step), step=step)
    return moments.find_moments(search, arguments.k or 10, beside=beside, step=step)
