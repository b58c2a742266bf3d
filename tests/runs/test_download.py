"""Fetching from a web server that need not be honest: each ends, and in one line."""

import contextlib
import http.server
import io
import tempfile
import threading
import time
import urllib.error
import urllib.request

import pytest

from stvh_jax.errors import NotFound, UserError
from stvh_jax.runs import download

CONTENT = bytes(range(256)) * 1000


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the path says."""

    def do_GET(self):
        with contextlib.suppress(ConnectionError):
            getattr(self, self.path.strip("/").partition("?")[0])()

    def whole(self):
        self._begin(200, {"Content-Length": len(CONTENT)})
        self.wfile.write(CONTENT)

    def unannounced(self):
        self._begin(200, {})
        self.wfile.write(CONTENT)

    def cut(self):
        self._begin(200, {"Content-Length": len(CONTENT)})
        self.wfile.write(CONTENT[:1000])

    def huge(self):
        self._begin(200, {"Content-Length": 10**12})
        self._drip(b"x")

    def absurd(self):
        self._begin(200, {"Content-Length": "many"})

    def leads(self):
        self._begin(302, {"Location": self.path.partition("?")[2]})

    def circle(self):
        self._begin(302, {"Location": "/circle"})

    def drips(self):
        self._begin(200, {"Content-Length": 10**6})
        self._drip(b"x")

    def heads(self):
        self.wfile.write(b"HTTP/1.0 200 OK\r\n")
        self._drip(b"X")

    def _begin(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()

    def _drip(self, byte):
        while not self.server.ending.wait(0.02):
            self.wfile.write(byte)
            self.wfile.flush()

    def log_message(self, *_):
        pass


@pytest.fixture
def address(monkeypatch):
    """Serves from this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        serving.ending = threading.Event()
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.ending.set()
        serving.shutdown()
        thread.join()


def fetched(url, most=10**6):
    with tempfile.TemporaryFile() as file:
        download.fetch(url, file, most=most)
        file.seek(0)
        return file.read()


@pytest.mark.parametrize("path", ["whole", "unannounced", "leads?/whole"])
def test_what_is_there_is_fetched(path, address):
    assert fetched(f"{address}/{path}") == CONTENT


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("cut", r"it ends after 1000 of 256000 bytes"),
        ("absurd", r"invalid literal .* 'many'"),
        ("leads?file:///etc/passwd", "it leads from http to file|.*not allowed"),
        ("leads?ftp://127.0.0.1/run.zip", "it leads from http to ftp"),
        ("circle", "HTTP Error 302: .*infinite loop.*"),
    ],
)
def test_what_is_not_fetched_is_one_line(path, message, address):
    with pytest.raises(NotFound, match=rf"/{path.split('?')[0]}.* cannot be fetched \({message}"):
        fetched(f"{address}/{path}")


def test_no_secure_address_leads_to_one_that_is_not():
    request, redirects = urllib.request.Request("https://a.b/c"), download._Redirects()
    secure = redirects.redirect_request(request, io.BytesIO(), 302, "", {}, "https://d.e/f")
    assert secure.full_url == "https://d.e/f"
    with pytest.raises(urllib.error.URLError, match="it leads from https to http"):
        redirects.redirect_request(request, io.BytesIO(), 302, "", {}, "http://d.e/f")


def test_a_size_that_is_too_large_is_refused_as_soon_as_it_is_known(address):
    with pytest.raises(UserError, match="huge has more than 1 GiB; it is not a run"):
        fetched(f"{address}/huge", most=1 << 30)
    with pytest.raises(UserError, match="unannounced has more than 0 GiB; it is not a run"):
        fetched(f"{address}/unannounced", most=1000)


@pytest.mark.parametrize("path", ["drips", "heads"])
def test_a_server_that_takes_for_ever_is_left(path, address, monkeypatch):
    monkeypatch.setattr(download, "_SECONDS_OF_SILENCE", 0.3)
    began = time.monotonic()
    with pytest.raises(NotFound, match=f"{path} cannot be fetched .it comes too slowly"):
        fetched(f"{address}/{path}")
    assert time.monotonic() - began < 10
