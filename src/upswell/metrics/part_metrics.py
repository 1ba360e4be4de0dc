"""What each part tells Prometheus of itself: whether it works, and what the scaler and a worker count."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell import __version__
from upswell.metrics.busiest import busiest
from upswell.metrics.figures import OTHER, Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from upswell.messages import PartStatus
    from upswell.monitor import MonitorCandidate
    from upswell.scaler import Scaler
    from upswell.settings import Settings
    from upswell.worker import Worker


class Readiness(Struct, frozen=True):
    """Whether a part does its work at present, and its state in a word."""

    part: str
    ready: bool
    words: str


def part_readiness(status: Callable[[], PartStatus]) -> Readiness:
    """Return whether a monitor or a scaler does its part: it works, or waits to take over."""
    present = status()
    return Readiness(present.part, present.state in ("working", "waiting"), present.state)


def worker_readiness(worker: Worker) -> Readiness:
    """Return whether a worker takes uploads, or would at once."""
    state = worker.status.state
    return Readiness("worker", state in ("ready", "standby"), state)


def readiness_figures(parts: Iterable[Readiness]) -> Iterator[Figure]:
    """Give how the parts of this process are, and its version."""
    yield Figure("upswell_build_info", (__version__,), 1)
    for found in parts:
        yield Figure("upswell_ready", (found.part,), found.ready)


def round_figures(status: PartStatus) -> Iterator[Figure]:
    """Give when a part's last round worked; nothing before the first."""
    if status.since_round is not None:
        at = time.time() - status.since_round
        yield Figure("upswell_last_round_timestamp_seconds", (status.part,), at)


def report_figures(monitor: MonitorCandidate) -> Iterator[Figure]:
    """Give how many reports a monitor took in and refused."""
    yield Figure("upswell_reports_total", ("taken",), monitor.reports_taken_in)
    yield Figure("upswell_reports_total", ("refused",), monitor.messages_refused)


class ScalerMetrics:
    """Figures of a scaler: those with the most workers have series of their own."""

    def __init__(self, scaler: Scaler, settings: Settings) -> None:
        self._scaler = scaler
        self._most = settings.metrics_apps
        self._shown: frozenset[str] = frozenset()

    def reload(self, settings: Settings) -> None:
        """Go on with other settings."""
        self._most = settings.metrics_apps

    def figures(self) -> Iterator[Figure]:
        """Give all figures."""
        costs = self._scaler.costs
        yield Figure("upswell_worker_starts_total", (), costs.starts)
        yield Figure("upswell_worker_start_failures_total", (), costs.start_failures)
        yield Figure("upswell_worker_drains_total", (), costs.drains)
        yield Figure("upswell_worker_crashes_total", (), costs.crashes)
        if self._scaler.part_status().state == "waiting":
            return  # what it saw when it led is not how things are
        yield Figure("upswell_fleet_reachable", (), self._scaler.reaches_fleet)
        yield Figure("upswell_full_applications", (), self._scaler.full_applications)
        workers = self._scaler.workers()
        self._shown = busiest(self._shown, Counter(worker.app_id for worker in workers), self._most)
        phases = Counter(
            (worker.app_id if worker.app_id in self._shown else OTHER, str(worker.phase))
            for worker in workers
        )
        for labels, count in phases.items():
            yield Figure("upswell_fleet_workers", labels, count)


def worker_figures(worker: Worker) -> Iterator[Figure]:
    """Give what one worker counts; which one it is, its address tells (the label `instance`)."""
    status = worker.status
    for outcome, count in worker.counts.items():
        yield Figure("upswell_worker_uploads_total", (status.app_id, outcome), count)
    yield Figure("upswell_worker_slots", (status.app_id, "busy"), min(status.busy, status.slots))
    yield Figure("upswell_worker_slots", (status.app_id, "all"), status.slots)
    if status.moved_bytes is not None:
        yield Figure("upswell_worker_moved_bytes_total", (status.app_id,), status.moved_bytes)
