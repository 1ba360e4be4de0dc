"""The messages on the loop's arrows: frozen structs, JSON on the wire.

    publisher --UploadRequest--> worker --UploadReport--> monitor --ScaleRequest--> scaler
                                 worker --WorkerStatus--> monitor, scaler
                                 scaler --WorkerCommand--> worker
                        monitor, scaler --PartStatus--> status, doctor
          an operator's command --OperatorOrder--> monitor, scaler --OperatorAnswer--> the command

What comes in: bytes from a queue, hostile until decoded. What goes out: a struct whose every field keeps
its rule, or a `MessageError` that says the rule and the value. Instants (`..._at`) are UTC seconds since
1970, durations are seconds.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import Meta, Struct

from upswell.errors import MessageError
from upswell.safe import safe

MAX_MESSAGE_BYTES = 1024 * 1024
"""A larger body is refused unread; the largest honest request is a few KiB."""

APP_ID_PATTERN = r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z"
"""Application ids become part of queue, container and file names, so nothing else is accepted."""

MAX_URL_LENGTH = 8192
"""A key may have 1024 bytes, each of which takes three characters in a URL; a destination precedes it."""

AppId = Annotated[str, Meta(pattern=APP_ID_PATTERN)]
Text = Annotated[str, Meta(min_length=1, max_length=4096)]
REQUEST_ID_PATTERN = r"\A[\x21-\x7e]{1,128}\Z"
RequestId = Annotated[str, Meta(pattern=REQUEST_ID_PATTERN)]
ReportedUrl = Annotated[str, Meta(min_length=1, max_length=MAX_URL_LENGTH)]
ReportedId = Annotated[str, Meta(min_length=1, max_length=128)]
WorkerId = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")]
# JSON has no NaN, and msgspec turns 1e999 into a decode error or inf: the upper bound refuses that too.
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Instant = Annotated[float, Meta(ge=0, le=1e11)]
# Numbers that the journal keeps must fit into SQLite's 64 bits; of `busy` it keeps sums over all workers.
Count = Annotated[int, Meta(ge=0, le=10**18)]
Attempt = Annotated[int, Meta(ge=1, le=10**18)]

Outcome = Literal["stored", "failed", "dead"]
"""`stored`: in the store and verified.

`failed`: will be tried again. `dead`: dead-lettered, see its reason.
"""

NO_REASON = "no reason given"
"""What people read where a report or a dead letter has none."""

WorkerState = Literal["starting", "standby", "ready", "draining", "stopped"]
"""`ready` means consuming; `busy` counts the uploads in hand."""

CommandName = Literal["activate", "standby", "drain", "describe"]
"""`describe`: send one status that lists the uploads in hand."""

MAX_DESCRIBED = 100
"""Uploads that a status lists at most."""

MAX_NOTES = 20
MAX_NOTE = 500
MAX_LIMITS = 200
MAX_CRASHES = 10
MAX_LAST_LINES = 2000

PartName = Literal["monitor", "scaler"]
PartState = Literal["starting", "working", "failing", "waiting", "draining", "stopped"]
"""`failing`: its rounds have not worked for a while. `waiting`: another one leads."""


class UploadRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Store the bytes behind `uri`; the bare form has only `type`, `uri` and `app_id`.

    `key` is the object's name in the store; the same request always has the same key, so that an upload
    done twice is stored once. `checksum` is `sha256:` and 64 hex digits.
    """

    app_id: AppId
    type: Text
    uri: Text
    id: RequestId | None = None
    key: Text | None = None
    size_bytes: Count | None = None
    checksum: Annotated[str, Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")] | None = None
    published_at: Instant | None = None


class UploadReport(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One attempt at an upload ended; the bare form has only `response_time` and `app_id`.

    `response_time` = `waiting_time` (published to delivered) + `service_time` (delivered to stored), in
    seconds. Where nobody knows when the request was published, `waiting_time` is missing and `response_time`
    is the service time alone, the least that it can be. `url` is where the object is stored, as its worker
    says: like all text of a report it is hostile, to be shown and never opened. Of its ids
    only the length is checked: patterns would take half of the time in which the monitor takes a report in.
    Who finds an `app_id` that it does not know calls `check_app_id`.
    """

    app_id: Annotated[str, Meta(min_length=1, max_length=64)]
    response_time: Seconds
    request_id: ReportedId | None = None
    worker_id: ReportedId | None = None
    outcome: Outcome = "stored"
    waiting_time: Seconds | None = None
    service_time: Seconds | None = None
    bytes: Count | None = None
    checksum: str | None = None
    url: ReportedUrl | None = None
    finished_at: Instant | None = None
    attempt: Attempt = 1
    reason: str | None = None


class UploadInHand(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """An upload that a worker has in hand since `seconds`; `bytes` of `size_bytes` are moved.

    `waits`: its attempt has ended or not begun; it waits for a slot, its backoff or a confirm.
    """

    seconds: Seconds
    request_id: ReportedId | None = None
    key: Annotated[str, Meta(max_length=1024)] | None = None
    bytes: Count = 0
    size_bytes: Count | None = None
    attempt: Attempt = 1
    waits: bool = False


class WorkerStatus(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A worker's state, sent every second or so and at each change.

    `requested_at` is when its fleet was asked for it (absent for a worker started by hand): the start-up
    delay is measured from it. `start_cpu`: seconds of a processor that the worker took until it was ready, or
    stood by. `moved_bytes` counts from `started_at`. `settings_hash` differs between workers
    that run different settings. `uploads` is there only in the answer to the command `describe`, so that
    the status of every second stays small.
    """

    app_id: AppId
    worker_id: WorkerId
    state: WorkerState
    busy: Annotated[int, Meta(ge=0, le=1_000_000)]
    slots: Annotated[int, Meta(ge=1, le=100_000)]
    at: Instant
    requested_at: Instant | None = None
    ready_at: Instant | None = None
    started_at: Instant | None = None
    moved_bytes: Count | None = None
    version: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    settings_hash: Annotated[str, Meta(pattern=r"\A[0-9a-f]{8,64}\Z")] | None = None
    start_cpu: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    uploads: Annotated[tuple[UploadInHand, ...], Meta(max_length=MAX_DESCRIBED)] | None = None


class ByHand(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """So many workers, whatever the policy says, until an instant (None: until the order is taken back).

    0 pauses the application: nothing consumes, and everything stays in the queue.
    """

    workers: Annotated[int, Meta(ge=0, le=1_000_000)]
    by: Annotated[str, Meta(pattern=r"\A[\x21-\x7e]{1,120}\Z")]
    until: Instant | None = None


class ScaleRequest(Struct, frozen=True, kw_only=True, gc=False):
    """This many workers should run: an absolute number, so that a lost or repeated one does no harm.

    `epoch` is when its monitor began to lead, in milliseconds since 1970, or more (monitor/epochs.py); the
    newest (`epoch`, `decided_at`) counts (scaler/targets.py). `by_hand`: an operator set the number, which
    may be below `min_workers`; `order` is what was ordered, for monitors that may take over.
    `standby_workers` counts where the settings leave it to the monitor ("auto"); None: it does not know.
    """

    app_id: AppId
    desired_workers: Annotated[int, Meta(ge=0, le=1_000_000)]
    decided_at: Instant
    reason: str
    epoch: Count
    by_hand: bool = False
    standby_workers: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    order: ByHand | None = None


class WorkerCommand(Struct, frozen=True, kw_only=True, gc=False):
    """A command of the scaler to one worker, sent over its control queue."""

    command: CommandName
    sent_at: Instant


class PlatformLimit(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What an application's platform does not give it at present, and why, in the platform's words.

    `ceiling`: it refuses more workers than these (a quota, an admission rule); None: it refuses none.
    `pending`: workers that it has taken and does not run yet (no node has room).
    """

    app_id: AppId
    reason: Annotated[str, Meta(max_length=MAX_NOTE)]
    ceiling: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    pending: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class WorkerCrash(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A worker that exited unasked, or fell silent: as its scaler saw it, with its last lines of output."""

    app_id: AppId
    worker_id: WorkerId
    at: Instant
    exit_code: Annotated[int, Meta(ge=-(2**31), le=2**32 - 1)] | None = None
    last_lines: Annotated[str, Meta(max_length=MAX_LAST_LINES)] = ""


class PartStatus(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A heartbeat of a monitor or a scaler, sent every second, for people.

    Of these a monitor hears two: `limits`, for it decides for no more workers than a platform takes (they
    make it start fewer, never drain one, since anybody may send them), and `crashes`, told for a while each,
    which it keeps in its journal. `report_queue` tells two installations
    on one broker apart. `since_round`: seconds since its last round that worked. A draining scaler tells how
    many workers and uploads are left. `notes`: what its platform does not do, and why: workers that are
    still pending, a quota.
    """

    part: PartName
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    report_queue: Text
    state: PartState
    since_round: Seconds | None = None
    workers_left: Count | None = None
    uploads_left: Count | None = None
    notes: Annotated[tuple[Annotated[str, Meta(max_length=MAX_NOTE)], ...], Meta(max_length=MAX_NOTES)] = ()
    limits: Annotated[tuple[PlatformLimit, ...], Meta(max_length=MAX_LIMITS)] = ()
    crashes: Annotated[tuple[WorkerCrash, ...], Meta(max_length=MAX_CRASHES)] = ()


OrderName = Literal["set", "resume", "stop", "restart", "down"]
"""To the monitor: `set` workers by hand, `resume` the policy, `stop`. To the scaler: `restart` workers, one
after the other; drain all and stop (`down`)."""

WorkerIds = Annotated[tuple[WorkerId, ...], Meta(max_length=5_000)]


class OperatorOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order of an operator; it says all that is wanted, so one that is repeated does no harm.

    `workers` are those to replace; where there are none yet, the answer names them.
    """

    order: OrderName
    app_id: AppId | None = None
    by_hand: ByHand | None = None
    workers: WorkerIds | None = None


class OperatorAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of an order, in words for the operator; one that is refused changed nothing.

    `workers` are those that it is about, `workers_left` and `uploads_left` what it waits for.
    """

    accepted: bool
    text: Text
    workers: WorkerIds = ()
    workers_left: Count = 0
    uploads_left: Count = 0


MAX_EXCERPT_BYTES = 16_384
"""Longer than any URI."""

AnyMessage = (
    UploadRequest | UploadReport | WorkerStatus | ScaleRequest | WorkerCommand | PartStatus
    | OperatorOrder | OperatorAnswer
)  # fmt: skip
M = TypeVar("M", bound=AnyMessage)

_encoder = msgspec.json.Encoder()
_decoders: dict[Any, Any] = {kind: msgspec.json.Decoder(kind) for kind in get_args(AnyMessage)}


def encode(message: AnyMessage) -> bytes:
    """Return a message's JSON, as it travels."""
    return _encoder.encode(message)


def decode(kind: type[M], body: bytes) -> M:
    """Return the message of type `kind` in `body`; unknown fields are ignored.

    Raises:
        MessageError: not JSON, too long, or a field breaks its rule.
    """
    if len(body) > MAX_MESSAGE_BYTES:
        raise MessageError(f"a message must be at most {MAX_MESSAGE_BYTES} bytes, got {len(body)}")
    try:
        return _decoders[kind].decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # the last: a million "["
        raise MessageError(f"not a valid {kind.__name__}: {error}; got {_excerpt(body)}") from error


def check_app_id(app_id: str) -> str:
    """Return `app_id`, or raise a `MessageError` when it breaks `APP_ID_PATTERN`."""
    if not re.match(APP_ID_PATTERN, app_id):
        raise MessageError(
            "app_id must be 1 to 64 letters, digits, '_' or '-', starting with a letter or digit, "
            f"got {app_id[:80]!r}"
        )
    return app_id


def _excerpt(body: bytes, length: int = 80) -> str:
    """Return the start of a body, printable, short enough for a log line."""
    text = safe(body[:MAX_EXCERPT_BYTES], length)
    return text if len(body) <= length else f"{text} ({len(body)} bytes in all)"
