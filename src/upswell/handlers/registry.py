"""Every handler that comes with Upswell or an installed package, and the user's own function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upswell.handlers.threads import Threads
from upswell.registry import Entry, Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.handlers.protocol import Handler
    from upswell.settings import Settings
    from upswell.stores.rate_limit import RateLimit

REGISTRY: Registry[Callable[..., Any]] = Registry(
    "handler",
    "upswell.handlers",
    [
        Entry(
            name="upload",
            factory="upswell.handlers.upload:UploadHandler",
            summary="stores the source in the destination",
        ),
        Entry(
            name="simulate",
            factory="upswell.handlers.simulate:open_simulation",
            settings="upswell.handlers.simulate:SimulateSettings",
            summary="only takes time",
        ),
    ],
)
"""An entry's factory is called as `factory(settings, threads, on_bytes, limit)`. What stands at
`package.module:function`, or is an entry point by itself, is no factory but the handler's function."""


def load_handler(
    settings: Settings, on_bytes: Callable[[int], None] | None = None, limit: RateLimit | None = None
) -> Handler:
    """Return the handler that the settings name.

    The user's own is an async function of one request, or a plain one, which runs in one of `slots` threads.
    `on_bytes` is called with the size of each chunk, from a thread; `limit` is kept to, and counts the bytes.

    Raises:
        SettingsError: no such handler, or it cannot be one.
    """
    threads = Threads(settings.max_slots if settings.auto_slots else settings.initial_slots)
    found = REGISTRY.load(settings.handler)
    if REGISTRY.entry(settings.handler).described:
        return found(settings, threads, on_bytes, limit)
    from upswell.handlers.context import Workplace  # noqa: PLC0415 - only a function of one's own needs it
    from upswell.handlers.own import OwnHandler  # noqa: PLC0415 - as above

    return OwnHandler(found, Workplace(settings, threads, limit), name=settings.handler, on_bytes=on_bytes)


def check_handler(settings: Settings) -> str:
    """Return which handler the settings name, in a sentence; it is imported, but not made.

    Raises:
        SettingsError: as `load_handler`, but for what the handler itself needs.
    """
    entry = REGISTRY.entry(settings.handler)
    function = REGISTRY.load(settings.handler)
    if entry.described:
        return f"{entry.name}: {entry.summary}"
    from upswell.handlers.own import takes_context  # noqa: PLC0415 - only a function of one's own needs it

    also = " and a context" if takes_context(function, settings.handler) else ""
    return f"{entry.name}: takes a request{also}"
