"""The Volleyball Dataset's class names, official split, frame sizes and published counts."""

ACTIVITIES = (
    "r_set",
    "r_spike",
    "r_pass",
    "r_winpoint",
    "l_set",
    "l_spike",
    "l_pass",
    "l_winpoint",
)
ACTIONS = (
    "blocking",
    "digging",
    "falling",
    "jumping",
    "moving",
    "setting",
    "spiking",
    "standing",
    "waiting",
)

# The official split, by video.
SPLITS = {
    "train": (1, 3, 6, 7, 10, 13, 15, 16, 18, 22, 23, 31)
    + (32, 36, 38, 39, 40, 41, 42, 48, 50, 52, 53, 54),
    "validation": (0, 2, 8, 12, 17, 19, 24, 26, 27, 28, 30, 33, 46, 49, 51),
    "test": (4, 5, 9, 11, 14, 20, 21, 25, 29, 34, 35, 37, 43, 44, 45, 47),
}
# Height and width of the videos' frames (pixels).
FRAME_SIZES = dict.fromkeys(range(55), (720, 1280)) | dict.fromkeys(
    (2, 37, 38, 39, 40, 41, 44, 45), (1080, 1920)
)

# Choices that a prepared set is made with, the default first; every other one is in the name of
# its variant. `corrected` are the labels as other researchers corrected them.
OPTIONS = {"labels": ("original", "corrected")}

# Annotated key frames, nine of which the corrected labels leave out.
NUM_CLIPS = 4830
# Clips of the complete data set, by labels: those of train and validation, and those of test, in
# the order of ACTIVITIES.
_COUNTS = {
    "original": (
        (452, 450, 591, 208, 464, 463, 600, 265),
        (192, 173, 210, 87, 168, 179, 226, 102),
    ),
    "corrected": (
        (429, 459, 609, 210, 437, 476, 604, 265),
        (167, 181, 221, 87, 168, 178, 227, 103),
    ),
}
CLIP_COUNTS: dict[str, dict[str, dict[str, int]]] = {
    labels: {
        split: dict(zip(ACTIVITIES, numbers))
        for split, numbers in zip(("train+validation", "test"), counts)
    }
    for labels, counts in _COUNTS.items()
}
# Boxes of all these clips, by labels, in the order of ACTIONS.
ACTION_COUNTS: dict[str, dict[str, int]] = {
    "original": dict(zip(ACTIONS, (2458, 2333, 1241, 341, 5120, 1332, 1216, 38686, 3600))),
    "corrected": dict(zip(ACTIONS, (2455, 2327, 1241, 339, 5112, 1331, 1215, 38611, 3590))),
}

# A clip is the frames key-5 .. key+4.
FRAMES_BEFORE_KEY = 5
MAX_ACTORS = 12
