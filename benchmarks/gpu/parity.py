"""Whether a device computes what a CPU did: small models beside results that are stored here.

`parity.npz` holds what a CPU computed in float32; `python -m benchmarks.gpu --store-parity` makes
it again. Weights, pixels and boxes are drawn from the bits of NumPy's PCG64, which are the same in
every version. So only results are stored, a sample of each.
"""

import concurrent.futures
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.drawing import draw_variables, uniform
from benchmarks.random_models import RandomClasses
from benchmarks.random_training import drawn_state
from stvh_jax.clips import Clips
from stvh_jax.config import Config, get_config
from stvh_jax.inference.encoder import make_encode_step
from stvh_jax.models.backbones.build import build_backbone
from stvh_jax.models.build import build_model
from stvh_jax.models.roi_align import roi_align
from stvh_jax.models.shapes import variable_shapes
from stvh_jax.training import sharding
from stvh_jax.training.compiled import compile_steps

STORED = pathlib.Path(__file__).with_name("parity.npz")
# The most numbers of an output that are stored.
MOST_STORED = 2000
CLIPS, FRAMES, ACTORS, SIZE = 2, 3, 4, (96, 128)


@dataclasses.dataclass(frozen=True)
class Way:
    """A way of computing, and how far it may be from float32 on a CPU.

    Attributes:
      dtype: of the model.
      precision: of products of matrices and convolutions, for JAX; None for its default, which on
        newer NVIDIA GPUs is TF32.
      limit: of ||ours - stored|| / ||stored||, for every output.
    """

    dtype: str
    precision: str | None
    limit: float


WAYS = {
    "float32, highest precision": Way("float32", "highest", 1e-4),
    "bfloat16": Way("bfloat16", None, 5e-2),
    "float32, default precision": Way("float32", None, 1e-2),
}


def draw_frames(*shape: int) -> np.ndarray:
    """Draws uint8 pixels."""
    return (256 * uniform("frames", shape)).astype(np.uint8)


def draw_boxes(*shape: int) -> np.ndarray:
    """Draws boxes `[*shape, 4]`, some of them beyond the frame."""
    centre, half = 1.1 * uniform("centres", (*shape, 2)), 0.05 + 0.2 * uniform("sizes", (*shape, 2))
    return np.concatenate([centre - half, centre + half], axis=-1)


def draw_clips(config: Config) -> Clips:
    """Draws a batch of clips that fit a config; one of the actors is missing."""
    model = config.model
    mask = np.ones((CLIPS, ACTORS), bool)
    mask[1, -1] = False
    action = np.where(mask, np.arange(ACTORS), -1).astype(np.int32)
    frames = features = None
    if model.source == "frames":
        frames = draw_frames(CLIPS, FRAMES, *SIZE, 3)
    else:
        features = 2 * uniform("features", (CLIPS, FRAMES, ACTORS, model.features)) - 1
    return Clips(
        boxes=draw_boxes(CLIPS, FRAMES, ACTORS),
        actor_mask=mask,
        frames=frames,
        actor_features=features,
        activity=np.arange(CLIPS, dtype=np.int32),
        action=action,
        clip_mask=np.ones(CLIPS, bool),
    )


def config_of(name: str, backbone: str, dtype: str) -> Config:
    """Makes the config of a small STVH or M-STVH, with a backbone or, for "", without frames."""
    config = get_config()
    config.data.image_size, config.devices = SIZE, 1
    model = config.model
    model.name, model.dtype = name, dtype
    model.num_frames, model.num_actors, model.key_frame = FRAMES, ACTORS, 1
    model.features, model.layers, model.bits = 32, 2, 32
    model.source = "frames" if backbone else "features"
    if backbone:
        model.backbone.name, model.roi_channels = backbone, 32
    return config


def run_backbone(name: str, dtype: str) -> dict[str, Any]:
    """Computes the maps of a backbone on two frames."""
    module = build_backbone(name, dtype=dtype)
    frames = draw_frames(2, *SIZE, 3)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), frames, train=False))
    maps = jax.jit(lambda *given: module.apply(*given, train=False))(draw_variables(shapes), frames)
    return {f"map {place}": one for place, one in enumerate(maps, start=1)}


def run_roi_align(dtype: str) -> dict[str, Any]:
    """Computes RoIAlign and its gradient."""
    features = jnp.asarray(2 * uniform("map", (2, 9, 13, 32)) - 1, dtype)
    cotangent = jnp.asarray(2 * uniform("cotangent", (2, ACTORS, 5, 5, 32)) - 1, dtype)

    @jax.jit
    def run(features, boxes, cotangent):
        pooled, pull = jax.vjp(lambda features: roi_align(features, boxes), features)
        return pooled, *pull(cotangent)

    pooled, gradient = run(features, draw_boxes(2, ACTORS), cotangent)
    return {"pooled": pooled, "gradient": gradient}


def run_head(name: str, dtype: str) -> dict[str, Any]:
    """Encodes clips with features of actors: all that comes after the visual module."""
    config = config_of(name, "", dtype)
    model = build_model(config.model, **RandomClasses()._asdict())
    variables = draw_variables(variable_shapes(model, config))
    outputs = jax.jit(make_encode_step(model))(variables, draw_clips(config))
    kept = ("relaxed", "activity_logits", "action_logits", "relation")
    return {field: getattr(outputs, field) for field in kept}


def run_training(name: str, backbone: str, dtype: str) -> dict[str, Any]:
    """Makes a step of training: the loss, its terms and the norm of the gradient."""
    config, mesh = config_of(name, backbone, dtype), sharding.make_mesh(1)
    steps = compile_steps(config, RandomClasses(), mesh, steps_per_epoch=100, backbone_options=None)
    state = drawn_state(steps, config, mesh)
    _, metrics = steps.train_step(state, sharding.put_batch(draw_clips(config), mesh), steps.key)
    return {name: value for name, value in metrics.items() if name != "learning_rate"}


# The quick ones first; with `small`, those that a CPU compiles in a few seconds.
CASES: dict[str, Callable[[str], dict[str, Any]]] = {
    "RoIAlign": run_roi_align,
    "STVH, head": lambda dtype: run_head("stvh", dtype),
    "M-STVH, head": lambda dtype: run_head("mstvh", dtype),
    "VGG-16": lambda dtype: run_backbone("vgg16", dtype),
    "Inception-v3": lambda dtype: run_backbone("inception_v3", dtype),
    "STVH, training, small backbone": lambda dtype: run_training("stvh", "small", dtype),
    "M-STVH, training, small backbone": lambda dtype: run_training("mstvh", "small", dtype),
    "STVH, training, VGG-16": lambda dtype: run_training("stvh", "vgg16", dtype),
    "M-STVH, training, Inception-v3": lambda dtype: run_training("mstvh", "inception_v3", dtype),
}
SMALL_CASES = 7


def run_case(case: str, way: Way) -> dict[str, np.ndarray]:
    """Computes a case: a sample of each output, in float32."""
    with jax.default_matmul_precision(way.precision):
        outputs = jax.device_get(CASES[case](way.dtype))
    return {name: sample(np.asarray(output, np.float32)) for name, output in outputs.items()}


def sample(array: np.ndarray) -> np.ndarray:
    """Takes every n-th number of an array, `MOST_STORED` at most."""
    return array.reshape(-1)[:: -(-array.size // MOST_STORED)]


def store(path: pathlib.Path = STORED) -> None:
    """Computes every case on a CPU in float32, and stores the results."""
    with jax.default_device(jax.devices("cpu")[0]):
        found = {case: run_case(case, Way("float32", "highest", 0)) for case in CASES}
    arrays = {
        f"{case}: {output}": array
        for case, outputs in found.items()
        for output, array in outputs.items()
    }
    np.savez_compressed(path, **arrays)


def judge(case: str, way_name: str, stored: dict[str, np.ndarray]) -> dict[str, Any]:
    """Computes a case in a way, and compares it with what is stored."""
    way = WAYS[way_name]
    outputs = run_case(case, way)
    errors = {name: distance(output, stored[f"{case}: {name}"]) for name, output in outputs.items()}
    worst = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))
    return {
        "case": case,
        "way": way_name,
        "error": errors[worst],
        "output": worst,
        "limit": way.limit,
        "holds": bool(errors[worst] <= way.limit),
        "errors": errors,
    }


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Computes ||ours - theirs|| / ||theirs|| in float64; ||ours|| where the others are all 0."""
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    return float(np.linalg.norm(ours - theirs) / (np.linalg.norm(theirs) or 1))


def compare(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields what is known so far, after every case and way; several are compiled at a time.

    A case that cannot be computed is recorded with the reason.
    """
    with np.load(STORED) as file:
        stored = dict(file)
    cases = list(CASES)[: SMALL_CASES if settings.get("small") else None]
    done: list[dict[str, Any]] = []
    with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        waited = {
            pool.submit(judge, case, way, stored): (case, way) for way in WAYS for case in cases
        }
        for future in concurrent.futures.as_completed(waited):
            case, way = waited[future]
            error = future.exception()
            if error is None:
                done.append(future.result())
            else:
                reason = " ".join(str(error).split())[:300] or type(error).__name__
                done.append({"case": case, "way": way, "failed": reason, "holds": False})
            yield {"cases": done, "expected": len(waited)}
