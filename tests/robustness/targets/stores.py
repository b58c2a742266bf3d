"""What the library writes and reads again: runs, packed runs, indexes, prepared sets, caches."""

import functools
import io
import json
import os
import pathlib
import shutil
import zipfile
from typing import Any

import numpy as np

from stvh_jax.errors import UserError
from tests.robustness import material
from tests.robustness.case import Target, expect
from tests.robustness.mutations import Random, broken_bytes, broken_file, broken_json

JSON_FILES = (
    "config.json", "finished.json", "history.jsonl", "evaluation-test.json",
    "checkpoints/*/config/metadata", "checkpoints/*/metrics/metrics",
)  # fmt: skip


@functools.cache
def right_variables(checkpoint: str = "best") -> tuple[Any, ...]:
    """Gives what the run's checkpoint is when nothing is broken."""
    return loaded(material.RUN, checkpoint)


def loaded(path: pathlib.Path, checkpoint: str = "best") -> tuple[Any, ...]:
    import jax

    from stvh_jax import digests
    from stvh_jax.inference.encoder import load

    encoder = load(path, checkpoint=checkpoint)
    leaves = jax.tree_util.tree_leaves_with_path(encoder.variables)
    named = [(jax.tree_util.keystr(name), digests.of_array(np.asarray(leaf)))
             for name, leaf in leaves]  # fmt: skip
    config = encoder.config.to_json(sort_keys=True)
    return encoder.step, config, tuple(named)


def make_checkpoint(random: Random, folder: pathlib.Path):
    shutil.copytree(material.RUN / "checkpoints", folder / "run" / "checkpoints")
    shutil.copy(material.RUN / "config.json", folder / "run")
    return {"broken": broken_file(random, folder / "run" / "checkpoints")}


def run_checkpoint(folder: pathlib.Path, case):
    for checkpoint in ("best", "latest"):
        read = loaded(folder / "run", checkpoint)
        expect(read == right_variables(checkpoint), f"the {checkpoint} checkpoint is another")


def make_packed(random: Random, folder: pathlib.Path):
    content = material.PACKED.read_bytes()
    if random.random() < 0.6:
        content, kind = broken_bytes(random, content), "bytes"
    else:
        content, kind = _packed_again(random, content), "members"
    (folder / "packed.zip").write_bytes(content)
    return kind


def _packed_again(random: Random, content: bytes) -> bytes:
    """Packs a run whose JSON is broken, or that has members of strange names."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w") as new:
        names = old.namelist()
        chosen = random.choice([name for name in names if "metadata" in name or "json" in name])
        for name in names:
            member = old.read(name)
            if name == chosen and random.random() < 0.9:
                try:
                    member = broken_json(random, member.decode())
                except ValueError:
                    member = broken_bytes(random, member)
            new.writestr(name, member)
        if random.random() < 0.2:
            strange = ["../evil", "/evil", "checkpoints/6/variables/../../../evil", "a" * 60_000]
            new.writestr(random.choice(strange), b"evil")
    return packed.getvalue()


def run_packed(folder: pathlib.Path, kind: str):
    from stvh_jax.inference.encoder import load

    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    if kind == "bytes":
        read = loaded(folder / "packed.zip")
        expect(read == right_variables(), "the model is another")
    else:
        encoder = load(folder / "packed.zip")
        boxes = np.full((1, encoder.config.model.num_frames, 1, 4), 0.5, np.float32)
        encoding = encoder.encode(None, boxes)
        expect(bool(np.isfinite(encoding.activity_probabilities).all()), "not finite")
    expect(not list(folder.rglob("evil")), "a member was unpacked that is not a run's")


def make_json(random: Random, folder: pathlib.Path):
    shutil.copytree(material.RUN, folder / "runs" / "run")
    pattern = random.choice(JSON_FILES)
    path = random.choice(sorted((folder / "runs" / "run").glob(pattern)))
    text = path.read_text()
    if path.suffix == ".jsonl":
        lines = text.splitlines()
        place = random.randrange(len(lines))
        lines[place] = broken_json(random, lines[place]).decode(errors="surrogateescape")
        path.write_text("\n".join(lines), errors="surrogateescape")
    else:
        path.write_bytes(broken_json(random, text))
    return str(path.relative_to(folder))


def run_json(folder: pathlib.Path, name: str):
    from stvh_jax.runs import checkpoints, folders
    from stvh_jax.runs.history import History, read_history
    from tests.helpers.fakes import tiny_config

    os.chdir(folder)
    run = folders.open_folder("runs/run")
    read_history(run)
    _evaluation(pathlib.Path(run))
    try:
        found = folders.find(workdir=None, bits=16, config=tiny_config())
        expect(found.name == "run", f"the run is {found}")
    except UserError as error:
        expect("has no finished run" in str(error) or name in str(error), str(error))
    folders.check_same(run, json.loads(tiny_config().to_json_best_effort())
                       | {"activity_names": ["r_set", "r_spike", "l_set", "l_spike"],
                          "action_names": ["moving", "setting", "standing"]})  # fmt: skip
    step, _ = checkpoints.choose_step(run, "best")
    checkpoints.load_config(run, step)
    History(run, start_step=8).close()


def _evaluation(run: pathlib.Path) -> None:
    """Reads an evaluation as the experiments do."""
    from experiments.settings import SETTINGS
    from experiments.trained_run import TrainedRun

    trained = TrainedRun(next(iter(SETTINGS.values())), {}, 0)
    vars(trained)["folder"] = run
    trained.results()


def make_index(random: Random, folder: pathlib.Path):
    shutil.copytree(material.INDEX, folder / "index")
    parts = [part for part in (folder / "index").iterdir() if part.is_dir()]
    return broken_file(random, random.choice([*parts, folder / "index"]))


def everything_of(path: pathlib.Path) -> Any:
    """Gives the hits of an index at every focus, its codes, records and conditions."""
    from stvh_jax.retrieval.index import Index

    index = Index.open(path)
    query = np.array([0b10110100, 0b00011101], np.uint8)
    hits = [
        [(hit.match, hit.clip, hit.distance) for hit in index.search(
            query, focus=focus, k=None, radius=16)[0]]
        for focus in index.foci
    ]  # fmt: skip
    codes, records = index.get([name[:2] for name in hits[0]])
    counts = [len(index), index.count("match = '1'"), index.count("start >= 40")]
    listed = {focus: values.tolist() for focus, values in codes.items()}
    return index.info.to_json(), hits, listed, records, counts


@functools.cache
def right_index() -> Any:
    return everything_of(material.INDEX)


def run_index(folder: pathlib.Path, broken: str):
    for what, right, found in zip(
        ("description", "hits", "codes", "records", "counts"),
        right_index(),
        everything_of(folder / "index"),
    ):
        expect(found == right, f"{broken}: the index has other {what}")


def make_adapted(random: Random, folder: pathlib.Path):
    shutil.copytree(material.ADAPTED, folder / "index")
    return broken_file(random, folder / "index" / random.choice(["", "adaptations.lance"]))


@functools.cache
def right_adapted() -> Any:
    return adapted_of(material.ADAPTED)


def adapted_of(path: pathlib.Path) -> Any:
    """Gives the hits of an adapted index, and what made its visual bits, of two versions."""
    from stvh_jax.retrieval.index import Index

    found = []
    for version in (None, 3):
        index = Index.open(path, version=version)
        (hits,) = index.search(np.array([0b10110100, 0b00011101], np.uint8), scale=0, k=20)
        found.append([(hit.match, hit.clip, hit.distance) for hit in hits])
        assert index.adaptation is not None
        found.append((index.adaptation.number, index.adaptation.projection.tolist()))
    return found


def run_adapted(folder: pathlib.Path, broken: str):
    expect(adapted_of(folder / "index") == right_adapted(), f"{broken}: the index is another")


def make_derived(random: Random, folder: pathlib.Path):
    shutil.copytree(material.INDEX, folder / "index")
    return broken_file(random, folder / "index" / "derived")


def make_features(random: Random, folder: pathlib.Path):
    shutil.copytree(material.FEATURES, folder / "features")
    return broken_file(random, folder / "features")


def run_features(folder: pathlib.Path, broken: str):
    right, found = (
        np.concatenate([np.asarray(clips.roi_features) for clips in
                        material.cached(path).evaluation_batches("test", batch_size=2)])
        for path in (material.FEATURES, folder / "features")
    )  # fmt: skip
    expect(np.array_equal(right, found), f"{broken}: clips have other features")


def make_prepared(random: Random, folder: pathlib.Path):
    shutil.copytree(material.SETS, folder / "sets")
    return broken_file(random, folder / "sets")


def set_of(path: pathlib.Path) -> Any:
    """Gives all clips of a prepared set, by split."""
    from data.prepared.pipeline import open_dataset
    from stvh_jax import config as base

    data = base.get_config().data
    data.update({"dir": str(path), "num_frames": 10, "image_size": (31, 47)})
    dataset = open_dataset(data)
    clips = {
        split: [{name: value for name, value in vars(batch).items() if value is not None}
                for batch in dataset.evaluation_batches(split, batch_size=2)]
        for split in ("train", "validation", "test")
    }  # fmt: skip
    return (dataset.activity_names, dataset.action_names, dataset.key_frame), clips


@functools.cache
def right_set() -> Any:
    return set_of(material.SETS)


def same_sets(one: Any, other: Any) -> bool:
    """Compares what `set_of` gives."""
    if one[0] != other[0] or one[1].keys() != other[1].keys():
        return False
    return all(
        len(batches) == len(other[1][split])
        and all(
            a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
            for a, b in zip(batches, other[1][split])
        )
        for split, batches in one[1].items()
    )


def run_prepared(folder: pathlib.Path, broken: str):
    expect(same_sets(set_of(folder / "sets"), right_set()), f"{broken}: the set has other clips")


def make_matrix(random: Random, folder: pathlib.Path):
    path = next((material.RUN / "filter_matrix").glob("*.npz"))
    (folder / "matrix.npz").write_bytes(broken_bytes(random, path.read_bytes()))
    return path.name


def run_matrix(folder: pathlib.Path, name: str):
    from stvh_jax.codes.filter_matrix import FilterMatrix

    right = FilterMatrix.from_bytes((material.RUN / "filter_matrix" / name).read_bytes(), where="F")
    found = FilterMatrix.from_bytes((folder / "matrix.npz").read_bytes(), where="matrix.npz")
    expect(found.digest == right.digest, "another matrix")
    codes = np.arange(8, dtype=np.uint8).reshape(4, 2)
    expect(np.array_equal(found.derive(codes, 0), right.derive(codes, 0)), "it derives others")


def make_query(random: Random, folder: pathlib.Path):
    from stvh_jax import queries
    from stvh_jax.codes import query_json

    codes = np.frombuffer(random.randbytes(2), np.uint8)
    h = {1: [random.gauss(0, 1) for _ in range(16)]}
    kinds = [
        queries.from_codes(codes), queries.from_clip(h), queries.by_name("r_set"),
        queries.toward_class_of(codes), queries.toward_class([0.1, 0.2, 0.3, 0.4]),
    ]  # fmt: skip
    query = random.choice(kinds) + random.uniform(0.1, 2) * random.choice(kinds)
    if random.random() < 0.5:
        query = queries.like(np.stack([codes, ~codes]), not_like=codes[None] ^ 5, prior=query)
    values = {
        "format": "stvh query 1", "query": query_json.to_json(query), "title": "a query",
        "bits": 16, "checkpoint": None, "adaptation": 0, "focus": random.choice([None, 1.0]),
        "liked": ["1/100"], "not_liked": [],
    }  # fmt: skip
    if random.random() < 0.7:
        content = broken_json(random, json.dumps(values))
    else:
        content = broken_bytes(random, json.dumps(values).encode())
    (folder / "query.json").write_bytes(content)


def run_query(folder: pathlib.Path, case):
    from stvh_jax.retrieval import asking, saved_query
    from stvh_jax.retrieval.index import Index

    index = Index.open(material.INDEX)
    loaded = saved_query.load(folder / "query.json")
    asked = asking.ask(index, saved=loaded)
    focus = "activity" if loaded.focus is None else loaded.focus
    hits = asking.search(index, asked, focus=focus, k=5)
    expect(bool(np.isfinite(hits.distances).all()), "distances are not finite")
    expect(
        bool(((hits.distances >= 0) & (hits.distances <= 16)).all()), "distances beyond the code"
    )
    asked.saved(index, focus).save(folder / "again.json")
    again = asking.ask(index, saved=saved_query.load(folder / "again.json"))
    same = asking.search(index, again, focus=focus, k=5)
    names = [[(hit.match, hit.clip) for hit in each] for each in (hits, same)]
    expect(names[0] == names[1], "what is saved again finds others")


TARGETS = (
    Target("checkpoints", make_checkpoint, run_checkpoint),
    Target("packed runs", make_packed, run_packed),
    Target("JSON of a run", make_json, run_json),
    Target("index folders", make_index, run_index),
    Target("adapted index", make_adapted, run_adapted),
    Target("derived codes", make_derived, run_index),
    Target("feature cache", make_features, run_features),
    Target("prepared sets", make_prepared, run_prepared, seconds=60),
    Target("filter matrix", make_matrix, run_matrix),
    Target("saved query", make_query, run_query),
)
