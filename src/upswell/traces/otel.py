"""Spans by OpenTelemetry, sent over OTLP/HTTP in a thread of their own; the only importer of opentelemetry.

Attributes follow the conventions for messaging, version 1.45 of them (not yet stable). No URI and no key is
among them: they may hold what only their owner may see. A collector that is away loses spans, never uploads.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from upswell import __version__, events
from upswell.errors import SettingsError
from upswell.extras import needs
from upswell.safe import safe
from upswell.traces import TRACE
from upswell.traces.context import TRACEPARENT, TRACESTATE, ambient, carried, carried_by

try:
    from opentelemetry import context as otel_context
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
except ImportError as missing:
    raise SettingsError(needs("traces", "otel", missing)) from missing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from opentelemetry.trace import Span

    from upswell.messages import Outcome, UploadRequest
    from upswell.traces.context import Carried

_log = events.get_logger()

EXPORT_SECONDS = 5.0
"""How long the collector may take for one batch, also when the process ends."""
SAY_AGAIN_SECONDS = 60.0
"""So often it is said that spans are lost."""


class _TellLost(logging.Handler):
    """Says as an event, now and then, what OpenTelemetry logs: it would go to standard error as it is."""

    _said_at = -SAY_AGAIN_SECONDS

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if record.levelno >= logging.WARNING and now - self._said_at >= SAY_AGAIN_SECONDS:
            self._said_at = now
            _log.warning("traces.lost", error=safe(record.getMessage()))


class UploadTracer:
    """Begins spans and sends them to a collector.

    Args:
        endpoint: the collector's URL without a path, such as http://127.0.0.1:4318.
        share: of the traces that nobody decided on, the share that is sent, 0 to 1.
        system: the broker's name.
        service: what this process is: upswell-worker, for one.
    """

    def __init__(self, endpoint: str, share: float, system: str, service: str) -> None:
        logger = logging.getLogger("opentelemetry")
        if not any(isinstance(handler, _TellLost) for handler in logger.handlers):
            logger.addHandler(_TellLost())
            logger.propagate = False
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=int(EXPORT_SECONDS))
        resource = Resource.create({"service.name": service, "service.version": __version__})
        sampler = ParentBased(TraceIdRatioBased(share))
        self.provider = TracerProvider(resource=resource, sampler=sampler)
        self.provider.add_span_processor(
            BatchSpanProcessor(exporter, export_timeout_millis=EXPORT_SECONDS * 1000)
        )
        self._tracer = self.provider.get_tracer("upswell", __version__)
        self._system = system

    def sent(self, queue: str, request: UploadRequest) -> tuple[Carried, Callable[[object], None]]:
        """Begin the span of a message that is published, within what the program around us does.

        Return the context for the message's headers, and what to call when it is confirmed.
        """
        span = self._tracer.start_span(
            f"send {queue}",
            context=_as_parent(ambient()),
            kind=SpanKind.PRODUCER,
            attributes=self._attributes(queue, request, "send"),
        )
        return carried_by(span.get_span_context()), lambda _confirm: span.end()

    def begin(
        self, queue: str, request: UploadRequest, context: Carried, attempt: int, delivered_at: float
    ) -> UploadTrace:
        """Begin the span of an attempt at `delivered_at` (UTC seconds since 1970); before it, of its wait."""
        parent = _as_parent(context)
        at = _nanoseconds(delivered_at)
        attributes = self._attributes(queue, request, "process")
        if request.published_at is not None:
            waits = self._tracer.start_span(
                f"queue {queue}",
                context=parent,
                attributes=attributes,
                start_time=min(at, _nanoseconds(request.published_at)),
            )
            waits.end(at)
        span = self._tracer.start_span(
            f"process {queue}",
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes={**attributes, "upswell.attempt": attempt},
            start_time=at,
        )
        return UploadTrace(self._tracer, span)

    def _attributes(self, queue: str, request: UploadRequest, operation: str) -> dict[str, str]:
        return {
            "messaging.system": self._system,
            "messaging.operation.name": operation,
            "messaging.operation.type": operation,
            "messaging.destination.name": queue,
            "messaging.message.id": request.id or "",
            "upswell.app_id": request.app_id,
        }


class UploadTrace:
    """One attempt of a worker at an upload."""

    def __init__(self, tracer: Any, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = trace.set_span_in_context(span)
        self._report: Span | None = None
        self._ended = False

    @property
    def ids(self) -> dict[str, str]:
        """`trace_id` and `span_id`, for log lines."""
        span = self._span.get_span_context()
        return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}

    def enter(self) -> None:
        """Make it what this task does, for OpenTelemetry in the user's own code, too."""
        TRACE.set(self)
        events.TRACE_IDS.set(self.ids)
        otel_context.attach(self._context)

    @contextmanager
    def span(self, name: str) -> Generator[None]:
        """Span a part of it, in any thread, with the error that ends it, if one does."""
        span = self._tracer.start_span(name, context=self._context)
        try:
            yield
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, safe(f"{type(error).__name__}: {error}", 300)))
            raise
        finally:
            span.end()

    def reports(self, outcome: Outcome, reason: str | None, stored_bytes: int | None) -> None:
        """Take note of the outcome; begin the report's span, which lasts until its confirm."""
        if self._ended or self._report is not None:
            return
        self._span.set_attribute("upswell.outcome", outcome)
        if stored_bytes is not None:
            self._span.set_attribute("upswell.bytes", stored_bytes)
        if outcome != "stored":
            self._span.set_status(Status(StatusCode.ERROR, reason))
        self._report = self._tracer.start_span("report", context=self._context)
        if outcome == "failed":  # its report is not waited for, and its backoff is no work
            self.end()

    def end(self) -> None:
        """End all that is open; once."""
        if self._ended:
            return
        self._ended = True
        if self._report is not None:
            self._report.end()
        self._span.end()


def _as_parent(context: Mapping[str, str]) -> otel_context.Context:
    """Return a context in which the span that a message names is the current one; empty without one."""
    parent = carried(context).get(TRACEPARENT)
    if parent is None:
        return otel_context.Context()
    _, trace_id, span_id, flags = parent.split("-")
    remote = SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
        trace_state=TraceState.from_header([context.get(TRACESTATE, "")]),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(remote), otel_context.Context())


def _nanoseconds(at: float) -> int:
    return int(at * 1e9)
