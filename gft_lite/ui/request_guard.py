"""Refuses requests that come neither from the app's page nor from a program of its user.

A browser sends requests to this app on behalf of any page it shows. Four rules keep such pages out:

1. Host. A page can make its own name resolve to 127.0.0.1 and is then of the same origin as the app
   (DNS rebinding). An app on a loopback address therefore answers to the names 127.0.0.1, localhost
   and [::1] on any port, to the address of its share link, and to names given with --allow-host (of
   a reverse proxy). An app on another address answers to any name: its names cannot be known here,
   and it has a password, which a page under another name has no session for.
2. Origin. A request with an `Origin` other than the `Host` is refused, whatever its method. If a
   browser sends no `Origin`, `Sec-Fetch-Site` decides: from other sites only a link is followed.
   Programs send neither header and pass.
3. Password. If one is set, all paths but those of the login page need a session.
4. Logins. After `FREE_FAILURES` failures an address waits, longer each time.

Forwarded headers are not trusted. Responses cannot be shown in a frame, and all cookies are
SameSite=Lax.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
LOGIN = ("/login", "/login/")
# The login page and its static files; startup-events is what Gradio asks itself at launch.
PUBLIC_PATHS = (
    *("/", *LOGIN, "/theme.css", "/gradio_api/theme.css", "/favicon.ico", "/robots.txt"),
    *("/manifest.json", "/pwa_icon", "/gradio_api/startup-events"),
)
PUBLIC_FOLDERS = ("/assets/", "/static/", "/svelte/", "/pwa_icon/")
FREE_FAILURES = 5
LONGEST_WAIT_SECONDS = 900.0
FORGET_SECONDS = 3600.0
MOST_ADDRESSES = 10_000
HEADERS = {
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Refusal:
    """Why a request gets no answer: HTTP status and a sentence."""

    status: int
    reason: str
    wait_seconds: float = 0.0


class RequestGuard:
    """ASGI middleware with the rules above."""

    def __init__(
        self,
        app: ASGIApp,
        hosts: Collection[str] | None,
        share_url: Callable[[], str | None],
        password: bool,
        most_bytes: int,
    ) -> None:
        """Guard an app.

        Args:
            app: the Gradio app.
            hosts: names the app answers to, without port; None is any.
            share_url: returns the address of the share link, or None.
            password: whether a password is set.
            most_bytes: longest body of a request.
        """
        self.app = app
        self.hosts = None if hosts is None else {host.lower() for host in hosts}
        self.share_url = share_url
        self.password = password
        self.most_bytes = most_bytes
        self.logins = LoginLimit()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request; pass every other one on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refusal = self.refusal(scope)
        if refusal and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.reason})
            return
        app = _answer(refusal) if refusal else self.app
        await app(scope, receive, self._watched(scope, send))

    def refusal(self, scope: Scope) -> Refusal | None:
        """Why a request is refused, if it is."""
        headers = Headers(scope=scope)
        share = urlsplit(self.share_url() or "").netloc
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._answers_to(host, share):
            return Refusal(
                421,
                f"This app does not answer to the name {host[:100]!r}. Open it as 127.0.0.1 or "
                "localhost; behind a proxy, start it with --allow-host NAME and a password.",
            )
        if _is_foreign(headers, scope.get("method", "GET"), host, share):
            return Refusal(
                403,
                "This request comes from the page of another site. Use the app's own page; a proxy "
                "before it must pass on the Host header.",
            )
        if _length(headers) > self.most_bytes:
            return Refusal(413, f"The request is larger than {self.most_bytes / 2**30:.0f} GiB.")
        if self.password and scope["path"] in LOGIN and scope.get("method") == "POST":
            wait = self.logins.attempt(_address(scope))
            if wait:
                reason = f"Too many failed logins. Try again in {wait:.0f} seconds."
                return Refusal(429, reason, wait)
        elif self.password and not _is_public(scope["path"]) and not _has_session(scope):
            return Refusal(401, "Log in first.")
        return None

    def _answers_to(self, host: str, share: str) -> bool:
        if self.hosts is None:
            return True
        name = urlsplit(f"//{host}").hostname if _is_host(host) else None
        return name in self.hosts or (bool(share) and host.lower() == share.lower())

    def _watched(self, scope: Scope, send: Send) -> Send:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                if scope["path"] in LOGIN and message["status"] == 200:
                    self.logins.succeeded(_address(scope))
                _secure(MutableHeaders(scope=message))
            await send(message)

        return send_guarded


class LoginLimit:
    """Failed logins of each client address, at most `MOST_ADDRESSES` of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()  # count, time of last

    def attempt(self, address: str) -> float:
        """Seconds to wait before an attempt; 0: it may be made, and counts as failed for now."""
        now = self._clock()
        count, last = self._failures.get(address, (0, now))
        if now - last > FORGET_SECONDS:
            count = 0
        if count >= FREE_FAILURES:
            wait = min(2.0 ** (count - FREE_FAILURES), LONGEST_WAIT_SECONDS) - (now - last)
            if wait > 0:
                return wait
        self._failures[address] = (count + 1, now)
        self._failures.move_to_end(address)
        if len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)
        return 0.0

    def succeeded(self, address: str) -> None:
        """Forget the failures of an address."""
        self._failures.pop(address, None)


def _answer(refusal: Refusal) -> PlainTextResponse:
    retry = {"Retry-After": f"{refusal.wait_seconds:.0f}"} if refusal.wait_seconds else None
    return PlainTextResponse(refusal.reason, refusal.status, headers=retry)


def _is_foreign(headers: Headers, method: str, host: str, share: str) -> bool:
    """Whether a browser sends this request on behalf of a page of another origin."""
    origins = headers.getlist("origin")
    if origins:
        own = {host.lower(), share.lower()} - {""}
        return not all(_is_own(origin, own) for origin in origins)
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    followed_link = headers.get("sec-fetch-mode") == "navigate" and method in ("GET", "HEAD")
    return not followed_link


def _is_own(origin: str, own: Collection[str]) -> bool:
    """Whether an origin has one of the names, the default port left out or not."""
    try:
        url = urlsplit(origin.lower())
    except ValueError:
        return False
    port = DEFAULT_PORTS.get(url.scheme, "")
    return bool(port) and url.netloc.removesuffix(port) in {n.removesuffix(port) for n in own}


def _is_host(host: str) -> bool:
    return re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d+)?", host, re.ASCII) is not None


def _length(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() else 0


def _is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDERS)


def _has_session(scope: Scope) -> bool:
    """As Gradio decides it; some of its routes do not check."""
    app: Any = scope["app"]
    cookies = HTTPConnection(scope).cookies
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(cookies.get(name) in app.tokens for name in names)


def _address(scope: Scope) -> str:
    """The client's address; of IPv6 the network, for a client has all the addresses of one."""
    host = (scope.get("client") or ("", 0))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(address, ipaddress.IPv4Address):
        return host
    return str(address.ipv4_mapped or ipaddress.IPv6Network((int(address), 64), strict=False))


def _secure(headers: MutableHeaders) -> None:
    headers.update(HEADERS)
    cookies = headers.getlist("set-cookie")
    if cookies:
        del headers["set-cookie"]
    for cookie in cookies:
        plain = re.sub(r";\s*samesite=\w*", "", cookie, flags=re.IGNORECASE)
        headers.append("set-cookie", f"{plain}; SameSite=Lax")
