"""The user's own function as a handler: async or plain, of the request alone or of the context too."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from upswell.errors import SettingsError
from upswell.handlers.context import Context
from upswell.registry import place_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from upswell.handlers.context import Workplace
    from upswell.handlers.protocol import Stored
    from upswell.messages import UploadRequest

CONTEXT = "context"
"""A function with a parameter of this name is given the context."""


class OwnHandler:
    """Calls the user's function; a plain one in a thread, whose slot stays taken until it ends."""

    def __init__(
        self,
        function: Callable[..., Any],
        workplace: Workplace,
        *,
        name: str,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        """Look at the function's signature.

        Raises:
            SettingsError: it can be called neither with a request nor with a request and a context.
        """
        self._function = function
        self._workplace = workplace
        self._on_bytes = on_bytes
        self._takes_context = takes_context(function, name)
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - an object may have an async __call__
        )

    async def __call__(self, request: UploadRequest) -> Stored | None:
        """Call the function, and let it go on no longer than this lasts."""
        context = Context(request, self._workplace, on_bytes=self._on_bytes)
        call = partial(self._function, request)
        if self._takes_context:
            call = partial(call, **{CONTEXT: context})
        try:
            if self._is_async:
                return await call()
            result = await self._workplace.threads.call(call, stop=context.stop)
            # A plain function may return what is to be awaited: a decorated async one does.
            return await result if inspect.isawaitable(result) else result
        finally:
            context.stop()


class _OfRequest(Protocol):
    def __call__(self, request: UploadRequest, /) -> Stored | Awaitable[Stored | None] | None: ...


class _OfContext(Protocol):
    def __call__(
        self, request: UploadRequest, /, context: Context
    ) -> Stored | Awaitable[Stored | None] | None: ...


Function = TypeVar("Function", bound=_OfRequest | _OfContext)


def handler(function: Function) -> Function:
    """Return a function unchanged, once its form is checked: a handler of one's own, for `--handler`.

    Without it a mistake shows when a worker starts. A type checker sees mistakes, too.

    Raises:
        SettingsError: it cannot be a handler; the message says the rule.
    """
    kind: Any = function
    takes_context(kind, place_of(kind))
    return function


def takes_context(function: Callable[..., Any], name: str) -> bool:
    """Return whether a function has a parameter `context` beside the request.

    Raises:
        SettingsError: it can be called in neither way, or it is no function that returns a result.
    """
    if inspect.isclass(function):
        raise SettingsError(f"handler {name} must be a function, got a class")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise SettingsError(f"handler {name} must return what it stored, but it yields")
    try:
        signature = inspect.signature(function)
        wanted = CONTEXT in signature.parameters
        signature.bind(object(), **({CONTEXT: object()} if wanted else {}))
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"handler {name} must take one argument, the request, and may take another named context: {error}"
        ) from error
    return wanted
