"""Fetches a file from a web server that need not be honest: neither endless nor from elsewhere."""

import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import BinaryIO

from stvh_jax import files
from stvh_jax.errors import NotFound, UserError

# A server may be silent for so long, and sends so many bytes a second from then on.
_SECONDS_OF_SILENCE = 30
_LEAST_BYTES_A_SECOND = 16 << 10


def fetch(url: str, file: BinaryIO, *, most: int) -> None:
    """Writes what a URL holds to a file.

    Args:
      url: `https://` or `http://`; it may lead on to others of these, but not from the first to
        the second.
      file: open for writing.
      most: the most bytes that are fetched.

    Raises:
      NotFound: it cannot be fetched: no answer, another one, or one that comes too slowly.
      UserError: it is larger.
    """
    download = _Download(url, file, most)
    started = time.monotonic()
    download.start()
    while download.is_alive():
        download.join(timeout=0.2)
        late = time.monotonic() - started - _SECONDS_OF_SILENCE
        if late > 0 and download.received < late * _LEAST_BYTES_A_SECOND:
            raise NotFound(f"{url} cannot be fetched (it comes too slowly); try again later")
    if isinstance(download.failure, UserError):
        raise download.failure
    if download.failure is not None:
        cause = files.reason(download.failure).removeprefix("<urlopen error ").removesuffix(">")
        raise NotFound(
            f"{url} cannot be fetched ({cause}); try it in a browser"
        ) from download.failure


class _Download(threading.Thread):
    """One download, in a thread: a server can make any single read of it last for ever.

    Attributes:
      received: how many bytes there are so far.
      failure: what went wrong, if anything.
    """

    def __init__(self, url: str, file: BinaryIO, most: int):
        super().__init__(daemon=True)
        self._url, self._file, self._most = url, file, most
        self.received = 0
        self.failure: Exception | None = None

    def run(self):
        """Fetches the file; whoever waits reads the failure."""
        try:
            self._fetch()
        except urllib.error.HTTPError as error:
            error.close()
            self.failure = error
        except Exception as error:  # of the network, the protocol or the disk
            self.failure = error

    def _fetch(self):
        request = urllib.request.Request(self._url, headers={"User-Agent": "stvh_jax"})
        opener = urllib.request.build_opener(_Redirects)
        with opener.open(request, timeout=_SECONDS_OF_SILENCE) as response:
            announced = int(response.headers.get("Content-Length") or 0)
            self._check_size(announced)
            while block := response.read1(1 << 16):
                self._check_size(self.received + len(block))
                self._file.write(block)
                self.received += len(block)
        if self.received < announced:
            raise OSError(f"it ends after {self.received} of {announced} bytes")

    def _check_size(self, size: int):
        if size > self._most:
            raise UserError(f"{self._url} has more than {self._most >> 30} GiB; it is not a run")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to other addresses of the same kind, or from http to https."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        """Makes the next request."""
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme != "https" and (scheme, req.type) != ("http", "http"):
            fp.close()
            raise urllib.error.URLError(f"it leads from {req.type} to {scheme}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
