"""Tells what of a raw Volleyball folder is there, missing or malformed; no TensorFlow."""

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

from data.annotations import (
    ACTION_COUNTS,
    ACTIONS,
    ACTIVITIES,
    CLIP_COUNTS,
    NUM_FRAMES,
    ClipAnnotation,
)
from data.volleyball.raw import RawVolleyball, check_frame, open_raw
from stvh_jax.errors import UserError

# More would scroll the tables away.
MAX_PROBLEMS_SHOWN = 20

_VIDEO_ROW = "{:>5}  {:<10}  {:>5}  {:>11}  {:>13}  {:>8}"


@dataclasses.dataclass
class VideoReport:
    """What one video has.

    Attributes:
      split: the split it belongs to.
      activities: its clips, counted by activity.
      actions: its boxes, counted by action.
      with_frames: clips with all T frames whole; None where frames were not asked for.
      tracked: annotated people matched to a track; None where the set has no tracks.
      problems: one line for each thing that is missing or malformed.
    """

    split: str
    activities: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    actions: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    with_frames: int | None = None
    tracked: int | None = None
    problems: list[str] = dataclasses.field(default_factory=list)


def check_volleyball(
    root: str | pathlib.Path, *, frames: bool, report: Callable[[str], None]
) -> bool:
    """Compares a raw folder with the complete dataset and reports, line by line.

    Args:
      root: the folder that holds `videos/`.
      frames: whether every clip's frames are wanted too; each is decoded.
      report: called with each line of the report.

    Returns:
      Whether the folder is complete and well-formed.

    Raises:
      UserError: if there are no videos, or `splits.json` is malformed.
    """
    raw = open_raw(root)
    report(f"{raw.videos}, {'official splits' if raw.official else 'splits of splits.json'}")
    report(_VIDEO_ROW.format("video", "split", "clips", "with frames", "on tracks", "problems"))
    videos = []
    for split, numbers in raw.splits.items():
        for video in numbers:
            found = inspect_video(raw, video, split=split, frames=frames)
            videos.append(found)
            report(_video_row(video, found))
    problems = [problem for found in videos for problem in found.problems]
    problems += _report_clips(raw, videos, report)
    problems += _report_actions(raw, videos, report)
    _report_coverage(videos, report)
    report("")
    report(f"problems: {len(problems)}" if problems else "complete: no problem found")
    for problem in problems[:MAX_PROBLEMS_SHOWN]:
        report(f"  {problem}")
    if len(problems) > MAX_PROBLEMS_SHOWN:
        report(f"  ... and {len(problems) - MAX_PROBLEMS_SHOWN} more")
    return not problems


def inspect_video(raw: RawVolleyball, video: int, *, split: str, frames: bool) -> VideoReport:
    """Reads all that a video has and collects what is wrong with it."""
    found = VideoReport(split)
    try:
        clips, errors = raw.scan(video)
    except UserError as error:
        found.problems.append(str(error))
        return found
    found.problems += map(str, errors)
    found.activities.update(clip.activity for clip in clips)
    found.actions.update(action for clip in clips for action in clip.actions)
    _inspect_tracks(raw, video, clips, found)
    if frames:
        _inspect_frames(raw, video, clips, found)
    return found


def _inspect_tracks(
    raw: RawVolleyball, video: int, clips: Sequence[ClipAnnotation], found: VideoReport
) -> None:
    if not raw.has_tracks():
        return
    found.tracked = 0
    for clip in clips:
        try:
            _, tracked = raw.boxes(video, clip)
            found.tracked += int(tracked.sum())
        except UserError as error:
            found.problems.append(str(error))


def _inspect_frames(
    raw: RawVolleyball, video: int, clips: Sequence[ClipAnnotation], found: VideoReport
) -> None:
    found.with_frames = 0
    incomplete = []
    for clip in clips:
        if not raw.has_frames(video, clip.clip):
            incomplete.append(clip.clip)
            continue
        damaged = []
        for path in raw.frame_paths(video, clip.clip):
            try:
                check_frame(path, raw.frame_size(video))
            except UserError as error:
                damaged.append(str(error))
        found.problems += damaged
        found.with_frames += not damaged
    if incomplete:
        found.problems.append(
            f"{raw.videos / str(video)}: {len(incomplete)} of {len(clips)} clips lack some of "
            f"their {NUM_FRAMES} frames, first clip {incomplete[0]}"
        )


def _video_row(video: int, found: VideoReport) -> str:
    actors = found.actions.total()
    return _VIDEO_ROW.format(
        video,
        found.split,
        found.activities.total(),
        "-" if found.with_frames is None else found.with_frames,
        f"{found.tracked / actors:.1%}" if found.tracked is not None and actors else "-",
        len(found.problems),
    )


def _report_clips(
    raw: RawVolleyball, videos: Sequence[VideoReport], report: Callable[[str], None]
) -> list[str]:
    """Reports the clips by split and activity; returns what differs from the complete set."""
    found = {
        name: sum(
            (video.activities for video in videos if video.split in name.split("+")),
            collections.Counter(),
        )
        for name in ("train", "validation", "train+validation", "test")
    }
    expected = CLIP_COUNTS if raw.official else {}
    columns = []
    for name, counts in found.items():
        columns.append((name, counts))
        if name in expected:
            columns.append(("expected", collections.Counter(expected[name])))
    _report_table("clips", ACTIVITIES, columns, report)
    total = found["train+validation"].total() + found["test"].total()
    problems = [] if total == raw.num_clips else [f"{total} clips, expected {raw.num_clips}"]
    for name, counts in expected.items():
        problems += _differences(f"{name} clips", found[name], counts)
    return problems


def _report_actions(
    raw: RawVolleyball, videos: Sequence[VideoReport], report: Callable[[str], None]
) -> list[str]:
    """Reports the boxes by action; returns what differs from the complete set."""
    found = sum((video.actions for video in videos), collections.Counter())
    columns = [("found", found)]
    if raw.official:
        columns.append(("expected", collections.Counter(ACTION_COUNTS)))
    _report_table("boxes", ACTIONS, columns, report)
    return _differences("boxes", found, ACTION_COUNTS) if raw.official else []


def _report_table(
    title: str,
    rows: Sequence[str],
    columns: Sequence[tuple[str, collections.Counter]],
    report: Callable[[str], None],
) -> None:
    """Reports counters side by side, one class a row, their totals last."""
    report("")
    report("  ".join([f"{title:<10}", *(f"{name:>8}" for name, _ in columns)]))
    for row in (*rows, "all"):
        cells = (
            f"{counts.total() if row == 'all' else counts[row]:>{max(8, len(name))}}"
            for name, counts in columns
        )
        report("  ".join([f"{row:<10}", *cells]))


def _report_coverage(videos: Sequence[VideoReport], report: Callable[[str], None]) -> None:
    """Reports, for each split, the clips with frames and the people on tracks."""
    report("")
    for split in dict.fromkeys(video.split for video in videos):
        members = [video for video in videos if video.split == split]
        clips = sum(video.activities.total() for video in members)
        actors = sum(video.actions.total() for video in members)
        tracked = sum(video.tracked or 0 for video in members)
        line = f"{split}: {tracked} of {actors} people on tracks"
        if any(video.with_frames is not None for video in members):
            whole = sum(video.with_frames or 0 for video in members)
            line += f", {whole} of {clips} clips with all {NUM_FRAMES} frames"
        report(line)


def _differences(what: str, found: Mapping[str, int], expected: Mapping[str, int]) -> list[str]:
    return [
        f"{what} {name}: {found[name]}, expected {count}"
        for name, count in expected.items()
        if found[name] != count
    ]
