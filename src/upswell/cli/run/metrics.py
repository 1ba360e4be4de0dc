"""Serve the metrics of the parts that a command runs, where an address is set; otherwise import nothing."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from upswell.errors import SettingsError
from upswell.events import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    from upswell.cli.run.reloading import Reloads
    from upswell.messages import PartStatus
    from upswell.metrics.figures import Figure
    from upswell.monitor import MonitorCandidate
    from upswell.scaler import Scaler
    from upswell.settings import Settings
    from upswell.worker import Worker

    Figures = Callable[[], Iterable[Figure]]

_log = get_logger()


@asynccontextmanager
async def with_metrics(
    settings: Settings, monitor: MonitorCandidate | None = None, scaler: Scaler | None = None
) -> AsyncGenerator[Sequence[Reloads]]:
    """Serve a monitor's and a scaler's metrics while the context lasts; yield what reloads with them.

    Raises:
        SettingsError: the address is taken, or the extra is not installed.
    """
    if not settings.metrics:
        yield ()
        return
    from upswell.metrics.monitor_metrics import MonitorMetrics  # noqa: PLC0415 - needs the extra
    from upswell.metrics.part_metrics import (  # noqa: PLC0415 - as above
        ScalerMetrics,
        part_readiness,
        report_figures,
        round_figures,
    )
    from upswell.metrics.server import Exposed, serving  # noqa: PLC0415 - as above

    figures: list[Figures] = []
    statuses: list[Callable[[], PartStatus]] = []
    reload: list[Reloads] = []
    if monitor is not None:
        of_monitor = MonitorMetrics(settings)
        monitor.on_round = of_monitor.take
        figures += [of_monitor.figures, partial(report_figures, monitor)]
        statuses.append(monitor.part_status)
        reload.append(of_monitor)
    if scaler is not None:
        of_scaler = ScalerMetrics(scaler, settings)
        figures.append(of_scaler.figures)
        statuses.append(scaler.part_status)
        reload.append(of_scaler)
    figures.append(lambda: [figure for status in statuses for figure in round_figures(status())])
    ready = [partial(part_readiness, status) for status in statuses]
    async with serving(settings.metrics, Exposed(figures, ready)):
        yield reload


@asynccontextmanager
async def with_worker_metrics(settings: Settings, worker: Worker) -> AsyncGenerator[None]:
    """Serve a worker's metrics; where that cannot be, it says so and works without.

    Several workers on one machine have one address in their settings, and the first takes it.
    """
    if not settings.metrics:
        yield
        return
    async with AsyncExitStack() as stack:
        try:
            from upswell.metrics.part_metrics import worker_figures, worker_readiness  # noqa: PLC0415 - needs the extra
            from upswell.metrics.server import Exposed, serving  # noqa: PLC0415 - as above

            parts = Exposed([partial(worker_figures, worker)], [partial(worker_readiness, worker)])
            await stack.enter_async_context(serving(settings.metrics, parts))
        except SettingsError as error:
            _log.warning("metrics.not_served", error=error)
        yield
