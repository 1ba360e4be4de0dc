"""From the setting `handler` to a handler: upload, simulate, or the user's own function."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import random
import re
import sys
from typing import TYPE_CHECKING, Any, cast

from upswell.errors import SettingsError
from upswell.handlers.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.handlers.protocol import Handler, Stored
    from upswell.messages import UploadRequest
    from upswell.settings import Settings

_OWN = re.compile(r"\A(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<function>[A-Za-z_]\w*)\Z")


def load_handler(settings: Settings) -> Handler:
    """Return the handler that the settings name.

    The user's own is an async function of one request, or a plain one, which runs in one of `slots` threads.

    Raises:
        SettingsError: there is none of that name, or it cannot be one; the message says what was looked for.
    """
    if settings.handler == "upload":
        from upswell.handlers.upload import UploadHandler  # noqa: PLC0415 - only who uploads needs a store

        return UploadHandler(settings, Threads(settings.slots))
    if settings.handler == "simulate":
        from upswell.handlers.simulate import SimulateHandler  # noqa: PLC0415 - as above

        return SimulateHandler(settings.simulate_seconds, random.Random())  # noqa: S311 - no secret
    return _own(settings.handler, Threads(settings.slots))


def _own(name: str, threads: Threads) -> Handler:
    match = _OWN.match(name)
    if match is None:
        raise SettingsError(f"handler must be upload, simulate or package.module:function, got {name!r}")
    function = _find(match["module"], match["function"], name)
    try:
        inspect.signature(function).bind(object())
    except (TypeError, ValueError) as error:
        raise SettingsError(f"handler {name} must take one argument, the request: {error}") from error
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object may have an async __call__
    ):
        return cast("Handler", function)
    return ThreadHandler(function, threads)


def _find(module: str, function: str, name: str) -> Callable[[Any], Any]:
    folder = os.getcwd()  # noqa: PTH109 - as sys.path has it
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)  # the installed command looks where `python -m upswell` does
    try:
        found = getattr(importlib.import_module(module), function, None)
    except Exception as error:
        raise SettingsError(
            f"handler {name}: cannot import {module}, looked for in {folder} and Python's path: "
            f"{type(error).__name__}: {error}"
        ) from error
    if found is None:
        near = difflib.get_close_matches(function, vars(sys.modules[module]), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SettingsError(f"handler {name}: {module} has no {function}{hint}")
    if not callable(found):
        raise SettingsError(f"handler {name} must be a function, got {type(found).__name__}")
    return found


class ThreadHandler:
    """A plain function as a handler: run in a thread, whose slot stays taken until it ends."""

    def __init__(self, function: Callable[[UploadRequest], Any], threads: Threads) -> None:
        self._function = function
        self._threads = threads

    async def __call__(self, request: UploadRequest) -> Stored | None:
        """Run the function; what it returns to be awaited is awaited (a decorated async function)."""
        result = await self._threads.call(lambda: self._function(request))
        return await result if inspect.isawaitable(result) else result
