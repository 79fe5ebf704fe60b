"""Who may ask the page for what: the name it is called by, the token, where a request that changes things comes from.

One ASGI layer around the application. It answers with one line of JSON where it refuses, and puts the headers on every
answer that keep the browser from running or fetching anything that isn't this server's own.
"""

import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from l2l_snn.dashboard.settings import Settings, is_loopback, known_hosts

COOKIE = "l2l_token"
CLIENT_HEADER = "x-l2l-client"  # what a program that is no browser sends with a POST; a foreign page can't send it
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
LARGEST_BODY = 64 * 1024  # bytes
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Scope = dict[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Guard:
    """The application behind a layer that refuses requests, and adds headers to each answer."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], settings: Settings):
        self.app = app
        self.token = None if settings.token is None else settings.token.encode()
        self.names = known_hosts(settings)
        self.open_to_network = not is_loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # lifespan; there are no web sockets
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}

        async def send_guarded(event: dict[str, Any]) -> None:
            if event["type"] == "http.response.start":
                own = {key.lower() for key, _ in event["headers"]}
                extra = [(key.lower().encode(), value.encode()) for key, value in HEADERS.items()]
                if b"cache-control" not in own:
                    extra.append((b"cache-control", b"no-store"))
                event = {**event, "headers": [*event["headers"], *extra]}
            await send(event)

        refusal = self._find_refusal(scope, headers)
        if refusal is None:
            await self.app(scope, receive, send_guarded)
            return
        status, text, more = refusal
        body = json.dumps({"error": text}).encode()
        kind = (b"content-type", b"application/json")
        await send_guarded({"type": "http.response.start", "status": status, "headers": [kind, *more]})
        await send_guarded({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _find_refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str, list[tuple[bytes, bytes]]] | None:
        """Return status, text and headers of the answer to a request that isn't let through; None lets it through."""
        host = headers.get("host", "")
        if not self._knows_host(host):
            return 421, f"this page isn't called {host[:100]!r}; name it with --allow-host", []
        bearer = False
        if self.token is not None:
            taken = self._exchange_token(scope)
            if taken is not None:
                return taken
            kind, _, given = headers.get("authorization", "").partition(" ")
            bearer = kind.lower() == "bearer" and self._matches_token(given.strip())
            if not (bearer or self._matches_token(_read_cookie(headers.get("cookie", "")))):
                text = "this page needs its token: open /?token=TOKEN once, or send Authorization: Bearer TOKEN"
                return 401, text, [(b"www-authenticate", b"Bearer")]
        if scope["method"] in CHANGING:
            if not (bearer or _comes_from_page(headers, host)):
                text = f"a request that changes something must come from this page, or carry the header {CLIENT_HEADER}"
                return 403, text, []
            length = headers.get("content-length", "0")
            if "transfer-encoding" in headers or not length.isdecimal() or int(length) > LARGEST_BODY:
                return 413, f"expected a body of at most {LARGEST_BODY} bytes, with Content-Length", []
        return None

    def _knows_host(self, host: str) -> bool:
        name = urlsplit(f"//{host}").hostname if "/" not in host and "@" not in host else None
        if name is None:
            return False
        if name.lower() in self.names or is_loopback(name):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.open_to_network

    def _matches_token(self, given: str) -> bool:
        assert self.token is not None
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token)

    def _exchange_token(self, scope: Scope) -> tuple[int, str, list[tuple[bytes, bytes]]] | None:
        """Give a cookie for the token in the address, if it's there, and lead to the same address without it."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for key, value in query if key == "token"]
        if scope["method"] in ("GET", "HEAD") and given and self._matches_token(given[0]):
            rest = urlencode([(key, value) for key, value in query if key != "token"])
            path = "/" + scope.get("raw_path", scope["path"].encode()).decode("latin-1").lstrip("/\\")
            place = path.partition("?")[0] + (f"?{rest}" if rest else "")
            secure = "; Secure" if scope.get("scheme") == "https" else ""
            assert self.token is not None
            cookie = f"{COOKIE}={self.token.decode()}; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000{secure}"
            return 303, "token taken", [(b"location", place.encode("latin-1")), (b"set-cookie", cookie.encode())]
        return None


def _read_cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _comes_from_page(headers: dict[str, str], host: str) -> bool:
    """Return whether a request comes from a page of this server, or from no browser's page at all."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    if origin is not None:
        return urlsplit(origin).netloc.lower() == host.lower()
    return site == "same-origin" or CLIENT_HEADER in headers
