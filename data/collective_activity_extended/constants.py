"""The Collective Activity Extended set: six activities, 74 sequences, the public split."""

from data.collective_activity import constants as collective

ACTIVITIES = ("crossing", "waiting", "queueing", "talking", "dancing", "jogging")
ACTIONS = ("na", *ACTIVITIES)

# How people who walk are labelled, as walking is not an activity of this set. `drop_clips`: clips
# whose majority walks are left out, other walkers are NA. `na`: all walkers are NA, before the
# majority is found. `drop_people`: walkers are removed, also before.
OPTIONS = {
    "walkers": ("drop_clips", "na", "drop_people"),
    "split": ("public",),
    "window": collective.OPTIONS["window"],
}

NUM_SEQUENCES = 74
# The only public split, of IARG, which ends with sequence 72; the two others are for training.
_TEST = (5, 6, 7, 8, 9, 10, 11, 15, 16, 25, 28, 29, 52, 53, 59, 60, 64, 66, 68, 70, 71)
# That of the first 44 sequences, and a fifth of the others, chosen by number alone.
_VALIDATION = collective.SPLITS["din"]["validation"] + (47, 51, 56, 62, 67, 73)
SPLITS = {"public": collective.split_sequences(_TEST, _VALIDATION, NUM_SEQUENCES)}

# As public loaders list them, and as the authors' tracks end.
# fmt: off
SEQUENCE_LENGTHS = collective.SEQUENCE_LENGTHS | dict(enumerate((
    151, 174, 218, 47, 223, 365, 362, 781, 401, 486, 695, 462, 443, 629, 899, 550, 373, 200, 433,
    319, 443, 315, 391, 945, 1011, 449, 351, 751, 325, 400,
), start=45))
# fmt: on
FRAME_SIZES = (
    collective.FRAME_SIZES
    | dict.fromkeys(range(45, 60), (480, 640))
    | dict.fromkeys(range(60, 75), (720, 1280))
)
