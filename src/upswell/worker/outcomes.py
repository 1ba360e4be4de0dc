"""What a worker says of one attempt: the report, the dead letter, the answer to who asked for one. Pure."""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, json

from upswell.broker.protocol import Delivery, Message
from upswell.broker.topology import DIED_AT_HEADER, REPLY_PREFIX, TRACEBACK_HEADER
from upswell.errors import TemporaryUploadError, UploadError
from upswell.handlers.protocol import Stored
from upswell.messages import MAX_URL_LENGTH, Count
from upswell.safe import safe
from upswell.traces.context import carried

if TYPE_CHECKING:
    import random

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


def pause_asked_for(error: TemporaryUploadError) -> float:
    """Return the seconds that an error asks to wait, within bounds; 0 where it tells no number.

    A handler may have passed on a header as it was ("30", None), or left `retry_after` out of its own class.
    """
    try:
        asked = float(error.retry_after)
    except Exception:  # noqa: BLE001 - the user's object
        return 0.0
    return min(asked, MAX_BACKOFF_SECONDS) if asked > 0.0 else 0.0  # NaN is not above zero


def reason_of(error: BaseException) -> str:
    """Return an error as a reason: one line, no credentials, not too long, text that any encoding takes."""
    try:
        text = str(error)
    except Exception as fault:  # noqa: BLE001 - the user's own class
        text = f"its text cannot be had ({type(fault).__name__})"
    if type(error).__module__ != "upswell.errors":
        text = f"{type(error).__name__}: {text}"
    line = " ".join(safe(text).split())
    return line[:MAX_REASON_LENGTH].encode("utf-8", "backslashreplace").decode()


class _Told(Struct):
    """What a report repeats of a `Stored` as it is; a `url` that it cannot carry is left out."""

    bytes: Count | None
    checksum: str | None


def fault_of(result: object) -> str | None:
    """Return the rule that a handler's result breaks, so that no report can hold it, or None."""
    if result is None:
        return None
    if not isinstance(result, Stored):
        return f"a handler must return Stored or None, got {type(result).__name__}"
    try:
        json.decode(json.encode({"bytes": result.bytes, "checksum": result.checksum}), type=_Told)
    except Exception as error:  # noqa: BLE001 - the user's objects: numpy's numbers, half a character, ...
        return f"a handler's Stored must fit into a report (the object may be stored): {reason_of(error)}"
    return None


def url_of(stored: Stored) -> str | None:
    """Return the address that a handler tells, or None where it is none that a report can carry."""
    url = stored.url
    if not isinstance(url, str) or not 0 < len(url) <= MAX_URL_LENGTH:
        return None
    return None if _NOT_IN_URL.search(url) else str.__str__(url)  # JSON takes no class derived from str


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

    Its last lines; how Upswell called that code helps nobody. Empty, too, where Python cannot tell it.
    """
    if isinstance(error, UploadError):
        return ""
    try:
        told = traceback.TracebackException.from_exception(error)
        own = (at for at, frame in enumerate(told.stack) if not frame.filename.startswith(_NOT_OWN))
        del told.stack[: next(own, 0)]
        lines = "".join(told.format()).splitlines()
    except Exception:  # noqa: BLE001 - the user's own class: a SyntaxError whose line is no text, ...
        return ""
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
