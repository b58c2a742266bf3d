"""Shared runs: what is packed, that it is the same model, and what no archive can do."""

import contextlib
import http.server
import io
import pathlib
import re
import shutil
import threading
import zipfile

import numpy as np
import pytest

import stvh_jax
from stvh_jax.cli import share
from stvh_jax.errors import Damaged, UserError
from stvh_jax.runs import folders
from stvh_jax.runs import packed as packed_runs
from tests.helpers.fakes import FakeDataset

LINE = re.compile(r"error: [^\n]+\n")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Gives the folder of unpacked runs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "stvh_jax" / "runs"


@pytest.fixture(scope="module")
def packed(trained, tmp_path_factory):
    """Gives the bytes of the shared run, packed."""
    out = tmp_path_factory.mktemp("packed") / "run.zip"
    packed_runs.pack(trained(), out)
    return out.read_bytes()


@pytest.fixture
def archive(packed, tmp_path):
    """Gives a file of the packed run."""
    path = tmp_path / "run.zip"
    path.write_bytes(packed)
    return path


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what `server.contents` has; of `/cut`, with less than is announced."""

    def do_GET(self):
        self.server.asked.append(self.path)
        content = self.server.contents.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content[: len(content) // 2] if self.path == "/cut" else content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(packed):
    """Serves the packed run from this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        serving.contents, serving.asked = {"/run": packed, "/cut": packed, "/page": b"<html>"}, []
        serving.address = f"http://127.0.0.1:{serving.server_port}"
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def codes(path):
    encoder, clips = stvh_jax.load(path), FakeDataset().clips["test"]
    return encoder.encode(None, clips.boxes, clips.actor_mask).codes


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def zipped(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


def test_what_encoding_needs_is_packed_and_nothing_more(trained, tmp_path, capsys):
    best, latest = (stvh_jax.load(trained(), checkpoint=kind).step for kind in ("best", "latest"))
    for kind, step in (("best", best), ("latest", latest)):
        out = tmp_path / f"{kind}.zip"
        assert share.main([str(trained()), str(out), "--checkpoint", kind]) == 0
        megabytes = out.stat().st_size / 1e6
        assert capsys.readouterr().out == (
            f"{out}: the {kind} checkpoint, step {step}, {megabytes:.1f} MB\n"
        )
        with zipfile.ZipFile(out) as archive:
            names = archive.namelist()
            assert not any(str(trained()).encode() in archive.read(name) for name in names)
        tops = {name.split("/")[2] for name in names if "/" in name}
        assert {name for name in names if "/" not in name} == {"config.json", "finished.json"}
        assert all(name.startswith(f"checkpoints/{step}/") for name in names if "/" in name)
        assert tops == {"config", "digests", "variables"} | (
            {"metrics"} if kind == "best" else set()
        )


def test_the_same_run_gives_the_same_bytes(trained, packed, tmp_path):
    shutil.copytree(trained(), tmp_path / "elsewhere", copy_function=shutil.copyfile)
    packed_runs.pack(tmp_path / "elsewhere", tmp_path / "run.zip")
    assert (tmp_path / "run.zip").read_bytes() == packed


def test_the_unpacked_folder_is_the_run(trained, archive, tmp_path):
    with zipfile.ZipFile(archive) as unpacked:
        unpacked.extractall(tmp_path / "run")
    run = folders.find(workdir=tmp_path / "run", bits=16)
    original, copy = stvh_jax.load(trained()), stvh_jax.load(run)
    assert (copy.name, copy.checkpoint) == (original.name, "best")
    assert copy.config.to_dict() == original.config.to_dict()


def test_a_file_is_loaded_as_its_run(trained, archive, cache):
    expected = codes(trained())
    for path in (archive, str(archive), f"file://{archive}"):
        for focus, code in codes(path).items():
            np.testing.assert_array_equal(code, expected[focus])
    assert len(list(cache.iterdir())) == 1


@pytest.mark.slow
def test_another_file_of_the_same_name_is_another_run(trained, archive, cache):
    stvh_jax.load(archive)
    packed_runs.pack(trained(4), archive, checkpoint="latest")
    assert stvh_jax.load(archive).name == stvh_jax.load(trained(4), checkpoint="latest").name
    assert len(list(cache.iterdir())) == 2


def test_a_url_is_fetched_once(trained, server):
    for _ in range(2):
        loaded = stvh_jax.load(f"{server.address}/run")
        assert loaded.name == stvh_jax.load(trained()).name
    assert server.asked == ["/run"]


def test_what_cannot_be_fetched(server, cache):
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as closed:
        unreachable = f"http://127.0.0.1:{closed.server_port}/run.zip"
    mistakes = {
        f"{server.address}/nowhere.zip": r"cannot be fetched \(HTTP Error 404: Not Found\); try",
        f"{server.address}/page": r"is not a whole \.zip file \(File is not a zip file\); fetch it",
        # Some Pythons tell that an answer broke off, others leave it to the archive's end.
        f"{server.address}/cut": r"(is not a whole \.zip file|cannot be fetched) \([^\n]+\); ",
        unreachable: r"cannot be fetched \([^\n]*Connection refused\); try it",
        "https://[bad": r"cannot be fetched \(Invalid IPv6 URL\); try it",
        "http://": r"cannot be fetched \(no host given\); try it",
    }
    for url, message in mistakes.items():
        with pytest.raises(UserError, match=f"^{re.escape(url)} {message}[^\n]*$"):
            stvh_jax.load(url)
    assert not files(cache)


def test_no_file_gets_out_of_its_folder(packed, archive, cache, tmp_path):
    names = [
        "../evil",
        "../../../../evil",
        str(tmp_path / "evil"),
        "checkpoints/../../evil",
        "checkpoints/6/config/../../../../evil",
        "checkpoints/6/variables/..",
        "..\\evil",
        "evil.py",
        "checkpoints/6/train/evil",
    ]
    with zipfile.ZipFile(archive, "a") as opened:
        for name in names:
            opened.writestr(name, "evil")
    before = files(tmp_path)
    stvh_jax.load(archive)
    with zipfile.ZipFile(io.BytesIO(packed)) as honest:
        (run,) = cache.iterdir()
        assert files(tmp_path) == sorted([*before, *(run / name for name in honest.namelist())])


def test_what_holds_no_run(packed, archive, cache, tmp_path):
    with zipfile.ZipFile(archive) as opened:
        largest = max(opened.infolist(), key=lambda member: member.compress_size)
    damaged = bytearray(packed)
    damaged[largest.header_offset + 30 + len(largest.filename) + largest.compress_size // 2] ^= 0xFF
    mistakes = [
        (b"", r"is not a whole \.zip file"),
        (
            packed[: len(packed) // 2],
            r"is not a whole \.zip file \(File is not a zip file\)",
        ),
        (bytes(damaged), r"is not a whole \.zip file \([^\n]+\); fetch it again$"),
        (zipped({}), "does not hold a run; pack one with"),
        (zipped({"readme.txt": "hello"}), "does not hold a run; pack one with"),
        (zipped({"config.json": "{}"}), "does not hold a run; pack one with"),
        (zipped({"run/config.json": "{}"}), "does not hold a run; pack one with"),
    ]
    for content, message in mistakes:
        archive.write_bytes(content)
        with pytest.raises(UserError, match=f"^{archive} {message}[^\n]*$"):
            stvh_jax.load(archive)
    assert not files(cache)
    with pytest.raises(UserError, match=r"^[^\n]*nowhere.zip: no such file$"):
        stvh_jax.load(tmp_path / "nowhere.zip")


def test_absurd_sizes_are_refused(archive, server, cache, monkeypatch):
    monkeypatch.setattr(packed_runs, "_MOST_BYTES", 1000)
    with pytest.raises(UserError, match=f"^{archive} unpacks to more than 0 GiB; it is not a run$"):
        stvh_jax.load(archive)
    with pytest.raises(
        UserError, match=f"^{server.address}/run has more than 0 GiB; it is not a run"
    ):
        stvh_jax.load(f"{server.address}/run")
    assert not files(cache)


def test_a_cache_that_cannot_be_written_is_said(archive, cache):
    cache.parent.parent.write_text("no folder")
    with pytest.raises(UserError, match=f"^{archive} cannot be unpacked into {cache} [^\n]+$"):
        stvh_jax.load(archive)


def test_of_two_processes_the_first_one_s_folder_stays(tmp_path):
    for name in ("made", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "whose").write_text(name)
    packed_runs._put(tmp_path / "made", packed_runs.epath.Path(tmp_path / "there"))
    assert (tmp_path / "there" / "whose").read_text() == "there"


def test_mistakes_in_packing_are_one_line(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.zip" / "full").mkdir(parents=True)
    shutil.copytree(trained(), "damaged")
    for part in pathlib.Path("damaged/checkpoints").glob("*/variables/manifest.ocdbt"):
        part.unlink()
    run = str(trained())
    mistakes = {
        ("nowhere", "run.zip"): "is not a run (no readable config.json)",
        (run, "run"): "run does not end in .zip; give the file to write",
        (run, "folder.zip"): "cannot write folder.zip (",
        (run, "nowhere/run.zip"): "cannot write nowhere/run.zip (No such file or directory)",
        ("damaged", "run.zip"): "is not a whole checkpoint",
        (run, "run.zip", "--checkpoint", "first"): "invalid choice",
        (run,): "the following arguments are required: OUT.zip",
    }
    for arguments, message in mistakes.items():
        try:
            status = share.main(list(arguments))
        except SystemExit as stopped:
            status = stopped.code
        error = capsys.readouterr().err
        assert status == 2
        assert LINE.fullmatch(error), error
        assert message in error
    assert {path.name for path in tmp_path.iterdir()} == {"damaged", "folder.zip"}


def rezipped(content, change):
    """Zips the members of an archive again, as `change(name, bytes)` gives them."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(out, "w") as changed:
        for name in archive.namelist():
            changed.writestr(name, change(name, archive.read(name)))
    return out.getvalue()


def test_an_archive_that_pack_did_not_make_is_refused(packed, archive, cache, monkeypatch):
    twice, flagged = io.BytesIO(packed), bytearray(packed)
    with zipfile.ZipFile(twice, "a") as opened, pytest.warns(UserWarning, match="Duplicate name"):
        opened.writestr("config.json", "{}")
    for place in re.finditer(rb"PK\x01\x02", packed):
        flagged[place.start() + 8] |= 1
    without = rezipped(packed, lambda name, text: b"{}" if name == "config.json" else text)
    for content, message in (
        (twice.getvalue(), "has a file twice; pack the run again"),
        (bytes(flagged), "is encrypted; pack the run again"),
        (without, "is not a run that can be used: config.json cannot be used: config has no field"),
    ):
        archive.write_bytes(content)
        with pytest.raises(Damaged, match=f"^{archive} {message}[^\n]*$"):
            stvh_jax.load(archive)
    archive.write_bytes(packed)
    for limit, message in (
        ("_MOST_MEMBERS", "has more than 2 files; it is not a run"),
        ("_MOST_LISTED", "is not a whole .zip file .its list of members is absurdly long."),
        ("_MOST_TEXT", "is not a run: [^ ]+ has more than 0 MiB"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(packed_runs, limit, 2)
            with pytest.raises(UserError, match=f"^{archive} {message}[^\n]*$"):
                stvh_jax.load(archive)
    assert not files(cache)


def test_a_link_in_an_archive_is_unpacked_as_a_file(packed, archive, cache):
    with zipfile.ZipFile(archive, "a") as opened:
        link = zipfile.ZipInfo("checkpoints/6/variables/link")
        link.external_attr = 0o120777 << 16
        opened.writestr(link, "/etc/passwd")
    stvh_jax.load(archive)
    (link,) = cache.rglob("link")
    assert not link.is_symlink()
    assert link.read_text() == "/etc/passwd"
