"""The past from a journal's reports, round by round, as the monitor would have seen it.

In: when the uploads of one application came, ended, and how long they took. Out: rounds to rehearse. So a
monitor that restarts knows at once which setting did best. It does not know the journal's file.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from upswell.analysis.snapshot import Snapshot, Workers
from upswell.policies.slo.slo import from_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from upswell.journal import ReportRow
    from upswell.policies.slo.slo import Signals
    from upswell.settings import Settings

UPLOADS_REMEMBERED = 10_000
"""Of each application: among them 100 may be late where one in a hundred may."""


class History(Struct):
    """The newest uploads of one application, oldest first: (arrived at, ended at, service time)."""

    uploads: deque[tuple[float, float, float]]
    start_delay: float | None = None
    start_cpu: float | None = None


def histories(reports: Iterable[ReportRow]) -> dict[str, History]:
    """Return for each application the newest uploads that were stored and whose service time is known."""
    found: dict[str, History] = {}
    for report in reports:
        if report.outcome != "stored" or report.service_time is None:
            continue
        past = found.get(report.app_id)
        if past is None:
            past = found[report.app_id] = History(deque(maxlen=UPLOADS_REMEMBERED))
        past.uploads.append((report.arrived_at, report.finished_at, report.service_time))
    return found


def rounds(app_id: str, past: History, settings: Settings) -> Iterator[tuple[Snapshot, Signals]]:
    """Give the rounds of the past, and what the `slo` policy would have decided from in each."""
    table = np.array(past.uploads)
    arrived, ended, service = table[:, 0], table[:, 1], table[:, 2]
    order = np.argsort(ended, kind="stable")
    finishes, responses, services = ended[order], (ended - arrived)[order].clip(0), service[order]
    arrivals, begins = np.sort(arrived), np.sort(ended - service)
    interval = settings.decision_interval
    policy = from_settings(settings)
    begin, done = float(arrivals[0]), 0
    for number in range(1, math.ceil((float(finishes[-1]) - begin) / interval) + 1):
        now = begin + number * interval
        come, begun, over = (int(np.searchsorted(at, now, "right")) for at in (arrivals, begins, finishes))
        snapshot = Snapshot(
            app_id=app_id,
            at=now,
            slo=settings.objective,
            window=settings.window,
            slots_per_worker=settings.initial_slots,
            workers=Workers(desired=settings.min_workers),
            start_delay=past.start_delay,
            start_cpu=past.start_cpu,
            arrivals=come,
            messages_ready=max(0, come - begun),
            messages_unacknowledged=max(0, begun - over),
            recent_response_times=tuple(responses[done:over].tolist()),
            recent_service_times=tuple(services[done:over].tolist()),
        )
        done = over
        policy.decide(snapshot)
        assert policy.signals is not None  # the depth is known
        yield snapshot, policy.signals
