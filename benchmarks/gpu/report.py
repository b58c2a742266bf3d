"""Tables of what was measured, as text."""

from typing import Any

from stvh_jax.reporting.tables import aligned

# What is printed where nothing was measured.
NOTHING = "-"


def add_shares(outcome: dict[str, Any], known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Adds to a step what share of the device's measured peak its operations are.

    `share_of_floor` counts the convolutions of the backbone alone, `mfu` all convolutions and
    products of the model. Both are None where the peak or the operations are not known.

    Args:
      outcome: of any measurement.
      known: the outcomes before it, by name.
    """
    if "step_seconds" not in outcome:
        return outcome
    peak = known.get("ceilings", {}).get(f"{outcome['dtype']}_operations_per_second")
    counted = known.get("operations", {}).get("operations_per_clip", {}).get(outcome["config"])
    if not peak or not counted:
        return outcome | {"share_of_floor": None, "mfu": None}
    training = outcome["way"] == "training"
    rate = outcome["clips_per_second"] / peak
    return outcome | {
        "share_of_floor": rate * counted["training_floor" if training else "floor"],
        "mfu": rate * counted["training" if training else "forward"],
    }


def text(results: dict[str, Any]) -> str:
    """Shows all that was measured, and what was not and why."""
    outcomes = {outcome["name"]: outcome for outcome in results["measurements"]}
    device = results["device"]
    parts = [f"{device['device']}; {results['environment']['versions']}"]
    for name, show in (("parity", parity), ("ceilings", ceilings)):
        if outcomes.get(name, {}).get("status") in ("measured", "cut off"):
            parts += show(outcomes[name])
    steps = [outcome for outcome in outcomes.values() if "step_seconds" in outcome]
    parts += steps_table(steps)
    for outcome in steps:
        parts += operations_table(outcome)
    if "decoded_frames_per_second" in outcomes.get("host", {}):
        parts += host(outcomes["host"], steps)
    rest = [outcome for outcome in outcomes.values() if outcome["status"] != "measured"]
    if rest:
        parts += ["", "Not measured:"]
        parts += [f"  {one['name']}: {one['status']}; {one.get('reason', '')}" for one in rest]
    return "\n".join(parts)


def parity(found: dict[str, Any]) -> list[str]:
    """Shows how far each case is from a CPU's float32."""
    ways = list(dict.fromkeys(one["way"] for one in found["cases"]))
    by_place = {(one["case"], one["way"]): one for one in found["cases"]}

    def cell(case: str, way: str) -> str:
        one = by_place.get((case, way))
        if one is None:
            return NOTHING
        if "failed" in one:
            return "failed"
        return f"{one['error']:.1e}" + ("" if one["holds"] else " TOO FAR")

    rows = [["||ours - CPU's|| / ||CPU's||", *ways]]
    for case in dict.fromkeys(one["case"] for one in found["cases"]):
        rows.append([case, *(cell(case, way) for way in ways)])
    limits = {one["way"]: f"{one['limit']:.0e}" for one in found["cases"] if "limit" in one}
    rows.append(["at most", *(limits.get(way, NOTHING) for way in ways)])
    failures = [
        f"{one['case']}, {one['way']}: {one['failed']}" for one in found["cases"] if "failed" in one
    ]
    return ["", aligned(rows), *failures]


def ceilings(found: dict[str, Any]) -> list[str]:
    """Shows what the device can do."""
    rows = [["measured peak", "", ""]]
    for name, unit in (("operations", "TFLOP/s"), ("bytes", "TB/s")):
        ending = f"_{name}_per_second"
        rows += [
            [key.removesuffix(ending), f"{value / 1e12:.4g}", unit]
            for key, value in found.items()
            if key.endswith(ending)
        ]
    return ["", aligned(rows)]


def steps_table(steps: list[dict[str, Any]]) -> list[str]:
    """Shows a row for each step that was timed."""
    if not steps:
        return []
    rows = [
        ["step", "ms", "lowest", "highest", "fed", "clips/s"]
        + ["of floor", "goal", "MFU", "peak GiB", "planned", "compile s"]
    ]
    for one in steps:
        times = ("step_seconds", "lowest_seconds", "highest_seconds", "fed_step_seconds")
        rows.append(
            [one["name"], *(f"{1e3 * one[key]:.1f}" for key in times)]
            + [f"{one['clips_per_second']:.2f}", percent(one.get("share_of_floor"))]
            + [percent(one["goal"]), percent(one.get("mfu"))]
            + [gibibytes(one["peak_bytes"]), gibibytes(one["planned_bytes"])]
            + [f"{one['compile_seconds']:.0f}"]
        )
    return ["", aligned(rows)]


def operations_table(step: dict[str, Any]) -> list[str]:
    """Shows the operations that took the most time of a step that was profiled."""
    if not step.get("top_operations"):
        return []
    rows = [["ms", "share", "calls", "operation", "result", "source"]]
    for one in step["top_operations"]:
        rows.append(
            [f"{1e3 * one['step_seconds']:.2f}", percent(one["share"])]
            + [f"{one['calls_per_step']:g}", one["name"][:60], one["result"], one["source"]]
        )
    return ["", f"{step['name']}: the operations that took the most time", aligned(rows)]


def host(found: dict[str, Any], steps: list[dict[str, Any]]) -> list[str]:
    """Shows what the host can feed, beside the fastest training."""
    frames = {int(cores): rate for cores, rate in found["decoded_frames_per_second"].items()}
    clip = found["frames_per_clip"]
    rows = [["JPEG frames decoded", "frames/s", "clips/s"]]
    rows += [
        [f"{cores} cores", f"{rate:.0f}", f"{rate / clip:.1f}"] for cores, rate in frames.items()
    ]
    lines = ["", aligned(rows)]
    lines.append(
        f"put on the device as {found['put_dtype']}: {found['put_bytes_per_second'] / 1e9:.2f} "
        f"GB/s, {found['put_clips_per_second']:.1f} clips/s"
    )
    training = [one for one in steps if one["way"] == "training"]
    if training:
        fastest = max(training, key=lambda one: one["clips_per_second"])
        able = min(frames[max(frames)] / clip, found["put_clips_per_second"])
        lines.append(
            f"the host can feed {able / fastest['clips_per_second']:.1f} times what the fastest "
            f"training takes ({fastest['name']})"
        )
    return lines


def percent(share: float | None) -> str:
    """Shows a share, to a tenth of a hundredth."""
    return NOTHING if share is None else f"{100 * share:.1f} %"


def gibibytes(count: float | None) -> str:
    """Shows bytes."""
    return NOTHING if count is None else f"{count / 2**30:.1f}"
