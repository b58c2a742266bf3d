"""What is searched for: clips of the index, of its prepared set, or from your own files."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from stvh_jax.errors import NotFound, UserError
from stvh_jax.inference.colour_encoder import with_colours
from stvh_jax.inference.encoder import Encoder
from stvh_jax.retrieval.engine import Name
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_model import IndexOutline
from stvh_jax.retrieval.indexing import COLOUR, VISUAL, encode_clip, record_of


@dataclasses.dataclass(frozen=True)
class Query:
    """Clips that are searched for together.

    Attributes:
      codes: packed codes of each clip, by focus.
      records: what is known of each: match, clip, start, stop, activity, split; None where it is
        not.
      relaxed: h of each clip by focus; None where they were not all encoded.
      image: a frame of the first clip, where it came from files.
    """

    codes: dict[int, UInt8[np.ndarray, "Q bytes"]]
    records: list[dict[str, Any]]
    relaxed: dict[int, Float[np.ndarray, "Q K"]] | None = None
    image: UInt8[np.ndarray, "H W 3"] | None = None

    @property
    def name(self) -> str:
        """Names the clips."""
        return ", ".join(
            "the given clip" if record["match"] is None else f"{record['match']}/{record['clip']}"
            for record in self.records
        )


def parse_clip(text: str) -> Name:
    """Reads MATCH/CLIP, of which the match may have slashes in its name.

    Raises:
      UserError: it is something else.
    """
    match, _, clip = text.rpartition("/")
    if not match or not clip:
        raise UserError(f"{text!r} is not the name of a clip; give MATCH/CLIP, for example 13/9825")
    return match, clip


def clips_query(
    index: Index,
    clips: Sequence[Name],
    open_model: Callable[[], tuple[Encoder, Any]],
    *,
    encode: bool = False,
) -> Query:
    """Takes clips of the index, or, where they are not in it, of the prepared set of its run.

    Args:
      index: where the codes are looked up.
      clips: (match, clip) of each.
      open_model: gives the index's model and its prepared set, opened, if they are needed.
      encode: encode those of the index too, so that h is known of all.

    Raises:
      NotFound: a clip is in neither.
      UserError: the model is another than the index's.
    """
    # A clip named twice weighs no more than once.
    clips = list(dict.fromkeys(clips))
    open_once = functools.cache(open_model)
    queries = [
        _indexed_query(index, name)
        if held and not encode
        else _encoded_query(index, name, *open_once())
        for name, held in zip(clips, index.holds(clips))
    ]
    relaxed = [query.relaxed for query in queries]
    known = [each for each in relaxed if each is not None]
    return Query(
        _joined([query.codes for query in queries]),
        [record for query in queries for record in query.records],
        relaxed=_joined(known) if len(known) == len(queries) else None,
    )


def _joined(parts: Sequence[dict[int, Any]]) -> dict[int, Any]:
    """Puts the rows of several arrays behind one another, focus by focus, as far as all have it."""
    foci = set.intersection(*map(set, parts))
    return {focus: np.concatenate([part[focus] for part in parts]) for focus in sorted(foci)}


def _indexed_query(index: Index, name: Name) -> Query:
    """Takes a clip of the index."""
    return Query(*index.get([name]))


def _encoded_query(index: Index, name: Name, encoder: Encoder, dataset: Any) -> Query:
    """Encodes a clip of the prepared set."""
    own = encoder_of(index, encoder)
    match, clip = name
    encoded = encode_clip(own, dataset, match, clip)
    if encoded is None:
        raise NotFound(
            f"clip {match}/{clip} is neither in the index nor in the prepared set of its run; give "
            "another, or --frames and --boxes"
        )
    split, encoding = encoded
    rate = index.info.origin.get("frames_per_second")
    record = record_of(encoder, dataset, encoding, split=split, frames_per_second=rate)
    known = {field: values[0] for field, values in record.items()}
    return Query(encoding.codes, [known], relaxed=encoding.relaxed)


def encoder_of(index: Index | IndexOutline, encoder: Encoder) -> Encoder:
    """Adapts a model to an index, if it made that: codes of two models cannot be compared.

    Raises:
      UserError: another made it.
    """
    if index.info.origin.get(VISUAL) == COLOUR:
        encoder = with_colours(encoder)
    made_by = index.info.origin.get("checkpoint", encoder.name)
    if encoder.name != made_by:
        raise UserError(
            f"the index was made with checkpoint {made_by}, but this run has checkpoint "
            f"{encoder.name}; give --run with the run that made it, or index the clips again"
        )
    return encoder.adapted(index.adaptation)


def files_query(
    index: Index,
    encoder: Encoder,
    frames: UInt8[np.ndarray, "T H W 3"] | None,
    boxes: Float[np.ndarray, "T N 4"],
    actor_mask: Bool[np.ndarray, "N"],
    appearance: Float[np.ndarray, "S C"] | None = None,
) -> Query:
    """Encodes a clip from elsewhere.

    Args:
      index: what is to be searched.
      encoder: its model.
      frames: see `Encoder.encode`, as the rest.
      boxes: see there.
      actor_mask: see there.
      appearance: see there.

    Raises:
      UserError: it does not fit the model, or the model is another than the index's.
    """
    encoding = encoder_of(index, encoder).encode(frames, boxes, actor_mask, appearance=appearance)
    activity = encoder.activity_names[int(encoding.activity_probabilities[0].argmax())]
    unknown = dict.fromkeys(("match", "clip", "start", "stop", "activity", "split"))
    image = None if frames is None else frames[encoder.config.model.key_frame]
    known = unknown | {"predicted": activity}
    return Query(encoding.codes, [known], relaxed=encoding.relaxed, image=image)
