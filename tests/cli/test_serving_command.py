"""search.py serve: its mistakes, and that it serves until it is told to end."""

import http.client
import re
import signal
import subprocess
import sys

import pytest

from stvh_jax.cli import search
from tests.helpers.shown_index import make_shown_index

pytest.importorskip("av")
MISTAKES = [
    (["--port", "99999"], "--port 99999; give a number"),
    (["--token", "short"], "give 16 letters and digits or more"),
    (["--token", "with spaces and é in it"], "give 16 letters and digits or more"),
    (["--host", "nowhere"], "--host 'nowhere'; give an address"),
    (["--host", "192.0.2.1", "--port", "0"], "cannot listen on 192.0.2.1:0"),
    (["--beside", "no_index"], "no_index holds no index"),
    (["--index", "no_index"], "no_index holds no index"),
]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return str(make_shown_index(tmp_path_factory.mktemp("serving")).open().uri)


@pytest.mark.parametrize("options, message", MISTAKES)
def test_a_mistake_is_one_line(index, options, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert search.main(argv=["serve", "--index", index, "--port", "0", *options]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]


def test_it_serves_until_ctrl_c(index):
    command = [sys.executable, "-m", "stvh_jax", "search", "serve", "--index", index]
    command += ["--port", "0", "--token", "a-token-of-mine-alone"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as served:
        words = [served.stdout.readline(), served.stdout.readline()]
        port = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=a-token-of-mine-alone ", words[1])
        statuses = []
        for path in ("/", "/?token=wrong-token-of-mine", "/?token=a-token-of-mine-alone"):
            line = http.client.HTTPConnection("127.0.0.1", int(port[1]), timeout=60)
            line.request("GET", path)
            statuses.append(line.getresponse().status)
            line.close()
        served.send_signal(signal.SIGINT)
        _, errors = served.communicate(timeout=60)
    assert words[0] == f"{index}: 53 clips\n"
    assert statuses == [401, 401, 303]
    assert served.returncode == 130 and "Traceback" not in errors
