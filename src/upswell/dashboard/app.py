"""The routes: the page's files, what it is told, and what it may order. `security.py` stands before them.

In: a request that may be answered. Out: JSON, an event stream, or a file of the page. Every path is relative
to where the page lies, so a proxy may put it anywhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from upswell.dashboard.actions import Actions
from upswell.dashboard.page_journal import PageJournal
from upswell.dashboard.rehearse import Question
from upswell.dashboard.stream import EventStream, Hub
from upswell.dashboard.vendor import vendor_files
from upswell.dashboard.views import Views
from upswell.dashboard.what_if import WhatIf, WhatIfs
from upswell.errors import SettingsError, UpswellError
from upswell.messages import check_app_id
from upswell.policies.registry import REGISTRY
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from upswell.dashboard.lecture import Lecture
    from upswell.dashboard.live import Live
    from upswell.dashboard.security import Access
    from upswell.settings import Settings

PAGE = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
LONGEST_BODY = 16_384
LONGEST_PERIOD = 400 * 86_400.0
MOST_MINUTES = 10
LIST_TICK_SECONDS = 2.0
_POLICY = re.compile(r"[a-z_]{1,40}(:[0-9.]{1,12})?\Z")


class PageFile:
    """A file of the page, in memory: on a busy machine each step through a thread delays the first paint."""

    def __init__(self, path: Path) -> None:
        self._body = path.read_bytes()
        self._type = TYPES[path.suffix]
        self._headers = {
            "cache-control": "no-cache",
            "etag": f'"{hashlib.sha256(self._body).hexdigest()[:32]}"',
        }

    def answer(self, request: Request) -> Response:
        """Return the file, or that the browser has it already."""
        if request.headers.get("if-none-match") == self._headers["etag"]:
            return Response(status_code=304, headers=self._headers)
        return Response(self._body, media_type=self._type, headers=self._headers)


class Routes:
    """Answers requests."""

    def __init__(
        self, settings: Settings, live: Live, access: Access, lecture: Lecture | None = None
    ) -> None:
        self._settings = settings
        self._access = access
        self._journal_path = settings.state_path / "journal.sqlite"
        self.views = Views(settings, PageJournal(self._journal_path), live, lecture)
        self.actions = Actions(settings, live)
        self.hub = Hub()
        self.list_hub = Hub(LIST_TICK_SECONDS)
        self.what_ifs = WhatIfs()
        self._vendor = {name: PageFile(path) for name, path in vendor_files().items()}
        self._files = {path.name: PageFile(path) for path in PAGE.iterdir() if path.suffix in TYPES}

    def starlette(self) -> Starlette:
        """Return the application."""
        app = "/api/apps/{app}"
        routes = [
            Route("/", self._index),
            Route("/page/{name}", self._file),
            Route("/vendor/{name}", self._vendored),
            Route("/api/session", _answering(self._session)),
            Route("/api/events", self._events),
            Route("/api/overview", _answering(self._overview)),
            Route("/api/sparks", _answering(self._sparks)),
            Route(app, _answering(self._application)),
            Route(f"{app}/chart", _answering(self._chart)),
            Route(f"{app}/uploads", _answering(self._uploads)),
            Route(f"{app}/decisions/{{number:int}}", _answering(self._decision)),
            Route(f"{app}/settings", _answering(self._settings_of)),
            Route(f"{app}/dead", _answering(self._dead)),
            Route(f"{app}/dead/retry", _answering(self._retry), methods=["POST"]),
            Route(f"{app}/dead/purge", _answering(self._purge), methods=["POST"]),
            Route(f"{app}/drain", _answering(self._drain), methods=["POST"]),
            Route("/api/what-if", _answering(self._ask), methods=["POST"]),
            Route("/api/what-if/{id}", _answering(self._asked)),
            Route("/api/what-if/{id}/cancel", _answering(self._cancel), methods=["POST"]),
        ]
        return Starlette(routes=routes)

    async def _index(self, request: Request) -> Response:
        return self._files["index.html"].answer(request)

    async def _file(self, request: Request) -> Response:
        return _page_file(self._files, request)

    async def _vendored(self, request: Request) -> Response:
        return _page_file(self._vendor, request)

    async def _session(self, request: Request) -> Any:
        return {"may_write": self._access.may_write(request.headers), "policies": REGISTRY.names()}

    async def _events(self, request: Request) -> Response | EventStream:
        if self.hub.is_full or self.list_hub.is_full:
            return _json({"error": "too many pages are open"}, 503)
        query, last = request.query_params, request.headers.get("last-event-id")
        name = query.get("app")
        try:
            if name is not None:
                app = check_app_id(name)
                return EventStream(self.hub, f"app {app}", lambda: self.views.application(app), last)
            search, sort, offset = _listing(request)
        except UpswellError as error:
            return _json({"error": safe(str(error))}, 400)
        key = f"list {sort} {offset} {search}"
        return EventStream(self.list_hub, key, lambda: self.views.overview(search, sort, offset), last)

    async def _overview(self, request: Request) -> Any:
        return await self.views.overview(*_listing(request))

    async def _sparks(self, request: Request) -> Any:
        return await asyncio.to_thread(self.views.sparks, *_listing(request))

    async def _application(self, request: Request) -> Any:
        return await self.views.application(_app(request))

    async def _chart(self, request: Request) -> Any:
        begin, end = _period(request)
        return await asyncio.to_thread(self.views.chart, _app(request), begin, end)

    async def _uploads(self, request: Request) -> Any:
        begin, end = _period(request)
        if end - begin > 60 * MOST_MINUTES:
            raise SettingsError(f"at most {MOST_MINUTES} minutes of uploads are shown at once")
        return await asyncio.to_thread(self.views.uploads, _app(request), begin, end)

    async def _decision(self, request: Request) -> Any:
        number = request.path_params["number"]
        if number > 2**62:
            raise SettingsError("a decision has no such number")
        return await asyncio.to_thread(self.views.decision, _app(request), number)

    async def _settings_of(self, request: Request) -> Any:
        return await asyncio.to_thread(self.views.settings_of, _app(request))

    async def _dead(self, request: Request) -> Any:
        return await self.actions.dead(_app(request))

    async def _retry(self, request: Request) -> Any:
        return {"told": await self.actions.retry(_app(request), _reason(await _body(request)))}

    async def _purge(self, request: Request) -> Any:
        return {"told": await self.actions.purge(_app(request), _reason(await _body(request)))}

    async def _drain(self, request: Request) -> Any:
        worker = (await _body(request)).get("worker")
        if not isinstance(worker, str):
            raise SettingsError("worker must be a worker's id")
        return {"told": await self.actions.drain(_app(request), worker)}

    async def _ask(self, request: Request) -> Any:
        asked = {**await _body(request), "journal": str(self._journal_path)}
        try:
            question = msgspec.convert(asked, Question)
        except msgspec.ValidationError as error:
            raise SettingsError(f"not a question: {error}") from error
        check_app_id(question.app)
        known = await asyncio.to_thread(self.views.settings_of, question.app)
        if question.policy is not None and question.policy != known["policy"]:
            # Its name would else be imported: a page must not choose which code runs here.
            name = question.policy.partition(":")[0]
            if not _POLICY.match(question.policy) or name not in REGISTRY.names():
                raise SettingsError(f"policy must be one of {', '.join(REGISTRY.names())}")
        return (await self.what_ifs.ask(question)).told()

    async def _asked(self, request: Request) -> Any:
        return self._known(request).told()

    async def _cancel(self, request: Request) -> Any:
        asked = self._known(request)
        await asked.cancel()
        return asked.told()

    def _known(self, request: Request) -> WhatIf:
        asked = self.what_ifs.get(request.path_params["id"])
        if asked is None:
            raise SettingsError("this question is forgotten")
        return asked


def _answering(answer: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    """Return a route that answers with JSON, and with an error's words where there is one."""

    async def route(request: Request) -> Response:
        try:
            return _json(await answer(request))
        except UpswellError as error:
            return _json({"error": safe(str(error))}, 400)

    return route


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _page_file(files: Mapping[str, PageFile], request: Request) -> Response:
    found = files.get(request.path_params["name"])
    return _json({"error": "there is no such file"}, 404) if found is None else found.answer(request)


def _app(request: Request) -> str:
    return check_app_id(request.path_params["app"])


def _period(request: Request) -> tuple[float, float]:
    """Return the period that is asked for; by default the last half hour."""
    now = time.time()
    try:
        end = float(request.query_params.get("end", now))
        begin = float(request.query_params.get("begin", end - 1800))
    except ValueError:
        begin = end = math.nan
    if not (0 <= begin < end <= now + LONGEST_PERIOD and end - begin <= LONGEST_PERIOD):
        raise SettingsError("begin and end must be seconds since 1970, begin before end")
    return begin, end


def _listing(request: Request) -> tuple[str, str, int]:
    query = request.query_params
    offset = query.get("offset", "0")
    if not (offset.isascii() and offset.isdigit() and len(offset) < 8):  # noqa: PLR2004 - millions are enough
        raise SettingsError("offset must be a whole number")
    return query.get("search", "")[:64], query.get("sort", "trouble")[:20], int(offset)


async def _body(request: Request) -> dict[str, Any]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            raise SettingsError(f"a body must have at most {LONGEST_BODY} bytes")
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise SettingsError("the body must be a JSON object") from error


def _reason(body: dict[str, Any]) -> str | None:
    """Return the reason that selects dead uploads; all of them must be asked for by name."""
    reason = body.get("reason")
    if isinstance(reason, str):
        return reason
    if body.get("all") is True:
        return None
    raise SettingsError('give a reason, or "all": true')
