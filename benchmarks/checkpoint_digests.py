"""What the digests of a checkpoint cost: python -m benchmarks.checkpoint_digests.

Saves and loads a model's variables of 25 million parameters and an optimizer's two moments of them,
with digests and without in turns, and prints the medians of the processor time and their ratios.
Other jobs on the machine hardly change these. The files stay in the system's cache.
"""

import contextlib
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable
from unittest import mock

import numpy as np
from absl import app, flags, logging
from etils import epath

from stvh_jax.runs import checkpoints

_MILLIONS = flags.DEFINE_integer("millions", 25, "Parameters, in millions.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 7, "How often each is measured.", lower_bound=1)

ARRAYS = 50  # about as many as the layers of a model have
METRICS = {"score": 0.5}


def arrays(parameters: int, seed: int) -> dict[str, np.ndarray]:
    """Draws so many parameters in `ARRAYS` arrays of equal size, float32."""
    random = np.random.default_rng(seed)
    size = parameters // ARRAYS
    return {f"array_{n}": random.standard_normal(size, np.float32) for n in range(ARRAYS)}


def save(run: epath.Path, variables: dict, train: dict) -> None:
    """Saves a checkpoint and waits until it is whole."""
    saved = checkpoints.Checkpoints(run, select="score")
    saved.save(1, variables, train, {}, metrics=METRICS)
    saved.close()


def resume(run: epath.Path, variables: dict, train: dict) -> None:
    """Loads all of a checkpoint, as a training does that goes on."""
    saved = checkpoints.Checkpoints(run, select="score")
    saved.restore(variables, train)
    saved.close()


def without_digests() -> contextlib.ExitStack:
    """Lets checkpoints be saved and loaded without any digest for as long as the context."""
    stack = contextlib.ExitStack()
    stack.enter_context(mock.patch.object(checkpoints, "_of_leaves", lambda tree: {}))
    stack.enter_context(mock.patch.object(checkpoints, "_check", lambda *arguments: None))
    return stack


def measure(parameters: int, repeats: int, folder: pathlib.Path) -> dict[str, list[list[float]]]:
    """Measures in turns.

    Returns:
      What is done -> the seconds of each repetition with digests, and those without.
    """
    variables = {"params": arrays(parameters, 0)}
    train = {"first": arrays(parameters, 1), "second": arrays(parameters, 2)}
    seconds: dict[str, list[list[float]]] = {}
    for repeat in range(repeats):
        for kind, context in enumerate((contextlib.nullcontext, without_digests)):
            run = epath.Path(folder / f"{repeat}-{kind}")
            steps: dict[str, Callable[[], object]] = {
                "saving": lambda run=run: save(run, variables, train),
                "loading the model": lambda run=run: checkpoints.load_variables(run, 1),
                "resuming": lambda run=run: resume(run, variables, train),
            }
            with context():
                for name, step in steps.items():
                    begun = time.process_time()
                    step()
                    taken = time.process_time() - begun
                    seconds.setdefault(name, [[], []])[kind].append(taken)
            run.rmtree()
    return seconds


def main(_) -> None:
    """Measures and prints the table."""
    logging.set_verbosity(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        parameters = _MILLIONS.value * 10**6
        measured = measure(parameters, _REPEATS.value, pathlib.Path(folder))
    print("| | with digests, s | without, s | ratio |\n| --- | --- | --- | --- |")
    for name, kinds in measured.items():
        with_digests, without = map(statistics.median, kinds)
        print(f"| {name} | {with_digests:.3g} | {without:.3g} | {with_digests / without:.2f} |")


if __name__ == "__main__":
    app.run(main)
