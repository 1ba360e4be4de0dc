"""Traces by OpenTelemetry: one trace an upload, from its publisher to its report. Off unless `traces` is set.

context.py   the context that a message carries (W3C Trace Context), checked: a message is hostile
otel.py      a publisher's and a worker's tracer: spans, sent over OTLP (the only importer of opentelemetry)
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.settings import Settings
    from upswell.traces.otel import UploadTrace, UploadTracer

TRACE: ContextVar[UploadTrace | None] = ContextVar("TRACE", default=None)
"""The trace of the upload that a handler is called for; None: none is wanted."""

PUBLISHER, WORKER = "upswell-publisher", "upswell-worker"
"""Names of services: what a process is that traces."""


def tracer_of(settings: Settings, service: str) -> UploadTracer | None:
    """Return this process's tracer, None where no collector is set; `service` is what the process is.

    Raises:
        SettingsError: the extra is not installed.
    """
    if not settings.traces:
        return None
    return _tracer(settings.traces, settings.traces_share, settings.broker_url != "", service)


@cache
def _tracer(endpoint: str, share: float, rabbitmq: bool, service: str) -> UploadTracer:
    from upswell.traces.otel import UploadTracer  # noqa: PLC0415 - needs the extra, and takes a while

    return UploadTracer(endpoint, share, "rabbitmq" if rabbitmq else "sqlite", service)
