"""The Extended set's files on disk, in Collective Activity's layout; no TensorFlow."""

import functools
import pathlib

from data.annotations import ClipAnnotation, ClipFormat, KeyFrame, majority
from data.collective_activity.constants import CLASSES, FRAMES_BEFORE_KEY, MAX_ACTORS
from data.collective_activity.raw import RawCollective, open_sequences
from data.collective_activity_extended import constants


def label_six(key_frame: KeyFrame, *, walkers: str) -> ClipAnnotation | None:
    """Labels a clip: the activity is what most people do, NA aside; walking is none.

    Args:
      key_frame: the annotated people.
      walkers: "drop_clips" finds the majority with walking among the classes, makes no clip where
        it is walking, and calls the other walkers NA; "na" calls all walkers NA before;
        "drop_people" removes them before.

    Returns:
      The clip, None if it makes none: also where nobody does anything of the six.
    """
    actions = [CLASSES[number - 1] for number in key_frame.classes]
    dropped = {"walking"} if walkers == "drop_people" else set()
    kept = [n for n, action in enumerate(actions) if action not in dropped]
    counted = [action for action in actions if action != "na"]
    if walkers != "drop_clips":
        counted = [action for action in counted if action != "walking"]
    activity = majority(counted)
    if activity in (None, "walking"):
        return None
    return ClipAnnotation(
        key_frame.frame,
        activity,
        key_frame.boxes[kept],
        tuple("na" if actions[n] == "walking" else actions[n] for n in kept),
        key_frame.line,
    )


def clip_format(
    *, window: str = "forward", walkers: str = "drop_clips", split: str = "public"
) -> ClipFormat:
    """Returns what the clips have in common; only the window changes something of it."""
    return ClipFormat(
        activities=constants.ACTIVITIES,
        actions=constants.ACTIONS,
        max_actors=MAX_ACTORS,
        key_frame=FRAMES_BEFORE_KEY[window],
    )


def open_raw(
    root: str | pathlib.Path,
    *,
    walkers: str = "drop_clips",
    split: str = "public",
    window: str = "forward",
) -> RawCollective:
    """Opens the folder that holds `ActivityDataset/` and `ActivityDataset2/`, or one of them.

    Args:
      root: the folder; a `splits.json` in it stands in for the public split.
      walkers: what becomes of those who walk, see `label_six`.
      split: a name of `constants.SPLITS`.
      window: "forward", the clip is the frames key..key+9, or "centred", key-5..key+4.

    Raises:
      UserError: if there are no sequences, or `splits.json` is malformed.
    """
    return open_sequences(
        root,
        splits=constants.SPLITS[split],
        # What the complete set counts could not be had.
        count=None,
        form=clip_format(window=window),
        known_sizes=constants.FRAME_SIZES,
        clip_counts={},
        action_counts={},
        num_classes=len(CLASSES),
        label=functools.partial(label_six, walkers=walkers),
        known_lengths=constants.SEQUENCE_LENGTHS,
    )
