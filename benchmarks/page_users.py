"""Users of the page, each in a thread of one process: they search, slide, narrow, teach and look.

python -m benchmarks.page_users --port=PORT [--users=50] [--seconds=60] [--think=1]
  [--clips=1000000]

Started by `benchmarks.page`, so that what the users take is not taken from the server's time.
"""

import collections
import gzip
import http.client
import json
import re
import threading
import time
import urllib.parse

import numpy as np
from absl import flags

from benchmarks.page_index import ACTIVITIES, CLIPS_EACH, STEP
from stvh_jax.cli import parsing

# The clips that a page shows, as MATCH/CLIP.
_SHOWN = re.compile(r'<li class="card[^>]* data-name="([^"]+)"')
# Seconds that a user waits for an answer.
_PATIENCE = 60
# Positions of the slider when it is moved once, and posters that come into view after a search.
_STEPS, _POSTERS = 10, 6
# A hand that moves a slider stays this share of the thinking time at each position.
_MOVING = 0.1


class Page:
    """The page as one user's browser asks for it, over one connection that is kept open."""

    def __init__(self, port: int):
        """Connects with the first request."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)

    def get(self, path: str, parameters=()) -> tuple[float, bytes]:
        """Asks for something.

        Args:
          path: of its address.
          parameters: names and values.

        Returns:
          The seconds until all of the answer was there, and the answer.

        Raises:
          OSError: another answer than 200.
        """
        address = f"{path}?{urllib.parse.urlencode(list(parameters))}" if parameters else path
        begun = time.perf_counter()
        self._connection.request("GET", address, headers={"Accept-Encoding": "gzip"})
        answer = self._connection.getresponse()
        body = answer.read()
        seconds = time.perf_counter() - begun
        if answer.getheader("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if answer.status != 200:
            raise OSError(f"{address}: {answer.status} {body[:200]!r}")
        return seconds, body


def shown(body: bytes) -> list[str]:
    """Names the clips that a page shows."""
    return _SHOWN.findall(body.decode())


def any_clip(random: np.random.Generator, clips: int) -> str:
    """Names a clip of the index at random."""
    number = int(random.integers(clips))
    match, place = divmod(number, CLIPS_EACH)
    return f"match_{match + 1:03d}/{round(1000 * STEP * place)}"


class User:
    """Somebody who searches, again and again.

    Attributes:
      spent: by what was done, the seconds that each answer took.
      errors: what went wrong.
    """

    def __init__(self, port: int, clips: int, think: float, seed: int):
        """Does nothing yet.

        Args:
          port: of the page.
          clips: how many clips the index has.
          think: mean seconds between two things that are done.
          seed: what is done depends on it.
        """
        self._page, self._clips, self._think = Page(port), clips, think
        self._random = np.random.default_rng((2, seed))
        self.spent: dict[str, list[float]] = collections.defaultdict(list)
        self.errors: list[str] = []

    def use(self, until: float) -> None:
        """Uses the page until a time of the clock."""
        while time.perf_counter() < until:
            try:
                for what, path, parameters in self._session():
                    self._ask(what, path, parameters)
                    if time.perf_counter() >= until:
                        return
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                self._page._connection.close()

    def _ask(self, what: str, path: str, parameters: list) -> None:
        seconds, self._answer = self._page.get(path, parameters)
        self.spent[what].append(seconds)

    def _thought(self, share: float = 1.0) -> None:
        """Waits a while, from half of the mean to one and a half."""
        time.sleep(share * self._think * self._random.uniform(0.5, 1.5))

    def _session(self):
        """Gives what is done, one after the other: what it is, a path and parameters."""
        random, name = self._random, any_clip(self._random, self._clips)
        self._thought()
        yield "page", "/", [("clip", name)] if random.random() < 0.5 else []
        for asked in (("clip", name), ("activity", str(random.choice(ACTIVITIES)))):
            self._thought()
            yield "search", "/results", [asked]
            hits = shown(self._answer)
            for hit in hits[:_POSTERS]:
                yield "poster", "/poster", [("clip", hit)]
            self._thought()
            for scale in np.linspace(1, random.uniform(0.05, 1), _STEPS + 1)[1:]:
                yield "slider", "/results", [asked, ("scale", f"{scale:.2f}")]
                self._thought(_MOVING)
            match = f"match_{1 + int(random.integers(self._clips // CLIPS_EACH)):03d}"
            for field, value in (("match", match), ("activity", str(random.choice(ACTIVITIES)))):
                self._thought()
                yield "narrow", "/results", [asked, (f"is.{field}", value)]
            taught = [("like", hits[0]), ("like", hits[1]), ("not", hits[2])]
            self._thought()
            yield "teach", "/results", [asked, *taught, ("round", "0.67")]


def use(port: int, clips: int, users: int, seconds: float, think: float) -> dict:
    """Lets users use the page at once, and gives the seconds of each answer, and the errors."""
    all_users = [User(port, clips, think, seed) for seed in range(users)]
    begun = time.perf_counter()
    threads = [
        threading.Thread(target=user.use, args=[begun + seconds], daemon=True) for user in all_users
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent: dict[str, list[float]] = collections.defaultdict(list)
    for user in all_users:
        for what, own in user.spent.items():
            spent[what] += own
    return {
        "seconds": time.perf_counter() - begun,
        "spent": spent,
        "errors": [error for user in all_users for error in user.errors],
    }


if __name__ == "__main__":
    PORT = flags.DEFINE_integer("port", None, "The page's.")
    CLIPS = flags.DEFINE_integer("clips", 10**6, "How many clips its index has.")
    USERS = flags.DEFINE_integer("users", 50, "How many users there are.", lower_bound=1)
    SECONDS = flags.DEFINE_float("seconds", 60.0, "For how long.", lower_bound=0.1)
    THINK = flags.DEFINE_float("think", 1.0, "Mean seconds between what one does.", lower_bound=0.0)

    def _run(_):
        done = use(PORT.value, CLIPS.value, USERS.value, SECONDS.value, THINK.value)
        print(json.dumps(done))

    parsing.run_flags(_run, required=("port",))
