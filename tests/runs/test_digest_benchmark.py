"""The benchmark of the digests of checkpoints measures what it says."""

from etils import epath

from benchmarks import checkpoint_digests as subject
from stvh_jax import files
from stvh_jax.runs import checkpoints, folders


def test_every_step_is_measured_in_turns(tmp_path):
    measured = subject.measure(subject.ARRAYS * 2, 2, tmp_path)
    assert list(measured) == ["saving", "loading the model", "resuming"]
    for kinds in measured.values():
        assert [len(seconds) for seconds in kinds] == [2, 2]
        assert all(second > 0 for seconds in kinds for second in seconds)
    assert not list(tmp_path.iterdir())


def test_without_digests_there_are_none(tmp_path):
    run, trees = epath.Path(tmp_path), ({"a": subject.arrays(100, 0)}, {"b": {}})
    with subject.without_digests():
        subject.save(run, *trees)
        assert checkpoints.load_variables(run, 1)["a"].keys() == trees[0]["a"].keys()
    path = run / folders.CHECKPOINTS / "1" / folders.DIGESTS / "metadata"
    assert files.read_json(path, "digests")["variables"] == {}
