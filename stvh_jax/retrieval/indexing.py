"""From a trained model and a prepared set to an index, and from a clip to a query."""

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Int

from stvh_jax import console, digests
from stvh_jax.clips import Clips
from stvh_jax.codes.filter_matrix import DEFAULTS
from stvh_jax.errors import UserError
from stvh_jax.inference import run_filter
from stvh_jax.inference.colour_encoder import ColourEncoder
from stvh_jax.inference.encoded_clips import (
    EncodedClips,
    check_same_classes,
    encode_clips,
    encode_split,
    predictions,
)
from stvh_jax.inference.encoder import Encoder
from stvh_jax.retrieval.checks import engine_kind
from stvh_jax.retrieval.engine import Name, check_adaptable
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.origin import COLOUR, DATA_DIGESTS, DATA_DIR, LABEL_FREE, VISUAL
from stvh_jax.retrieval.where import quoted
from stvh_jax.unknown import UNKNOWN

# Clips encoded and written at a time: what a killed indexing has to do again.
_CLIPS_AT_ONCE = 512


def index_split(
    run: epath.Path,
    encoder: Encoder,
    dataset,
    uri: epath.PathLike,
    *,
    split: str,
    stored_foci: Sequence[int] | None = None,
    filter_options: Mapping[str, Any] | None = None,
    frames_per_second: float = 25.0,
    media: str = "",
    adapt: bool = False,
) -> Index:
    """Encodes the clips of a split and adds them to an index, which is made if there is none.

    Clips that are there already are left as they are: an indexing that was killed goes on. Clips of
    the same names from another prepared set are refused.

    Args:
      run: the model's run, which keeps the filter matrix.
      encoder: the model.
      dataset: an opened `data.prepared.pipeline.ClipDataset`.
      uri: where the index is.
      split: a split, or several as in "train+test".
      stored_foci: the foci whose own codes are stored; the first and the last if None, for the
        visual code cannot be derived from that of the activity. A model with bit weights has one.
      filter_options: `values`, `per_step` and `normalise` of `filter_fitting.fit`, where other than
        its defaults.
      frames_per_second: turns frame numbers into the seconds of `start` and `stop`.
      media: the file of a clip, with {match} and {clip} in it where they stand in its name.
      adapt: whether the visual bits are then fitted, without labels, to all clips of the index.

    Raises:
      UserError: the index is of another run or prepared set, a split has no clip, the data other
        classes, or there are filter options for a model that derives no focus.
    """
    check_same_classes(encoder, dataset)
    if not 0 < frames_per_second < math.inf:
        raise UserError(f"{frames_per_second} frames per second; give more than 0")
    _media_of(media, "match", "clip")
    parts = split.split("+")
    for part in parts:
        dataset.num_clips(part)
    if adapt:
        adapts = engine_kind(uri).adapts
        check_adaptable(f"{run}: this model", encoder.bit_weights, adapts=adapts)
    stored = _choose_stored(encoder, stored_foci)
    origin = origin_of(run, encoder) | {
        "frames_per_second": frames_per_second,
        "media": media,
        **_filter_facts(encoder, filter_options),
    }
    if Index.exists(uri):
        index = _open_same(uri, encoder, origin, stored)
        for part in parts:
            _check_same_clips(index, dataset, part, uri)
    else:
        origin[DATA_DIGESTS] = {part: digest_of(dataset, part) for part in dataset.splits}
        index = _create(run, encoder, dataset, uri, origin, stored)
    own = encoder.adapted(index.adaptation)
    for part in parts:
        _index_part(index, own, dataset, part, media=media, rate=frames_per_second)
    if adapt:
        _adapt(index, encoder, dataset)
    return index


def _adapt(index: Index, encoder: Encoder, dataset) -> None:
    """Fits the visual bits to the clips of an index, which are all in the prepared set.

    What 10^5 clips show takes 400 MB meanwhile.

    Raises:
      UserError: some are not.
    """
    splits = [each for each in dataset.splits if index.count(f"split = {quoted(each)}")]
    clips = EncodedClips.concatenate([encode_split(encoder, dataset, each) for each in splits])
    assert clips.embedded is not None  # the code is graded
    held = np.array(index.holds(list(zip(clips.match, clips.clip))), bool)
    index.adapt(clips.embedded[held], match=clips.match[held], clip=clips.clip[held])


def _choose_stored(encoder: Encoder, wanted: Sequence[int] | None) -> tuple[int, ...]:
    """Chooses the foci whose codes are stored: those wanted, or the first and the last.

    Raises:
      UserError: the model has no such focus, or the last is not among them.
    """
    foci = tuple(encoder.foci)
    stored = tuple(wanted) if wanted else tuple(sorted({foci[0], foci[-1]}))
    if not set(stored) <= set(foci) or foci[-1] not in stored:
        raise UserError(
            f"stored foci {list(stored)}; choose from {list(foci)}, and include {foci[-1]}"
        )
    return stored


def _filter_facts(encoder: Encoder, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Says how the filter matrix of an index is fitted; nothing of a model with bit weights.

    Raises:
      UserError: such a model is given options for it.
    """
    chosen = DEFAULTS | dict(options or {})
    if encoder.bit_weights is None:
        return {"filter_matrix": chosen}
    if chosen != DEFAULTS:
        raise UserError(
            "this model has one code for all foci, and no filter matrix that derives some; leave "
            "out the options of the filter"
        )
    return {}


def _index_part(
    index: Index, encoder: Encoder, dataset, split: str, *, media: str, rate: float
) -> None:
    """Adds the clips of one split, from the first to the last that is not in the index."""
    missing = _missing(index, dataset, split)
    held = dataset.num_clips(split) - len(missing)
    if held > index.count(f"split = {quoted(split)}"):
        raise UserError(
            f"clips of split {split!r} have the names of clips that are in the index already, of "
            "another split; give another place"
        )
    if not len(missing):
        return
    total = dataset.num_clips(split)
    done, stop = int(missing[0]), int(missing[-1]) + 1
    size = encoder.config.train.evaluation_batch_size
    batches = dataset.evaluation_batches(split, batch_size=size, start=done)
    while done < stop:
        encoded = encode_clips(encoder, itertools.islice(batches, -(-_CLIPS_AT_ONCE // size)))
        record = record_of(encoder, dataset, encoded, split=split, frames_per_second=rate)
        if media:
            names = zip(record["match"], record["clip"])
            record["media"] = [_media_of(media, *name) for name in names]
        index.upsert(encoded.codes, **record)
        done += len(encoded)
        console.show(f"indexing {split}", total, done)


def _missing(index: Index, dataset, split: str) -> Int[np.ndarray, "missing"]:
    """Finds the places within a split of the clips that are not in the index."""
    names = []
    for batch in dataset.evaluation_batches(split, batch_size=64, frames=False):
        names += [name for name in _names_of(batch) if name is not None]
    return np.flatnonzero(~np.array(index.holds(names), bool))


def _open_same(uri, encoder: Encoder, origin: Mapping, stored: tuple[int, ...]) -> Index:
    """Opens an index that is there.

    Raises:
      UserError: it is of another run, or has other codes.
    """
    index = Index.open(uri)
    check_visual(index, encoder)
    there = {**index.info.origin, "stored foci": index.info.stored_foci}
    for name, value in {**origin, "stored foci": stored}.items():
        if name != DATA_DIR and there.get(name) != value:
            raise UserError(
                f"{uri} already holds an index with {name} = {there.get(name)!r}, not {value!r}; "
                "give another place, or delete it"
            )
    return index


def _check_same_clips(index: Index, dataset, split: str, uri) -> None:
    """Checks that a split is that of the prepared set with which an index was begun.

    Raises:
      UserError: it has other clips, boxes or labels, perhaps of the same names.
    """
    there = index.info.origin.get(DATA_DIGESTS)
    if isinstance(there, Mapping) and there.get(split) != digest_of(dataset, split):
        raise UserError(
            f"{uri} is an index of another prepared set, whose split {split!r} has other clips, "
            "boxes or labels; give another place, or delete it"
        )


def digest_of(dataset, split: str) -> str:
    """Computes a digest of a split beside pixels: names, frames, labels, boxes, appearance."""
    digest = hashlib.sha256()
    for batch in dataset.evaluation_batches(split, batch_size=64, frames=False):
        names = [name for name in _names_of(batch) if name is not None]
        digest.update(json.dumps(names).encode())
        present, actors = np.asarray(batch.clip_mask, bool), np.asarray(batch.actor_mask, bool)
        # What stands in the slots of no actor says nothing.
        boxes = np.where(actors[:, None, :, None], np.asarray(batch.boxes, np.float32), 0)
        for values in (batch.frame, batch.activity, actors, boxes, batch.appearance):
            if values is not None:  # few clips have appearance
                digest.update(digests.of_array(np.asarray(values)[present]).encode())
    return digest.hexdigest()


def _create(run, encoder: Encoder, dataset, uri, origin: Mapping, stored: tuple[int, ...]) -> Index:
    """Makes an index, with the run's filter matrix if there is anything to derive."""
    matrix = None
    if set(stored) != set(encoder.foci):
        base = encoder.config.data.train_split
        matrix = run_filter.load_or_fit(
            run,
            lambda: encode_split(encoder, dataset, base).codes,
            checkpoint=encoder.name,
            base_split=base,
            seed=encoder.config.seed,
            **origin["filter_matrix"],
        )
    return Index.create(
        uri,
        bits=encoder.bits,
        stored_foci=stored,
        filter_matrix=matrix,
        bit_weights=encoder.bit_weights,
        readout=encoder.readout,
        origin=origin,
    )


def origin_of(run: epath.PathLike, encoder: Encoder) -> dict[str, Any]:
    """Says which codes an index holds: of which run, checkpoint and data."""
    data = encoder.config.data
    return {
        "run": str(run),
        "model": encoder.config.model.name,
        "checkpoint": encoder.name,
        "checkpoint_kind": encoder.checkpoint,
        "data": {"name": data.name, "variant": data.variant},
        DATA_DIR: str(epath.Path(data.dir).absolute()),
        **({VISUAL: COLOUR} if isinstance(encoder, ColourEncoder) else {}),
        **({} if encoder.names_activities else {LABEL_FREE: True}),
    }


def check_visual(index: Index, encoder: Encoder) -> None:
    """Checks that an index has visual bits of colours if a model makes such.

    Raises:
      UserError: it has others.
    """
    there = index.info.origin.get(VISUAL) == COLOUR
    if there != isinstance(encoder, ColourEncoder):
        raise UserError(
            f"the visual bits in {index.uri} are {'of colours' if there else 'those of its model'};"
            f" {'give' if there else 'leave out'} --visual colour, or give another place"
        )


def record_of(
    encoder: Encoder,
    dataset,
    encoded: EncodedClips,
    *,
    split: str,
    frames_per_second: float | None,
) -> dict[str, list]:
    """Gives the record of encoded clips, a list for each field but `media`."""
    start, stop = _times_of(
        encoded.frame,
        frames_before=dataset.key_frame,
        num_frames=encoder.config.model.num_frames,
        frames_per_second=frames_per_second,
    )
    activities = dataset.activity_names
    predicted, confidence = predictions(encoder, encoded)
    return {
        "match": encoded.match.tolist(),
        "clip": encoded.clip.tolist(),
        "start": start,
        "stop": stop,
        "activity": [None if label == UNKNOWN else activities[label] for label in encoded.activity],
        "predicted": list(predicted),
        "confidence": list(confidence),
        "split": [split] * len(encoded),
    }


def _times_of(
    frames: Int[np.ndarray, "M"],
    *,
    frames_before: int,
    num_frames: int,
    frames_per_second: float | None,
) -> tuple[list[float | None], list[float | None]]:
    """Gives the seconds at which clips start and stop; None where frame or rate is unknown."""
    if frames_per_second is None:
        return [None] * len(frames), [None] * len(frames)
    known = (frames != UNKNOWN).tolist()
    first = frames - frames_before
    seconds = np.stack([first, first + num_frames]) / frames_per_second
    start, stop = (
        [time if is_known else None for time, is_known in zip(times, known)]
        for times in seconds.tolist()
    )
    return start, stop


def encode_clip(
    encoder: Encoder, dataset, match: str, clip: str
) -> tuple[str, EncodedClips] | None:
    """Encodes one clip of a prepared set and names its split; None if it is in none."""
    for split in dataset.splits:
        place = 0
        for batch in dataset.evaluation_batches(split, batch_size=64, frames=False):
            names = _names_of(batch)
            if (match, clip) in names:
                start = place + names.index((match, clip))
                batches = dataset.evaluation_batches(split, batch_size=1, start=start)
                one = itertools.islice(batches, 1)
                return split, encode_clips(encoder, one, keep_relaxed=True)
            place += len(names)
    return None


def _names_of(batch: Clips) -> list[Name | None]:
    """Gives the name of each clip of a batch; None for one that only fills the batch."""
    matches, clips, present = (
        np.asarray(values).tolist() for values in (batch.match, batch.clip, batch.clip_mask)
    )
    return [
        (str(match), str(clip)) if valid else None
        for match, clip, valid in zip(matches, clips, present)
    ]


def _media_of(template: str, match: str, clip: str) -> str:
    """Fills in the file of a clip.

    Raises:
      UserError: the template names something else than {match} and {clip}.
    """
    try:
        return template.format(match=match, clip=clip)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"media {template!r} cannot be filled in; it may contain {{match}} and {{clip}} only"
        ) from error
