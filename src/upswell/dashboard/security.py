"""Who may ask, and who may write: checked before any route, so that no route can forget it.

In: a request's headers. Out: it goes on, or an answer that says the rule. A page of somebody else in the same
browser is kept out by Host (a name that was rebound to 127.0.0.1) and Origin; who is not on this machine, and
whoever writes, by the token, which travels in a header: another page cannot send it.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from upswell.errors import SettingsError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SHORTEST_TOKEN = 16
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Access(Struct, frozen=True):
    """The rules of one server.

    `hosts`: names that the page may be asked for by. `reads_need_token`: every answer but the page's own
    files does, because others than this machine's users can reach it.
    """

    token: str
    hosts: frozenset[str]
    reads_need_token: bool

    def may_write(self, headers: Headers) -> bool:
        """Return whether a request has the token."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), self.token.encode())

    def refusal(self, method: str, path: str, headers: Headers) -> tuple[int, str] | None:
        """Return the status and the words of a refusal, or None where the request may go on."""
        host = headers.get("host", "")
        if _name_of(host) not in self.hosts:
            return 421, "this name is not served: give it with --allow-host"
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, host):
            return 403, "a request from another page is refused"
        is_api = path.startswith("/api/")
        if is_api and self.reads_need_token and not self.may_write(headers):
            return 401, "this needs the token that `upswell dashboard` printed"
        if method not in ("GET", "HEAD"):
            if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                return 415, "the body must be JSON"
            if not path.startswith("/api/what-if") and not self.may_write(headers):
                return 401, "to change anything needs the token that `upswell dashboard` printed"
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        """Return whether a page of this server asks; a proxy may have changed the port and the scheme."""
        try:
            place = urlsplit(origin)
            return place.netloc == host or (place.hostname or "") in self.hosts - {*LOOPBACK_NAMES}
        except ValueError:
            return False


def access_for(address: str, token: str, allowed_hosts: tuple[str, ...]) -> Access:
    """Return the rules for a server on an address; no token: one is made up; one too short: an error."""
    if token and len(token) < SHORTEST_TOKEN:
        raise SettingsError(
            f"dashboard_token must have at least {SHORTEST_TOKEN} characters, got {len(token)}"
        )
    local = is_loopback(address)
    hosts = {*LOOPBACK_NAMES, address.lower(), *(host.lower() for host in allowed_hosts)}
    return Access(token or secrets.token_urlsafe(24), frozenset(hosts), reads_need_token=not local)


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach an address."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """Return the name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


class RequestGuard:
    """Refuses what breaks the rules, and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refused = self._access.refusal(scope["method"], scope["path"], Headers(scope=scope))
        if refused is not None:
            status, words = refused
            answer = JSONResponse({"error": words}, status_code=status)
            await answer(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)
