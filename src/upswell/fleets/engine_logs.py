"""What a container or a service has printed, from the engine's stamped lines to a `LogPart`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from upswell.fleets.engine import CONFLICT, NOT_THERE, none_if
from upswell.fleets.protocol import LogPart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from upswell.fleets.engine import Engine

LAST_LINES = 5


async def read_log(
    engine: Engine,
    question: Callable[[Any, dict[str, Any]], Awaitable[Iterable[str]]],
    after: str | None,
    limit: int,
) -> LogPart:
    """Return lines of a log, see `Fleet.read_log`.

    `question`: asks the client for it in this form.
    """
    form = {"stdout": True, "stderr": True, "timestamps": True, **_window(after, limit)}
    printed: Iterable[str] = ()
    with none_if(NOT_THERE, CONFLICT):
        printed = await engine.ask(lambda docker: question(docker, form))
    return _part(printed, after, limit)


def _window(after: str | None, limit: int) -> dict[str, str]:
    """Return the engine's options for the lines after a position."""
    if after is None:
        return {"tail": str(max(1, limit))}
    # A moment before it: the engine's clock has more digits than a float.
    return {"since": f"{_seconds(after):.3f}"} if after else {}


def _part(printed: Iterable[str], after: str | None, limit: int) -> LogPart:
    """Return lines with the newest one's timestamp as the position; timestamps have equal lengths."""
    stamped = [line.partition(" ") for line in "".join(printed).splitlines()]
    new = sorted(((at, line) for at, _, line in stamped if at > (after or "")), key=lambda line: line[0])
    newest = new[max(0, len(new) - limit) :]
    return LogPart([line for _, line in newest], new[-1][0] if new else after or "")


def _seconds(timestamp: str) -> float:
    try:
        return max(0.0, datetime.fromisoformat(timestamp).timestamp() - 0.001)
    except ValueError:
        return 0.0
