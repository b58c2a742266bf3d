"""A query that stands: clips are reported as they are added to an index, if they are near."""

import functools
import ipaddress
import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from stvh_jax.errors import UserError, shown
from stvh_jax.retrieval.asking import Asked, search
from stvh_jax.retrieval.hits import Hit
from stvh_jax.retrieval.index import Index
from stvh_jax.retrieval.index_info import Number

# Seconds that a webhook may take.
_PATIENCE = 5.0


def distance_of_share(index: Index, asked: Asked, percent: Number, **options: Any) -> float:
    """Gives the distance within which so many percent of an archive are, as it is now.

    Args:
      index: the archive.
      asked: what is asked for.
      percent: more than 0, up to 100.
      **options: focus and where, as `Index.search` has them.

    Raises:
      UserError: there is no clip, or it is no such number.
    """
    if not 0 < percent <= 100:
        raise UserError(f"the first {percent} percent; give more than 0, up to 100")
    count = math.ceil(percent / 100 * index.count(options.get("where")))
    hits = search(index, asked, k=max(1, count), **options)
    if not len(hits):
        raise UserError("the index has no clip to compare with; give --within, a distance in bits")
    return float(hits.distances[-1])


def watch(
    index: Index,
    asked: Asked,
    within: Number,
    *,
    interval: Number,
    until: Number = math.inf,
    wait: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    **options: Any,
) -> Iterator[Hit]:
    """Gives each clip that is added and near enough, the nearest of those added at once first.

    What is near enough already when the watch begins is not reported.

    Args:
      index: where clips are added, by any process.
      asked: what is asked for.
      within: the largest distance in bits, itself included.
      interval: seconds between two looks.
      until: seconds after which the watch ends, from the first look on.
      wait: waits so many seconds.
      clock: gives the time in seconds.
      **options: focus and where, as `Index.search` has them.

    Raises:
      UserError: as `Index.search`.
    """
    if not 0 < interval < math.inf:
        raise UserError(f"an interval of {interval} seconds; give more than 0")
    near = functools.partial(_near, index, asked, within, options)
    version, reported = index.version, set(near())
    begun = clock()

    def added() -> Iterator[Hit]:
        nonlocal version, reported
        while clock() - begun < until:
            wait(float(min(interval, max(0, until - (clock() - begun)))))
            index.refresh()
            if index.version == version and version is not None:  # Milvus keeps no versions
                continue
            version, found = index.version, near()
            yield from (hit for name, hit in found.items() if name not in reported)
            # A clip that was deleted, and is added again, is reported again.
            reported = set(found)

    return added()


def _near(index: Index, asked: Asked, within: Number, options) -> dict[tuple[str, str], Hit]:
    hits = search(index, asked, k=None, radius=within, **options)
    return {(hit.match, hit.clip): hit for hit in hits}


def check_webhook(url: str) -> None:
    """Checks that an address is of this machine: what is found is nobody else's business.

    Raises:
      UserError: it is not.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
        valid = parts.scheme == "http" and parts.port != 0
    except ValueError:
        local = valid = False
    if not (local and valid):
        raise UserError(
            f"--post {shown(url)}: give an address of this machine, http://127.0.0.1:PORT/..."
        )


def post(url: str, values: dict[str, Any]) -> None:
    """Sends a hit to a webhook as JSON.

    Raises:
      UserError: it does not take it.
    """
    content = json.dumps(values).encode()
    request = urllib.request.Request(
        url, data=content, headers={"Content-Type": "application/json"}
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    try:
        with opener.open(request, timeout=_PATIENCE):
            pass
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise UserError(f"{url} did not take a hit ({error})") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nobody elsewhere."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        """Refuses."""
        raise UserError(f"{req.full_url} sends on to {shown(newurl)}; give the address itself")
