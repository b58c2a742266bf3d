"""The Extended set's files on disk, in Collective Activity's layout; no TensorFlow."""

import functools
import pathlib

from data.annotations import ClipAnnotation, ClipFormat
from data.collective_activity.annotations import KeyFrame, majority
from data.collective_activity.constants import CLASSES, FRAMES_BEFORE_KEY, MAX_ACTORS
from data.collective_activity.raw import RawCollective, open_sequences
from data.collective_activity_extended import constants
from data.raw import named, named_splits


def label_six(key_frame: KeyFrame, *, walkers: str) -> ClipAnnotation | None:
    """Labels a clip: the activity is what most people do, except NA; walking is not an activity.

    Args:
      key_frame: the annotated people.
      walkers: "drop_clips" counts walking in the vote, makes no clip where it wins, and calls the
        other walkers NA; "na" calls all walkers NA before the vote; "drop_people" removes them
        before the vote.

    Returns:
      The clip; None where there is none, also because nobody does one of the six activities.
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
        clip=str(key_frame.frame),
        frame=key_frame.frame,
        activity=activity,
        boxes=key_frame.boxes[kept],
        actions=tuple("na" if actions[n] == "walking" else actions[n] for n in kept),
        line=key_frame.line,
    )


def clip_format(
    *, window: str = "forward", walkers: str = "drop_clips", split: str = "public"
) -> ClipFormat:
    """Returns what the clips have in common; of the choices it depends on the window alone."""
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
      root: the folder; a `splits.json` in it replaces the public split.
      walkers: how people who walk are labelled, see `label_six`.
      split: a name of `constants.SPLITS`.
      window: "forward", the clip is the frames key..key+9, or "centred", key-5..key+4.

    Raises:
      NotFound: there are no sequences.
      Damaged: `splits.json` is malformed.
    """
    return open_sequences(
        root,
        splits=named_splits(constants.SPLITS[split]),
        # The counts of the complete set are not known.
        count=None,
        form=clip_format(window=window),
        known_sizes=named(constants.FRAME_SIZES),
        clip_counts={},
        action_counts={},
        num_classes=len(CLASSES),
        label=functools.partial(label_six, walkers=walkers),
        known_lengths=named(constants.SEQUENCE_LENGTHS),
    )
