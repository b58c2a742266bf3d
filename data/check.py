"""Reports what a raw folder has, and what is missing or malformed; no TensorFlow."""

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence

from data.annotations import NUM_FRAMES, ClipAnnotation
from data.appearance import Appearance, lacking
from data.raw import RawClips, check_frame
from stvh_jax.errors import UserError

# More would scroll the tables away.
MAX_PROBLEMS_SHOWN = 20


@dataclasses.dataclass
class MatchReport:
    """What one match has, and what is wrong with it.

    Attributes:
      split: the split it belongs to.
      key_frames: its annotated key frames.
      activities: its clips, counted by activity.
      actions: its clips' boxes, counted by action.
      with_frames: clips with all T frames whole; None where frames were not asked for.
      tracked: annotated people matched to a track; None where the set has no tracks.
      problems: one line for each missing or malformed thing.
    """

    split: str
    key_frames: int = 0
    activities: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    actions: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    with_frames: int | None = None
    tracked: int | None = None
    problems: list[str] = dataclasses.field(default_factory=list)


def check_raw(
    raw: RawClips,
    *,
    frames: bool,
    appearance: Appearance | None = None,
    report: Callable[[str], None],
) -> bool:
    """Compares a raw folder with the complete dataset and reports, line by line.

    Args:
      raw: the opened folder.
      frames: whether to check every clip's frames too; each is decoded.
      appearance: features of whole frames, where every clip should have some.
      report: called with each line of the report.

    Returns:
      Whether the folder is complete and well-formed.
    """
    report(raw.description())
    if appearance is not None:
        report(appearance.description())
    heads = ("split", "clips", "with frames", "on tracks", "problems")
    width = max([8, *(len(match) for names in raw.splits.values() for match in names)])
    report(_match_row(width, raw.match_name, *heads))
    matches = []
    for split, names in raw.splits.items():
        for match in names:
            found = inspect_match(raw, match, split=split, frames=frames, appearance=appearance)
            matches.append(found)
            report(_match_row(width, match, *_cells(found)))
    problems = [problem for found in matches for problem in found.problems]
    if not any(found.activities for found in matches):
        problems.append(f"{raw.folder}: no clip was found")
    problems += _report_clips(raw, matches, report)
    problems += _report_actions(raw, matches, report)
    _report_coverage(matches, report)
    report("")
    if problems:
        report(f"problems: {len(problems)}")
    elif raw.official and not raw.clip_counts:
        report("no problem found; how many clips the complete set has is not known")
    else:
        report("complete: no problem found")
    for problem in problems[:MAX_PROBLEMS_SHOWN]:
        report(f"  {problem}")
    if len(problems) > MAX_PROBLEMS_SHOWN:
        report(f"  ... and {len(problems) - MAX_PROBLEMS_SHOWN} more")
    return not problems


def inspect_match(
    raw: RawClips, match: str, *, split: str, frames: bool, appearance: Appearance | None = None
) -> MatchReport:
    """Reads all files of a match and collects what is wrong with them."""
    found = MatchReport(split)
    try:
        scan = raw.scan(match)
    except UserError as error:
        found.problems.append(str(error))
        return found
    found.key_frames = scan.key_frames
    found.problems += map(str, scan.problems)
    if not scan.key_frames and not scan.problems:
        found.problems.append(f"{raw.annotation_path(match)}: no key frame is annotated")
    found.activities.update(clip.activity for clip in scan.clips)
    found.actions.update(action for clip in scan.clips for action in clip.actions)
    _inspect_tracks(raw, match, scan.clips, found)
    if appearance is not None:
        absent = lacking(appearance, [(match, clip.clip) for clip in scan.clips])
        found.problems += [absent] if absent else []
    if frames:
        _inspect_frames(raw, match, scan.clips, found)
    return found


def _inspect_tracks(
    raw: RawClips, match: str, clips: Sequence[ClipAnnotation], found: MatchReport
) -> None:
    if not raw.has_tracks():
        return
    found.tracked = 0
    problems = []
    for clip in clips:
        try:
            _, _, tracked = raw.boxes(match, clip)
            found.tracked += int(tracked.sum())
        except UserError as error:
            problems.append(str(error))
    # A track file of a whole match fails for each of its clips.
    found.problems += dict.fromkeys(problems)


def _inspect_frames(
    raw: RawClips, match: str, clips: Sequence[ClipAnnotation], found: MatchReport
) -> None:
    found.with_frames = 0
    incomplete, problems = [], []
    for clip in clips:
        if not raw.has_frames(match, clip):
            incomplete.append(clip.clip)
            continue
        damaged = []
        for path in raw.frame_paths(match, clip):
            try:
                check_frame(path, raw.frame_size(match))
            except UserError as error:
                damaged.append(str(error))
        problems += damaged
        found.with_frames += not damaged
    # If the image that the frame size is read from is damaged, every frame has the same problem.
    found.problems += dict.fromkeys(problems)
    if incomplete:
        found.problems.append(
            f"{raw.annotation_path(match).parent}: {len(incomplete)} of {len(clips)} clips lack "
            f"some of their {NUM_FRAMES} frames, first clip {incomplete[0]}"
        )


def _match_row(width: int, match: str, *cells: str) -> str:
    """Formats a row of the table of matches, whose longest name has `width` characters."""
    row = "{:>{}}  {:<10}  {:>5}  {:>11}  {:>13}  {:>8}"
    return row.format(match, width, *cells)


def _cells(found: MatchReport) -> tuple[str, ...]:
    actors = found.actions.total()
    return (
        found.split,
        str(found.activities.total()),
        "-" if found.with_frames is None else str(found.with_frames),
        f"{found.tracked / actors:.1%}" if found.tracked is not None and actors else "-",
        str(len(found.problems)),
    )


def _report_clips(
    raw: RawClips, matches: Sequence[MatchReport], report: Callable[[str], None]
) -> list[str]:
    """Reports the clips by split and activity; returns what differs from the complete set."""
    found = {
        name: sum(
            (match.activities for match in matches if match.split in name.split("+")),
            collections.Counter(),
        )
        for name in ("train", "validation", "train+validation", "test")
    }
    columns = []
    for name, counts in found.items():
        columns.append((name, counts))
        if name in raw.clip_counts:
            columns.append(("expected", collections.Counter(raw.clip_counts[name])))
    _report_table("clips", raw.form.activities, columns, report)
    key_frames = sum(match.key_frames for match in matches)
    problems = []
    if raw.count not in (None, key_frames):
        problems.append(f"{key_frames} annotated key frames, expected {raw.count}")
    for name, counts in raw.clip_counts.items():
        problems += _differences(f"{name} clips", found[name], counts)
    return problems


def _report_actions(
    raw: RawClips, matches: Sequence[MatchReport], report: Callable[[str], None]
) -> list[str]:
    """Reports the boxes by action; returns what differs from the complete set."""
    found = sum((match.actions for match in matches), collections.Counter())
    columns = [("found", found)]
    if raw.action_counts:
        columns.append(("expected", collections.Counter(raw.action_counts)))
    _report_table("boxes", raw.form.actions, columns, report)
    return _differences("boxes", found, raw.action_counts)


def _report_table(
    title: str,
    rows: Sequence[str],
    columns: Sequence[tuple[str, collections.Counter]],
    report: Callable[[str], None],
) -> None:
    """Reports counters side by side, one class per row, their totals last."""
    report("")
    report("  ".join([f"{title:<10}", *(f"{name:>8}" for name, _ in columns)]))
    for row in (*rows, "all"):
        cells = (
            f"{counts.total() if row == 'all' else counts[row]:>{max(8, len(name))}}"
            for name, counts in columns
        )
        report("  ".join([f"{row:<10}", *cells]))


def _report_coverage(matches: Sequence[MatchReport], report: Callable[[str], None]) -> None:
    """Reports, for each split, the clips with frames and the people on tracks."""
    report("")
    for split in dict.fromkeys(match.split for match in matches):
        members = [match for match in matches if match.split == split]
        clips = sum(match.activities.total() for match in members)
        actors = sum(match.actions.total() for match in members)
        tracked = sum(match.tracked or 0 for match in members)
        key_frames = sum(match.key_frames for match in members)
        line = f"{split}: {tracked} of {actors} people on tracks"
        if clips < key_frames:
            line += f", {key_frames - clips} of {key_frames} annotated key frames make no clip"
        if any(match.with_frames is not None for match in members):
            whole = sum(match.with_frames or 0 for match in members)
            line += f", {whole} of {clips} clips with all {NUM_FRAMES} frames"
        report(line)


def _differences(what: str, found: Mapping[str, int], expected: Mapping[str, int]) -> list[str]:
    return [
        f"{what} {name}: {found[name]}, expected {count}"
        for name, count in expected.items()
        if found[name] != count
    ]
