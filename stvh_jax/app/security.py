"""Who may ask the page for what: this machine alone, or who has the token."""

import dataclasses
import hmac
import http.cookies
import urllib.parse

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK = {"127.0.0.1", "localhost", "[::1]"}
_SAFE_METHODS = {"GET", "HEAD"}

_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclasses.dataclass(frozen=True)
class Door:
    """Where the page is served.

    Attributes:
      host: the address that it listens on.
      port: the port.
      token: what everybody has to know who asks; None where only this machine can.
    """

    host: str
    port: int
    token: str | None = None

    @property
    def address(self) -> str:
        """What to open in a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        secret = "" if self.token is None else f"?{urllib.parse.urlencode({'token': self.token})}"
        return f"http://{host}:{self.port}/{secret}"

    @property
    def cookie(self) -> str:
        """The name of the cookie that holds the token."""
        return f"stvh_{self.port}"

    def names(self, host: str) -> bool:
        """Says whether a request was meant for this page, by the host that it names.

        Without a token only this machine's own names are; a foreign name that leads here is a
        foreign page's attempt to read this one.
        """
        if self.token is not None:
            return True
        name, colon, port = host.rpartition(":")
        if not colon or name.endswith(":"):
            name, port = host, "80"
        return name.lower() in _LOOPBACK and port == str(self.port)


class Guard:
    """Refuses what is not meant for the page, and says in every answer what a browser may do."""

    def __init__(self, app: ASGIApp, door: Door):
        """Wraps an application."""
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if "cache-control" not in headers:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, door = Headers(scope=scope), self._door
        host = headers.get("host", "")
        if not door.names(host):
            return PlainTextResponse(f"this page is at {door.address}", status_code=421)
        if scope["method"] not in _SAFE_METHODS and not _own(headers, host):
            return PlainTextResponse("sent from another page; refused", status_code=403)
        if door.token is None:
            return None
        given = QueryParams(scope["query_string"]).get("token")
        if given is not None and _same(given, door.token):
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(door.cookie, door.token, httponly=True, samesite="strict")
            return answer
        cookies = http.cookies.SimpleCookie(headers.get("cookie", ""))
        if door.cookie in cookies and _same(cookies[door.cookie].value, door.token):
            return None
        return PlainTextResponse(
            "this page needs its token: open the whole address that `search.py serve` has printed",
            status_code=401,
        )


def _own(headers: Headers, host: str) -> bool:
    """Says whether what changes something was sent by the page itself."""
    origin = headers.get("origin")
    if origin is not None:
        return urllib.parse.urlsplit(origin).netloc == host
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())
