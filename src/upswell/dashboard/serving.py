"""Opens the page on an address, beside whatever else runs in this process.

In: settings, an address. Out: its URL, and a server until the context ends. It takes no signals: the command
that opens it does.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import uvicorn
from msgspec import Struct

from upswell.dashboard.app import Routes
from upswell.dashboard.live import Live
from upswell.dashboard.security import RequestGuard, access_for, is_loopback
from upswell.errors import SettingsError
from upswell.events import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from upswell.dashboard.lecture import Lecture
    from upswell.settings import Settings

_log = get_logger()

MOST_CONNECTIONS = 500
_BACKLOG = 128


class PageAddress(Struct, frozen=True):
    """Where the page is served; `port` 0 takes a free one, `prefix` is a path that a proxy leaves."""

    host: str = "127.0.0.1"
    port: int = 8765
    prefix: str = ""
    allowed_hosts: tuple[str, ...] = ()


class Opened(Struct, frozen=True):
    """A page that is served. The token follows `#`, so a browser sends it to nobody."""

    url: str
    token: str

    @property
    def url_with_token(self) -> str:
        """The URL for whoever may write."""
        return f"{self.url}#token={self.token}"


class _PageServer(uvicorn.Server):
    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve without taking over the process's signals."""
        await self._serve(sockets)


def _without(prefix: str, app: ASGIApp) -> ASGIApp:
    """Return an application that takes a prefix off each path."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        if path.startswith(f"{prefix}/"):
            rest = path.removeprefix(prefix)
            scope = {**scope, "path": rest, "raw_path": rest.encode()}
        await app(scope, receive, send)

    return served


@asynccontextmanager
async def dashboard(
    settings: Settings, address: PageAddress, lecture: Lecture | None = None
) -> AsyncGenerator[Opened]:
    """Serve the page until the context ends.

    Raises:
        SettingsError: the address cannot be used, or the token is too short.
    """
    access = access_for(address.host, settings.dashboard_token, address.allowed_hosts)
    listening = _listen(address)
    live = Live(settings)
    routes = Routes(settings, live, access, lecture)
    app: ASGIApp = RequestGuard(routes.starlette(), access)
    if address.prefix:
        app = _without(f"/{address.prefix.strip('/')}", app)
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        log_level="critical",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
        ws="none",
    )
    server = _PageServer(config)
    tasks = [asyncio.create_task(live.run()), asyncio.create_task(server.serve([listening]))]
    opened = Opened(_url(address, listening), access.token)
    _log.info("dashboard.started", url=opened.url, reads_need_token=access.reads_need_token)
    try:
        yield opened
    finally:
        server.should_exit = True
        server.force_exit = True
        await routes.what_ifs.close()
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        listening.close()


def _listen(address: PageAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # With the protocol named asyncio sends at once; else what comes after the headers waits 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address.host, address.port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise SettingsError(
            f"the dashboard cannot listen on {address.host} port {address.port}: {error.strerror};"
            " --port gives another"
        ) from error
    listening.setblocking(False)
    return listening


def _url(address: PageAddress, listening: socket.socket) -> str:
    host = "127.0.0.1" if is_loopback(address.host) and ":" not in address.host else address.host
    shown = f"[{host}]" if ":" in host else host
    prefix = f"/{address.prefix.strip('/')}" if address.prefix.strip("/") else ""
    return f"http://{shown}:{listening.getsockname()[1]}{prefix}/"
