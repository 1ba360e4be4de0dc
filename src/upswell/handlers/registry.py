"""From the setting `handler` to a handler: upload, simulate, or the user's own function."""

from __future__ import annotations

import difflib
import importlib
import os
import random
import re
import sys
from typing import TYPE_CHECKING, Any

from upswell.errors import SettingsError
from upswell.handlers.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.handlers.protocol import Handler
    from upswell.settings import Settings
    from upswell.stores.rate_limit import RateLimit

_OWN = re.compile(r"\A(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<function>[A-Za-z_]\w*)\Z")


def load_handler(
    settings: Settings, on_bytes: Callable[[int], None] | None = None, limit: RateLimit | None = None
) -> Handler:
    """Return the handler that the settings name.

    The user's own is an async function of one request, or a plain one, which runs in one of `slots` threads.
    `on_bytes` is told of each chunk that was read, from a thread; `limit` is kept to, and counts the bytes.

    Raises:
        SettingsError: there is none of that name, or it cannot be one; the message says what was looked for.
    """
    if settings.handler == "upload":
        from upswell.handlers.upload import UploadHandler  # noqa: PLC0415 - only who uploads needs a store

        return UploadHandler(settings, _threads(settings), on_bytes, limit)
    if settings.handler == "simulate":
        from upswell.handlers.simulate import SimulateHandler  # noqa: PLC0415 - as above

        return SimulateHandler(settings.simulate_seconds, random.Random())  # noqa: S311 - no secret
    return _own(settings, on_bytes, limit)


def _threads(settings: Settings) -> Threads:
    return Threads(settings.max_slots if settings.auto_slots else settings.slots)


def _own(settings: Settings, on_bytes: Callable[[int], None] | None, limit: RateLimit | None) -> Handler:
    from upswell.handlers.context import Workplace  # noqa: PLC0415 - as above
    from upswell.handlers.own import OwnHandler  # noqa: PLC0415 - as above

    name = settings.handler
    match = _OWN.match(name)
    if match is None:
        raise SettingsError(f"handler must be upload, simulate or package.module:function, got {name!r}")
    function = _find(match["module"], match["function"], name)
    workplace = Workplace(settings, _threads(settings), limit)
    return OwnHandler(function, workplace, name=name, on_bytes=on_bytes)


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
