"""The same index in a folder and in a bucket: an S3 server on this machine."""

import urllib.request

import pytest

from stvh_jax.errors import UserError
from stvh_jax.retrieval.index import Index
from tests.helpers.indexed_clips import BITS, listed, random_codes, random_matrix, random_record

pytestmark = pytest.mark.slow

CLIPS = 101


@pytest.fixture(scope="module")
def server():
    """Gives the address of an S3 server with a bucket, `videos`."""
    moto = pytest.importorskip("moto.server", reason="moto, which is the S3 server, is missing")
    running = moto.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    address = "http://{}:{}".format(*running.get_host_and_port())
    urllib.request.urlopen(urllib.request.Request(f"{address}/videos", method="PUT")).close()
    yield address
    running.stop()


@pytest.fixture
def options(server, tmp_path, monkeypatch):
    # What is derived from a bucket's codes is kept on this machine.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return {
        "aws_access_key_id": "someone",
        "aws_secret_access_key": "something",
        "aws_region": "us-east-1",
        "aws_endpoint": server,
        "allow_http": "true",
    }


def test_a_bucket_is_as_a_folder(options, tmp_path):
    codes, record = random_codes(CLIPS, distinct=40), random_record(CLIPS)
    matrix = random_matrix()
    found = []
    for uri, given in ((str(tmp_path / "index"), None), ("s3://videos/index", options)):
        index = Index.create(
            uri, bits=BITS, stored_foci=(0, 3), filter_matrix=matrix, storage_options=given
        )
        index.add(codes, **record)
        changed = {name: values[:3] for name, values in record.items()}
        index.upsert({focus: values[1:4] for focus, values in codes.items()}, **changed)
        deleted = index.delete("match = '9'")
        reader = Index.open(uri, storage_options=given)
        query = {focus: values[5] for focus, values in codes.items()}
        hits = [
            listed(reader.search(query, focus=focus, where=where, k=20)[0])
            for focus in (0, 1, 2, 2.3, 3)
            for where in (None, "CAST(clip AS BIGINT) % 2 = 0", "activity = 'set'")
        ]
        before = Index.open(uri, version=2, storage_options=given)
        found.append((deleted, len(reader), len(before), reader.version, hits))
        with pytest.raises(UserError, match="where 'mach = 3': .*there is no field 'mach'"):
            reader.search(query, where="mach = 3")
    assert found[0] == found[1]
    assert found[0][1] == CLIPS - found[0][0] < found[0][2] == CLIPS
    assert len(list((tmp_path / "cache" / "stvh_jax").iterdir())) == 2
    assert {path.name for path in (tmp_path / "index").iterdir()} == {
        "clips.lance", "derived", "digests", "writer.lock",
    }  # fmt: skip


def test_a_bucket_without_an_index(options):
    assert not Index.exists("s3://videos/nothing", storage_options=options)
    with pytest.raises(UserError, match="s3://videos/nothing holds no index"):
        Index.open("s3://videos/nothing", storage_options=options)


def test_a_bucket_that_is_not_there(options):
    with pytest.raises(UserError, match="s3://nowhere/index (cannot be read|holds no index)"):
        Index.open("s3://nowhere/index", storage_options=options)
