"""Example queries and the clips nearest to them, as pictures of their key frames."""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Shaped, UInt8

from stvh_jax.codes.packing import hamming_distances
from stvh_jax.inference.encoded_clips import EncodedClips
from stvh_jax.names import natural_numbers
from stvh_jax.reporting import pages
from stvh_jax.unknown import UNKNOWN


def example_queries(queries: EncodedClips, *, count: int) -> list[int]:
    """Picks the first query of each activity in turn, so that no example is chosen by its hits."""
    activities = [activity for activity in np.unique(queries.activity) if activity != UNKNOWN]
    firsts = [int(np.flatnonzero(queries.activity == activity)[0]) for activity in activities]
    return firsts[:count]


def nearest(
    queries: EncodedClips, query: int, base: EncodedClips, *, focus: int, k: int
) -> list[tuple[int, int]]:
    """Finds the k clips of `base` nearest to one query, without the query itself.

    Args:
      queries: clips, one of which is the query.
      query: the query's index in `queries`.
      base: the clips searched.
      focus: the focus whose codes are compared.
      k: how many clips to find.

    Returns:
      (index in `base`, Hamming distance) of each, nearest first, and at equal distances in the
      natural order of match and clip.
    """
    distances = hamming_distances(queries.codes[focus][query : query + 1], base.codes[focus])[0]
    itself = _is_clip(base, queries, query)
    order = np.lexsort((natural_numbers(base.clip), natural_numbers(base.match), distances))
    return [(int(hit), int(distances[hit])) for hit in order if not itself[hit]][:k]


def picture_hits(
    dataset,
    queries: EncodedClips,
    everything: EncodedClips,
    splits: Sequence[str],
    *,
    focus: int,
    count: int,
    k: int,
) -> list[list]:
    """Shows example queries, each with the clips nearest to it in all splits.

    Args:
      dataset: an opened data set with frames.
      queries: the encoded queries.
      everything: the encoded clips of all splits, the queries among them.
      splits: the split of each clip of `everything`.
      focus: the focus whose codes are compared.
      count: how many queries to show.
      k: how many hits to show for each.

    Returns:
      For each query a row of `plots.Picture`: the query, then its hits, nearest first.
    """
    rows: list[list[tuple[int, int | None]]] = []
    for query in example_queries(queries, count=count):
        place = int(np.flatnonzero(_is_clip(everything, queries, query))[0])
        rows.append([(place, None), *nearest(queries, query, everything, focus=focus, k=k)])
    images = _images(dataset, everything, splits, {place for row in rows for place, _ in row})

    def picture(place: int, distance: int | None):
        label = everything.activity[place]
        activity = "unknown" if label == UNKNOWN else dataset.activity_names[label]
        match = str(everything.match[place])
        return pages.load_plots().Picture(images[place], activity, match, distance)

    return [[picture(place, distance) for place, distance in row] for row in rows]


def _images(
    dataset, clips: EncodedClips, splits: Sequence[str], places: Collection[int]
) -> dict[int, UInt8[np.ndarray, "_ _ 3"]]:
    """Reads the key frames of some clips by their place in `clips`, all of one split at once."""
    names = {place: (str(clips.match[place]), str(clips.clip[place])) for place in places}
    images = {}
    for split in {splits[place] for place in places}:
        of_split = {place: name for place, name in names.items() if splits[place] == split}
        by_name = dataset.key_frame_images(split, set(of_split.values()))
        images |= {place: by_name[name] for place, name in of_split.items()}
    return images


def _is_clip(clips: EncodedClips, queries: EncodedClips, query: int) -> Shaped[np.ndarray, "M"]:
    """Marks a query among other clips."""
    return (clips.match == queries.match[query]) & (clips.clip == queries.clip[query])
