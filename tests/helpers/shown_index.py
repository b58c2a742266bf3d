"""A small index to be shown, made without a model: two videos, and clips whose video is missing.

Of each clip's 64 bits the visual ones say which match it is of and the others which activity, each
with a few flipped. So at the left end of the slider the same match is near, and at the right end
the same activity.
"""

import dataclasses
import pathlib

import numpy as np

from stvh_jax.codes.bit_weights import laid_out
from stvh_jax.codes.packing import pack
from stvh_jax.codes.readout import Readout
from stvh_jax.retrieval import kept_tracks
from stvh_jax.retrieval.index import Index
from tests.helpers.filmed import film, opened

BITS, VISUAL, LAYERS = 64, 24, 3
ACTIVITIES = ("pass", "set", "spike")
SECONDS = 20  # of each video, with a clip each second
# Matches by their videos: two that are there, one that is gone, and one that was never known.
FILMED, GONE, UNKNOWN = ("cup final", "gala"), "away", "it's"
OWN = {"player": "text", "starred": "bool"}
PLAYERS = ("Ana", "Bo's", None, 'Zoë "Z"')


@dataclasses.dataclass(frozen=True)
class Shown:
    """An index with what its clips are.

    Attributes:
      folder: with the videos, and the index in `index`.
      records: of the clips, in the order in which they were added.
      codes: theirs, packed.
    """

    folder: pathlib.Path
    records: list[dict]
    codes: np.ndarray

    @property
    def uri(self):
        return str(self.folder / "index")

    def open(self):
        return Index.open(self.uri)


def _records(folder):
    records = []
    for match in (*FILMED, GONE, UNKNOWN):
        count = SECONDS if match in FILMED else 6
        for place in range(count):
            start = float(place)
            records.append(
                {"match": match, "clip": str(place), "start": start, "stop": start + 0.8}
            )
    # A clip between two others, with which it is one moment.
    records.append({"match": "gala", "clip": "20", "start": 3.5, "stop": 4.3})
    for number, record in enumerate(records):
        true = ACTIVITIES[(7 * int(record["clip"]) + len(record["match"])) % 3]
        known = number % 3 != 1
        record |= {
            "activity": true if known else None,
            "predicted": true,
            "confidence": 0.5 + number % 40 / 100,
            "media": None if record["match"] == UNKNOWN else str(folder / f"{record['match']}.mp4"),
            "player": PLAYERS[number % 4],
            "starred": (True, False, None)[number % 3],
        }
    return records


def _signs(records, random):
    """Draws bits: those of the match, then those of the activity, with some of each flipped."""
    of_match = {match: random.random(VISUAL) < 0.5 for match in (*FILMED, GONE, UNKNOWN)}
    of_activity = {name: random.random(BITS - VISUAL) < 0.5 for name in ACTIVITIES}
    rows = [np.append(of_activity[each["predicted"]], of_match[each["match"]]) for each in records]
    return np.array(rows) ^ (random.random((len(records), BITS)) < 0.12), of_activity


def make_shown_index(folder):
    """Makes the videos and the index in a folder."""
    random = np.random.default_rng(5)
    records = _records(folder)
    signs, of_activity = _signs(records, random)
    kernel = np.zeros((BITS, len(ACTIVITIES)))
    for place, name in enumerate(ACTIVITIES):
        kernel[: BITS - VISUAL, place] = np.where(of_activity[name], 0.3, -0.3)
    index = Index.create(
        folder / "index",
        bits=BITS,
        stored_foci=(LAYERS,),
        bit_weights=laid_out(bits=BITS, visual_bits=VISUAL, layers=LAYERS),
        readout=Readout(ACTIVITIES, kernel, np.zeros(len(ACTIVITIES))),
        columns=OWN,
    )
    codes = pack(signs)
    index.add(codes, **{name: [record[name] for record in records] for name in records[0]})
    for seed, match in enumerate(FILMED):
        video, tracks = opened(film(folder, match, 25 * SECONDS, seed=seed))
        kept_tracks.keep(index.uri, match, tracks, video)
    return Shown(folder, records, codes)
