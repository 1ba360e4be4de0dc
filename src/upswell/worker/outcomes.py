"""What a worker says of one attempt: the report, the dead letter, the answer to who asked for one. Pure."""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from upswell.broker.protocol import Delivery, Message
from upswell.broker.topology import DIED_AT_HEADER, REPLY_PREFIX, TRACEBACK_HEADER
from upswell.errors import UploadError
from upswell.messages import MAX_URL_LENGTH
from upswell.safe import safe
from upswell.traces.context import carried

if TYPE_CHECKING:
    import random

    from upswell.handlers.protocol import Stored

MAX_BACKOFF_SECONDS = 30.0
MAX_REASON_LENGTH = 1000
"""A reason travels in a message's header, which must fit in one frame."""

MAX_TRACEBACK_LINES, MAX_TRACEBACK_LENGTH = 100, 8000
"""The last lines of a traceback are kept: the innermost calls, and the error."""

_NOT_OWN = (
    str(Path(__file__).parents[1]) + os.sep,
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    "<frozen",
)
"""Where code is that is not the user's: Upswell, Python, and what is installed beside them."""

MAX_WAITING_SECONDS = 1e8
"""Three years. A request that claims to be older has a wrong clock: its waiting time is unknown."""

_NOT_IN_URL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_REPLY_QUEUE = re.compile(r"\A[A-Za-z0-9._-]{1,200}\Z")


def waiting_time(published_at: float | None, delivered_at: float) -> float | None:
    """Return the seconds from published to delivered, by two machines' clocks: below zero counts as zero."""
    if published_at is None or delivered_at - published_at > MAX_WAITING_SECONDS:
        return None
    return max(0.0, delivered_at - published_at)


def backoff(attempt: int, first: float, rng: random.Random) -> float:
    """Return the seconds to wait after a failed `attempt` (1, 2, ...): doubled each time, less up to 25 %."""
    return min(MAX_BACKOFF_SECONDS, first * 2.0 ** min(attempt - 1, 16)) * rng.uniform(0.75, 1.0)


def reason_of(error: BaseException) -> str:
    """Return an error as a reason: one line, no credentials, not too long, text that any encoding takes."""
    text = str(error) if type(error).__module__ == "upswell.errors" else f"{type(error).__name__}: {error}"
    line = " ".join(safe(text).split())
    return line[:MAX_REASON_LENGTH].encode("utf-8", "backslashreplace").decode()


def url_of(stored: Stored) -> str | None:
    """Return the address that a handler tells, or None where it is none that a report can carry."""
    url = stored.url
    if not isinstance(url, str) or not 0 < len(url) <= MAX_URL_LENGTH:
        return None
    return None if _NOT_IN_URL.search(url) else url


def frames_of(error: BaseException) -> list[str]:
    """Return where in the user's own code an error came from, outermost first; elsewhere if not there.

    `convert.py:12 in resize: json.loads(text)`. An UploadError has none: it says itself what happened.
    """
    if isinstance(error, UploadError):
        return []
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_NOT_OWN)] or frames[-1:]
    return [
        safe(f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}: {frame.line}") for frame in own
    ]


def traceback_of(error: BaseException) -> str:
    """Return an error's traceback from the user's code on, without credentials; empty for an UploadError.

    Its last lines; how Upswell called that code helps nobody.
    """
    if isinstance(error, UploadError):
        return ""
    told = traceback.TracebackException.from_exception(error)
    own = (at for at, frame in enumerate(told.stack) if not frame.filename.startswith(_NOT_OWN))
    del told.stack[: next(own, 0)]
    lines = "".join(told.format()).splitlines()
    kept = "\n".join(safe(line) for line in lines[-MAX_TRACEBACK_LINES:])
    return kept[-MAX_TRACEBACK_LENGTH:].encode("utf-8", "backslashreplace").decode()


def dead_letter(
    delivery: Delivery, error: BaseException, *, queue: str, app_id: str, worker_id: str, died_at: float
) -> Message:
    """Return the message for the dead-letter queue: the body as it came, and in its headers why."""
    trace = traceback_of(error)
    return Message(
        body=delivery.body,
        routing_key=queue,
        message_id=delivery.message_id,
        headers={
            "x-upswell-reason": reason_of(error),
            "x-upswell-error": type(error).__name__,
            "x-upswell-attempt": delivery.attempt,
            "x-upswell-worker": worker_id,
            DIED_AT_HEADER: died_at,
            "x-upswell-app": app_id,
            **carried(delivery.headers),
            **({TRACEBACK_HEADER: trace} if trace else {}),
        },
    )


def reply(delivery: Delivery, report: bytes) -> Message | None:
    """Return the copy of a report for who asked for one, and only where a publisher of ours listens."""
    name = delivery.reply_to
    if not name or not name.startswith(REPLY_PREFIX) or not _REPLY_QUEUE.match(name):
        return None
    return Message(body=report, routing_key=name, persistent=False, mandatory=False)
