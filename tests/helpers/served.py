"""The page, served by a thread, and asked without a browser, which would tidy what is asked."""

import contextlib
import dataclasses
import http.client
import threading
import time
import urllib.parse

import uvicorn

from stvh_jax.app import server
from stvh_jax.app.archive import Archive
from stvh_jax.app.loops import Loops
from stvh_jax.app.saved import SavedQueries
from stvh_jax.app.security import Door
from stvh_jax.app.uploads import Uploads


@dataclasses.dataclass(frozen=True)
class Answered:
    """An answer: its status, its headers by their names in small letters, and its content."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self):
        return self.content.decode()


@dataclasses.dataclass(frozen=True)
class Served:
    """A page that is served."""

    archive: Archive
    door: Door

    @property
    def address(self):
        return f"http://127.0.0.1:{self.door.port}"

    def ask(self, path, *, method="GET", body=None, **headers):
        """Sends a request as it is; underscores in the names of headers are hyphens."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.door.port, 60)
        ) as line:
            line.request(method, path, body, headers)
            answer = line.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(answer.status, told, answer.read())

    def get(self, path, **parameters):
        """Asks for an address with parameters, lists of values among them."""
        query = urllib.parse.urlencode(parameters, doseq=True)
        return self.ask(f"{path}?{query}" if query else path)


@contextlib.contextmanager
def serving(index, folder, *, token=None, run=None, port=0):
    """Serves an index, with a run for uploads; what is made goes to a folder."""
    opened = server.listen("127.0.0.1", port)
    door = Door("127.0.0.1", opened.getsockname()[1], token)
    uploads = Uploads(index.uri, folder, run=run)
    archive = Archive(index, uploads=uploads, saved=SavedQueries(folder / "saved"))
    loops = Loops(index, archive.turn, folder / "loops")
    application = server.build(archive, loops, door, folder)
    # Lines of a page come to be kept open by browsers; they are not waited for in the end.
    config = uvicorn.Config(
        application, log_level="warning", access_log=False, timeout_graceful_shutdown=1
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [opened]})
    thread.start()
    try:
        while thread.is_alive() and not running.started:
            time.sleep(0.01)
        yield Served(archive, door)
    finally:
        running.should_exit = True
        thread.join()
        opened.close()
