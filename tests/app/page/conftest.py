"""A small index, the page that shows it, and a browser that looks at it."""

import re
import shutil

import pytest

from tests.helpers.served import serving
from tests.helpers.shown_index import make_shown_index

# Seconds that anything in the browser may take; far more than it needs, for slow machines.
PATIENCE = 30
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# The browser asks nobody but the page.
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


@pytest.fixture(scope="session")
def shown(tmp_path_factory):
    """Gives a small index, to be read only."""
    pytest.importorskip("av")
    return make_shown_index(tmp_path_factory.mktemp("shown"))


@pytest.fixture(scope="session")
def served(shown, tmp_path_factory):
    """Serves it to this machine."""
    with serving(shown.open(), tmp_path_factory.mktemp("served")) as page:
        yield page


# Not for longer than the tests of this folder: while it runs, this thread has an event loop that
# runs, which other libraries would not expect.
@pytest.fixture(scope="package")
def browser():
    """Starts a Chromium that shows nothing; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    playwright.expect.set_options(timeout=1000 * PATIENCE)
    with playwright.sync_playwright() as started:
        paths = [*map(shutil.which, BROWSERS), shutil.which(started.chromium.executable_path)]
        path = next(filter(None, paths), None)
        if path is None:
            pytest.skip("no Chromium is found; CONTRIBUTING.md says how to install one")
        running = started.chromium.launch(executable_path=path, args=OPTIONS)
        yield running
        running.close()


class Watched:
    """Opens pages, and notes what the browser complains of."""

    def __init__(self, browser, served):
        self._browser, self._served = browser, served
        self._contexts, self.complaints = [], []
        # What a test expects the browser to complain of.
        self.allowed = None

    def open(self, path="/", **options):
        """Opens an address of the page in a context of its own."""
        page = self.blank(**options)
        page.goto(path)
        return page

    def blank(self, **options):
        """Opens an empty page; options are those of a context."""
        usual = {"base_url": self._served.address, "viewport": {"width": 1280, "height": 900}}
        context = self._browser.new_context(**usual | options)
        context.set_default_timeout(1000 * PATIENCE)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._told)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def _told(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def close(self):
        for context in self._contexts:
            context.close()

    def unexpected(self):
        allowed = self.allowed
        return [text for text in self.complaints if not (allowed and re.search(allowed, text))]


@pytest.fixture
def watched(browser, served):
    """Gives a browser on the page; in the end it has nothing to complain of."""
    watched = Watched(browser, served)
    yield watched
    watched.close()
    assert watched.unexpected() == []
