"""What is measured, the important things first."""

from typing import Any

from benchmarks.gpu.limit import Measurement

# Clips of a batch: the paper's, and its doublings.
BATCHES = (2, 4, 8)
# Seconds that a measurement may take on an H100, until one of its kind has been made; compiling is
# most of them. Guesses.
GUESSES = {
    "training inception_v3": 100,
    "encoding inception_v3": 50,
    "training vgg16": 70,
    "encoding vgg16": 40,
}
SMALL_GUESS = 40
# What the share of the floor should be at least on an H100, in bfloat16.
GOALS = {
    "training inception_v3": 0.25,
    "training vgg16": 0.40,
    "encoding inception_v3": 0.30,
    "encoding vgg16": 0.50,
}


# What is there whatever `--only` and `--after` leave out: the rest is judged by it.
ALWAYS = ("operations", "ceilings")
CONFIGS = ("vd", "vd:vgg16", "cad")


def make_plan(*, small: bool) -> list[Measurement]:
    """Lists the measurements in the order of their importance.

    With `small` those that walk every path on a CPU in about two minutes.
    """
    first = [
        Measurement("parity", "parity", 90 if small else 60, {"small": small}),
        Measurement("operations", "operations", 20, {"configs": list(CONFIGS), "small": small}),
        Measurement("ceilings", "ceilings", 5 if small else 25, {"small": small}),
    ]
    host = Measurement(
        "host", "host", 5 if small else 30, {"small": small, "batch": 2, "frames": 10}
    )
    if small:
        return [
            *first,
            _step("vd", "training", small=True, profile=True),
            _step("vd", "encoding", small=True),
            _step("vd", "encoding", batch=4, small=True),
            host,
            _step("vd:vgg16", "training", remat=True, small=True),
            _step("cad", "encoding", dtype="float32", frames_per_chunk=1, small=True),
        ]
    return [
        *first,
        _step("vd", "training", profile=True),
        _step("vd", "encoding", profile=True),
        _step("vd:vgg16", "training", profile=True),
        _step("vd:vgg16", "encoding", profile=True),
        host,
        _step("vd", "training", batch=4),
        _step("cad", "training"),
        _step("vd", "training", dtype="float32"),
        _step("cad", "encoding"),
        _step("vd", "encoding", batch=4),
        _step("vd", "training", batch=8, remat=True),
        _step("vd:vgg16", "training", batch=4),
        _step("vd", "training", batch=8),
        # As the config stands.
        _step("vd", "training", dtype="float32", frames_per_chunk=1),
        # What it keeps for the gradients without remat, 24 GiB a clip, leaves too little.
        _step("vd:vgg16", "training", dtype="float32", remat=True),
        _step("vd", "encoding", dtype="float32"),
        _step("vd:vgg16", "encoding", dtype="float32"),
        _step("vd:vgg16", "training", remat=True),
        _step("vd", "training", remat=True),
        _step("vd:vgg16", "encoding", batch=4),
        _step("vd", "encoding", batch=8),
        _step("cad", "training", batch=4),
        _step("cad", "training", dtype="float32"),
        _step("cad", "encoding", dtype="float32"),
    ]


def _step(
    config: str, way: str, *, dtype: str = "bfloat16", batch: int = BATCHES[0], **options: Any
) -> Measurement:
    """Makes a measurement of a step; what it has beside the first four stands in its name."""

    def name(batch: int) -> str:
        shown = [
            word if option is True else f"{word} {option}"
            for word, option in options.items()
            if word not in ("small", "profile")
        ]
        return ", ".join([f"{config} {way}", dtype, f"batch {batch}", *shown])

    backbone = config.partition(":")[2] or "inception_v3"
    kind = f"{way} {backbone}"
    settings = {"config": config, "way": way, "dtype": dtype, "batch": batch, **options}
    judged = dtype == "bfloat16" and not options.get("small")
    return Measurement(
        name(batch),
        kind,
        SMALL_GUESS if options.get("small") else GUESSES[kind],
        settings | {"goal": GOALS[kind] if judged else None},
        smaller=name(batch // 2) if batch > BATCHES[0] else "",
    )
