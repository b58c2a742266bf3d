"""What JAX compiled is kept between processes, in a folder of one's own, and never in the way."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAM = """
import json, sys
import stvh_jax
folder = stvh_jax.keep_compiled()
import jax
seen = []
jax.monitoring.register_event_listener(lambda name, **_: seen.append(name))
value = float(jax.jit(lambda x: (x * 3).sum())(jax.numpy.arange(5.0)))
print(json.dumps([
    value, folder and str(folder), jax.config.jax_compilation_cache_dir,
    seen.count("/jax/compilation_cache/cache_hits"),
    seen.count("/jax/compilation_cache/cache_misses"),
]))
"""


def compiled(cache, **variables):
    """Compiles a little in a process of its own; gives value, folders, hits and misses."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment |= {"XDG_CACHE_HOME": str(cache), **variables}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return json.loads(done.stdout)


def test_the_next_process_reads_what_one_compiled_and_mends_nothing_of_ours(tmp_path):
    value, folder, used, hits, misses = compiled(tmp_path)
    assert (value, hits, folder) == (30.0, 0, used)
    assert misses
    assert pathlib.Path(folder).stat().st_mode & 0o77 == 0
    assert compiled(tmp_path) == [30.0, folder, used, misses, 0]
    for path in pathlib.Path(folder).iterdir():
        path.write_bytes(path.read_bytes()[:20])
    value, _, _, hits, _ = compiled(tmp_path)  # without a word on stderr, too
    assert (value, hits) == (30.0, 0)


def test_a_users_own_folder_or_none_is_obeyed(tmp_path):
    own = str(tmp_path / "own")
    value, folder, used, _, _ = compiled(tmp_path / "cache", JAX_COMPILATION_CACHE_DIR=own)
    assert (value, folder, used) == (30.0, None, own)
    off = compiled(tmp_path / "cache", JAX_ENABLE_COMPILATION_CACHE="false")
    assert off[:3] == [30.0, None, None]
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_made_is_done_without(tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert compiled(tmp_path / "cache")[:3] == [30.0, None, None]


def test_what_is_old_or_too_much_is_forgotten(tmp_path, monkeypatch):
    from stvh_jax import compiled_programs

    monkeypatch.setattr(compiled_programs, "_MOST_BYTES", 1000)
    now = compiled_programs.time.time()
    for name, size, days in [("old", 1, 31), ("a", 300, 3), ("b", 300, 2), ("c", 300, 1)]:
        (tmp_path / name).write_bytes(b"0" * size)
        os.utime(tmp_path / name, (now - days * 86400,) * 2)
    compiled_programs._forget(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c"}
    (tmp_path / "d").write_bytes(b"0" * 300)
    compiled_programs._forget(tmp_path)  # 1200 bytes: down to half of what may be
    assert {path.name for path in tmp_path.iterdir()} == {"d"}
