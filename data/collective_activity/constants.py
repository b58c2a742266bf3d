"""The Collective Activity dataset's classes, named splits, sequence lengths and frame sizes."""

# Class n of the files is CLASSES[n - 1]; the last two are the Extended set's.
CLASSES = ("na", "crossing", "waiting", "queueing", "walking", "talking", "dancing", "jogging")

# Who crosses and who walks does the same thing on another ground: the literature joins them.
MERGED = {"crossing": "moving", "walking": "moving"}
ACTIVITIES = {
    "four": ("moving", "waiting", "queueing", "talking"),
    "five": ("crossing", "waiting", "queueing", "walking", "talking"),
}

# Who does nothing that counts is `na`, which is an action and no activity.
ACTIONS = {classes: ("na", *names) for classes, names in ACTIVITIES.items()}

# Choices that a prepared set is made with, the default first; every other one is in the name of
# its variant. No two options share a choice.
OPTIONS = {"classes": ("four", "five"), "split": ("din", "sfu"), "window": ("forward", "centred")}

# The frames of a clip before its key frame; `centred` is HiGCIN's.
FRAMES_BEFORE_KEY = {"forward": 0, "centred": 5}
MAX_ACTORS = 13

NUM_SEQUENCES = 44
# Classes that the files of these sequences have.
NUM_CLASSES = 6
# No validation split is published. These nine of the training sequences hold a quarter of the
# training clips of each activity (24 to 27 % of the five), and train in both splits.
_VALIDATION = (14, 19, 21, 30, 31, 38, 40, 41, 42)
_TEST = {
    # ARG, DIN, COMPOSER, GAFL.
    "din": (5, 6, 7, 8, 9, 10, 11, 15, 16, 25, 28, 29),
    # HDTM, HRN, PCTDM, HiGCIN.
    "sfu": (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 25, 28, 29),
}


def split_sequences(
    test: tuple[int, ...], validation: tuple[int, ...], num_sequences: int
) -> dict[str, tuple[int, ...]]:
    """Returns the sequences of each split: those named, and the rest for training."""
    held_out = {*test, *validation}
    train = tuple(n for n in range(1, num_sequences + 1) if n not in held_out)
    return {"train": train, "validation": validation, "test": test}


SPLITS = {name: split_sequences(test, _VALIDATION, NUM_SEQUENCES) for name, test in _TEST.items()}

NUM_KEY_FRAMES = 2547
# Clips of the complete set, by (classes, split, window): those of train and validation, and those
# of test, in the order of ACTIVITIES.
_COUNTS = {
    ("four", "din", "forward"): ((745, 323, 411, 267), (363, 130, 91, 181)),
    ("four", "din", "centred"): ((733, 319, 407, 264), (359, 129, 90, 180)),
    ("four", "sfu", "forward"): ((894, 313, 411, 265), (214, 140, 91, 183)),
    ("four", "sfu", "centred"): ((883, 308, 407, 262), (209, 140, 90, 182)),
    ("five", "din", "forward"): ((403, 323, 411, 342, 267), (135, 135, 91, 223, 181)),
    ("five", "din", "centred"): ((395, 319, 407, 338, 264), (131, 134, 90, 223, 180)),
    ("five", "sfu", "forward"): ((408, 313, 411, 486, 265), (130, 145, 91, 79, 183)),
    ("five", "sfu", "centred"): ((400, 308, 407, 483, 262), (126, 145, 90, 78, 182)),
}
CLIP_COUNTS = {
    choice: {
        split: dict(zip(ACTIVITIES[choice[0]], numbers))
        for split, numbers in zip(("train+validation", "test"), counts)
    }
    for choice, counts in _COUNTS.items()
}
# Boxes of all these clips, by (classes, window), in the order of ACTIONS.
ACTION_COUNTS = {
    ("four", "forward"): dict(zip(ACTIONS["four"], (267, 4897, 2180, 3690, 1866))),
    ("four", "centred"): dict(zip(ACTIONS["four"], (267, 4831, 2153, 3655, 1849))),
    ("five", "forward"): dict(zip(ACTIONS["five"], (267, 2397, 2180, 3690, 2500, 1866))),
    ("five", "centred"): dict(zip(ACTIONS["five"], (267, 2355, 2153, 3655, 2476, 1849))),
}

# How many frames each sequence has, from sequence 1 on.
# fmt: off
SEQUENCE_LENGTHS = dict(enumerate((
    302, 347, 194, 257, 536, 401, 968, 221, 356, 302, 1813, 1084, 851, 723, 464, 1021, 905, 600,
    203, 342, 650, 361, 311, 321, 617, 734, 1804, 470, 635, 356, 690, 194, 193, 395, 707, 914,
    1049, 653, 518, 401, 707, 420, 410, 356,
), start=1))
# fmt: on
# Height and width of the frames (pixels).
FRAME_SIZES = dict.fromkeys(SEQUENCE_LENGTHS, (480, 720)) | dict.fromkeys(
    (15, 20, 21, 22, 23, 24), (450, 800)
)
