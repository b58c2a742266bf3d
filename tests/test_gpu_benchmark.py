"""The benchmark for GPUs: what it counts, reads and decides, without a GPU."""

import dataclasses
import gzip
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.drawing import draw_variables
from benchmarks.gpu import children, floors, limit, needs, parity, report, trace
from benchmarks.gpu.limit import Budget, Measurement, run_plan
from benchmarks.gpu.plan import make_plan
from stvh_jax.clips import Clips
from stvh_jax.training import sharding

SCRIPT = pathlib.Path(floors.__file__).parents[1] / "gpu.sh"
# Channels of VGG-16's convolutions, and how often the frame was halved before each.
VGG_CHANNELS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
VGG_HALVED = (0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4)


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestOperations:
    def test_of_products_convolutions_loops_and_branches(self):
        def compute(a, maps, kernel):
            looped, _ = jax.lax.scan(lambda carry, _: (carry @ a, None), a, length=3)
            chosen = jax.lax.cond(a[0, 0] > 0, lambda a: a, lambda a: a @ a, a)
            convolved = jax.lax.conv_general_dilated(
                maps, kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            return looped, chosen, convolved

        arrays = jnp.ones((5, 5)), jnp.ones((1, 7, 9, 2)), jnp.ones((3, 3, 2, 11))
        counted = floors.count(compute, *arrays)
        assert counted.products == (250, 250, 250, 250)
        # 3x4 cells, each of 3x3 cells of 2 channels, for 11 channels.
        assert counted.convolutions == (2 * 12 * 9 * 2 * 11,)

    @pytest.mark.parametrize("size", [(720, 1280), (480, 720)])
    def test_of_vgg16_are_those_of_its_table(self, size):
        # Of the three cells under a window, one is missing at either end of a row or column.
        expected = [
            2 * (3 * (size[0] >> halved) - 2) * (3 * (size[1] >> halved) - 2) * before * after
            for before, after, halved in zip(VGG_CHANNELS, VGG_CHANNELS[1:], VGG_HALVED)
        ]
        counted = floors.count_backbone({"name": "vgg16"}, size)
        assert list(counted.convolutions) == expected
        assert counted.products == ()
        # In thousand millions; XLA's 559.8 and 208.9 have biases, ReLU and poolings, too.
        assert round(counted.total / 1e9, 1) == {720: 559.2, 480: 208.7}[size[0]]

    def test_of_inception_are_those_of_its_table(self):
        counted = floors.count_backbone({"name": "inception_v3"}, (720, 1280))
        # XLA's 105.5 have the normalisation, ReLU and poolings, too.
        assert round(counted.total / 1e9, 1) == 104.8
        # The first: 3x3 of 3 channels to 32, in steps of two without padding.
        assert counted.convolutions[0] == 2 * 359 * 639 * 27 * 32

    @pytest.mark.parametrize(("padding", "stride"), [("VALID", 1), ("SAME", 1), ("SAME", 2)])
    def test_are_what_xla_counts(self, padding, stride):
        def convolve(maps, kernel):
            strides = (stride, stride)
            return jax.lax.conv_general_dilated(
                maps, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )

        def gradients(maps, kernel):
            made, pull = jax.vjp(convolve, maps, kernel)
            return pull(made)

        arrays = jnp.ones((2, 12, 9, 8)), jnp.ones((3, 5, 8, 16))
        forward, both = (floors.count(one, *arrays).total for one in (convolve, gradients))
        assert forward == floors.xla_count(jax.jit(convolve).lower(*arrays))
        # A convolution's gradients take twice what it does itself.
        assert both == 3 * forward


class TestPlan:
    def run(self, plan, spent, *, seconds, memory=None, found=None):
        """Runs a plan in which each measurement takes `spent` seconds; returns the statuses."""
        clock, recorded = FakeClock(), []

        def measure(measurement, left):
            taken = min(spent[measurement.name], max(left(), 0))
            clock.now += taken
            status = "measured" if taken == spent[measurement.name] else "cut off"
            return {"status": status, **(found or {}).get(measurement.name, {})}

        budget = Budget(seconds, clock)
        run_plan(plan, measure, recorded.append, budget=budget, memory=memory, clock=clock)
        return {one["name"]: one["status"] for one in recorded}, clock.now - 1000

    def test_leaves_out_what_does_not_fit_and_goes_on(self):
        plan = [Measurement("a", "x", 50), Measurement("b", "y", 300), Measurement("c", "z", 40)]
        statuses, spent = self.run(plan, {"a": 60, "b": 300, "c": 40}, seconds=200)
        assert statuses == {"a": "measured", "b": "skipped", "c": "measured"}
        assert spent == 100

    def test_learns_how_long_a_kind_takes(self):
        plan = [Measurement("a", "x", 50), Measurement("b", "x", 50), Measurement("c", "y", 50)]
        statuses, _ = self.run(plan, {"a": 110, "b": 110, "c": 50}, seconds=200)
        assert statuses == {"a": "measured", "b": "skipped", "c": "measured"}

    def test_cuts_off_what_takes_far_longer_than_guessed(self):
        plan = [Measurement("a", "x", 10), Measurement("b", "y", 10)]
        statuses, spent = self.run(plan, {"a": 500, "b": 10}, seconds=400)
        assert statuses == {"a": "cut off", "b": "measured"}
        assert spent == limit.PATIENCE * 10 + 10

    def test_ends_at_its_time(self):
        statuses, spent = self.run([Measurement("a", "x", 100)], {"a": 500}, seconds=150)
        assert statuses == {"a": "cut off"}
        assert spent <= 150 - limit.RESERVE

    def test_stops_when_it_is_told_to(self):
        budget = Budget(100, FakeClock())
        budget.stop()
        assert budget.left() <= 0

    @pytest.mark.parametrize(
        ("rates", "peak", "expected"),
        [
            ((1.0, 1.5), 10, "measured"),  # still gains, and fits
            ((1.0, 1.01), 10, "skipped"),  # gains nothing any more
            ((1.0, 1.5), 60, "skipped"),  # twice as much does not fit
        ],
    )
    def test_grows_a_batch_while_it_fits_and_gains(self, rates, peak, expected):
        plan = [
            Measurement("2", "x", 10),
            Measurement("4", "x", 10, smaller="2"),
            Measurement("8", "x", 10, smaller="4"),
        ]
        found = {
            name: {"clips_per_second": rate, "peak_bytes": size}
            for name, rate, size in zip("24", rates, (peak / 2, peak))
        }
        spent = dict.fromkeys("248", 10)
        statuses, _ = self.run(plan, spent, seconds=1000, memory=100, found=found)
        assert (statuses["4"], statuses["8"]) == ("measured", expected)

    @pytest.mark.parametrize("small", [False, True])
    def test_names_each_measurement_once_after_its_smaller_one(self, small):
        names = [one.name for one in make_plan(small=small)]
        assert len(set(names)) == len(names)
        for one in make_plan(small=small):
            if one.smaller in names:
                assert names.index(one.smaller) < names.index(one.name)


def event(name, start, duration, *, line=(1, 1)):
    return {
        "ph": "X",
        "pid": line[0],
        "tid": line[1],
        "ts": start,
        "dur": duration,
        "name": name,
        "args": {"hlo_op": name},
    }


def named(kind, line, name):
    return {"ph": "M", "pid": line[0], "tid": line[1], "name": kind, "args": {"name": name}}


class TestTrace:
    def test_time_within_another_operation_is_its_own(self):
        events = [event("loop", 0, 100), event("inner", 10, 30), event("inner", 50, 30)]
        events.append({"ph": "X", "pid": 1, "tid": 1, "ts": 0, "dur": 999, "name": "python"})
        (first, second) = trace.top_operations([*events, event("after", 100, 0)])[:2]
        assert (first.name, first.calls) == ("inner", 2)
        assert first.seconds == pytest.approx(60e-6)
        assert (second.name, second.seconds) == ("loop", pytest.approx(40e-6))
        assert first.share == pytest.approx(0.6)

    def test_a_kernel_counts_once_on_its_stream(self):
        events = [
            named("process_name", (1, 0), "/host:CPU"),
            named("process_name", (2, 0), "/device:GPU:0"),
            named("thread_name", (2, 7), "Stream #7(Compute)"),
            named("thread_name", (2, 8), "XLA Ops"),
            event("kernel", 5, 10, line=(2, 7)),
            event("kernel", 5, 12, line=(2, 8)),
            event("kernel", 0, 90, line=(1, 1)),
            event("of a graph", 20, 4, line=(2, 7)) | {"args": {}},
        ]
        found = [(one.name, one.calls, one.seconds) for one in trace.top_operations(events)]
        assert found == [
            ("kernel", 1, pytest.approx(10e-6)),
            ("of a graph", 1, pytest.approx(4e-6)),
        ]

    def test_of_nothing_is_nothing(self):
        assert trace.top_operations([]) == []

    def test_of_what_jax_records(self, tmp_path):
        function = jax.jit(lambda a: jnp.tanh(a @ a).sum(0))
        array = jnp.ones((300, 300))
        compiled = function.lower(array).compile()
        compiled(array).block_until_ready()
        with jax.profiler.trace(tmp_path):
            compiled(array).block_until_ready()
        events = trace.read_events(tmp_path)
        found = trace.top_operations(events, compiled=compiled.as_text(), most=3)
        assert 0 < len(found) <= 3
        assert all(one.seconds >= 0 for one in found)
        assert any("[300" in one.result for one in found)

    def test_the_newest_is_read(self, tmp_path):
        with gzip.open(tmp_path / "a.trace.json.gz", "wt") as file:
            json.dump({"traceEvents": [event("only", 0, 1)]}, file)
        assert trace.read_events(tmp_path)[0]["name"] == "only"
        with pytest.raises(FileNotFoundError):
            trace.read_events(tmp_path / "nowhere")


class TestChildren:
    def test_a_failure_is_one_line(self, tmp_path):
        out = tmp_path / "found.json"
        children.measure_here("step", {"config": "no_such_config"}, out)
        found = json.loads(out.read_text())
        assert found["status"] == "failed"
        assert "no_such_config" in found["reason"]
        assert "\n" not in found["reason"]

    def test_memory_that_is_full_is_named(self):
        assert children.name_failure("RESOURCE_EXHAUSTED: 3 GiB").startswith("out of memory: ")

    def test_a_process_is_ended_when_the_time_is_over(self):
        assert children.measure_apart("device", {}, lambda: 0.0)["status"] == "cut off"

    def test_a_file_stays_whole_where_the_new_one_cannot_be_written(self, tmp_path):
        out = tmp_path / "results.json"
        children.write_whole(out, {"measurements": [1]})
        with pytest.raises(TypeError):
            children.write_whole(out, {"measurements": [object()]})
        assert json.loads(out.read_text()) == {"measurements": [1]}


class TestReport:
    COUNTED = {"forward": 5e12, "floor": 4e12, "training": 15e12, "training_floor": 12e12}

    def test_shares_are_of_the_measured_peak(self):
        step = {"config": "vd", "way": "training", "dtype": "bfloat16", "step_seconds": 0.5}
        known = {
            "ceilings": {"bfloat16_operations_per_second": 100e12},
            "operations": {"operations_per_clip": {"vd": self.COUNTED}},
        }
        # Four clips a second: 48 and 60 of 100 TFLOP/s.
        found = report.add_shares(step | {"clips_per_second": 4.0}, known)
        assert (found["share_of_floor"], found["mfu"]) == pytest.approx((0.48, 0.60))
        assert report.add_shares(step | {"clips_per_second": 4.0}, {})["mfu"] is None

    def test_shows_what_was_not_measured_and_why(self):
        results = {
            "device": {"device": "a GPU"},
            "environment": {"versions": "jax 0"},
            "measurements": [{"name": "host", "status": "skipped", "reason": "no time"}],
        }
        assert "host: skipped; no time" in report.text(results)


class TestParity:
    def test_holds_on_this_machine(self):
        stored = dict(np.load(parity.STORED))
        for way in parity.WAYS:
            assert parity.judge("RoIAlign", way, stored)["holds"]

    def test_does_not_hold_for_other_numbers(self):
        stored = dict(np.load(parity.STORED))
        name = "RoIAlign: pooled"
        stored[name] = stored[name] * 1.001
        assert not parity.judge("RoIAlign", "float32, highest precision", stored)["holds"]
        stored[name] = np.full_like(stored[name], np.nan)
        assert not parity.judge("RoIAlign", "bfloat16", stored)["holds"]

    def test_has_every_case_stored(self):
        assert {name.partition(": ")[0] for name in np.load(parity.STORED)} == set(parity.CASES)

    def test_variables_are_those_of_their_names(self):
        shapes = {"b": jax.ShapeDtypeStruct((3, 2), jnp.float32), "a": jnp.zeros(2)}
        drawn = draw_variables(shapes)
        assert np.array_equal(drawn["b"], draw_variables({"b": shapes["b"]})["b"])
        # sqrt(6 / 3) times twice a number in 0..1 less one.
        expected = np.sqrt(2) * (2 * np.array([0.86423415, 0.77623117]) - 1)
        assert drawn["b"][0] == pytest.approx(expected, rel=1e-6)


class TestScript:
    def test_a_mistake_is_one_line(self, tmp_path):
        for arguments, said in (
            (["--minutes", "0"], "--minutes is 0"),
            (["--wheels", str(tmp_path)], "has no *.whl"),
            (["--after", str(tmp_path / "none.json")], "is not a file that --out has written"),
        ):
            done = subprocess.run(
                [SCRIPT, *arguments],
                env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
                cwd=tmp_path,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 2
            assert said in done.stderr
            assert done.stderr.count("\n") == 1

    def test_what_is_missing_is_named(self):
        assert needs.missing({"numpy": "numpy", "a-b": "no_such.module"}) == ["a-b"]
        assert needs.missing() == []


def test_frames_go_to_the_device_as_bytes():
    clips = Clips(
        boxes=np.zeros((1, 2, 1, 4), np.float32),
        actor_mask=np.ones((1, 1), bool),
        frames=np.zeros((1, 2, 4, 4, 3), np.uint8),
    )
    put = sharding.put_batch(clips, sharding.make_mesh(1))
    assert put.frames.dtype == jnp.uint8
    assert dataclasses.asdict(clips).keys() == dataclasses.asdict(put).keys()
