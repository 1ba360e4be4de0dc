"""The uploads that a command simulates: from a file of jobs, a file of counts, or a named process.

In: a `TrafficSource`. Out: `Traffic`, and the sentences that say how it was made.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from upswell.errors import SettingsError, TraceError
from upswell.settings import Slo
from upswell.settings.duration import parse_duration
from upswell.simulator.jobs import read_jobs
from upswell.workload import distributions
from upswell.workload.columns import read_columns
from upswell.workload.counts import spread, step_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DEFAULT_SHARE = 0.95
"""As in the setting `slo`."""


class Traffic(Struct, frozen=True, kw_only=True):
    """Sorted arrivals and service times, in seconds; `notes` say what one must know of them."""

    case: str
    arrivals: Floats
    services: Floats
    notes: tuple[str, ...] = ()

    @property
    def mean_service(self) -> float:
        """Mean service time in seconds."""
        return float(self.services.mean())

    @property
    def work(self) -> float:
        """Sum of the service times."""
        return float(self.services.sum())


class TrafficSource(Struct, frozen=True, kw_only=True):
    """Where traffic comes from: one of `jobs`, `trace`, `arrivals`; the latter two with `service`."""

    jobs: str | None
    trace: str | None
    arrivals: str | None
    service: str | None
    duration: str
    seed: int
    thin: float
    squeeze: float


def parse_slo(text: str, share: float | None) -> Slo:
    """Return the objective of `60` (seconds, with the share given) or of `99% < 60s`.

    Raises:
        SettingsError: it is neither, or two shares were given.
    """
    try:
        seconds = float(text)
    except ValueError:
        slo = Slo.parse(text)
        if share is not None and abs(share - slo.share) > 1e-9:  # noqa: PLR2004 - the two are texts of one number
            raise SettingsError(f"give share only once, got {share:g} and slo {text!r}") from None
        return slo
    if not (math.isfinite(seconds) and seconds > 0):
        raise SettingsError(f"slo must have a time > 0 s, got {text!r}")
    share = DEFAULT_SHARE if share is None else share
    if not 0 < share < 1:
        raise SettingsError(f"share must be > 0 and < 1, got {share:g}")
    return Slo(share, seconds)


def read_traffic(source: TrafficSource) -> Traffic:
    """Return the uploads of a source.

    Raises:
        TraceError: the file is invalid or the name is unknown; the message says the rule and the value.
    """
    rng = np.random.default_rng(source.seed)
    if source.jobs is not None:
        return _from_jobs(source.jobs, source, rng)
    if source.trace is not None:
        return _from_counts(source.trace, source, rng)
    return _from_process(source, rng)


def _from_jobs(path: str, source: TrafficSource, rng: np.random.Generator) -> Traffic:
    arrivals, services = read_jobs(path)
    notes: list[str] = []
    if source.thin < 1:
        kept = rng.random(len(arrivals)) < source.thin
        arrivals, services = arrivals[kept], services[kept]
        notes.append(f"thinned to {source.thin:g} (seed {source.seed}): {len(arrivals):,} uploads are left")
    return _finished(_case(path), arrivals, services, notes, source)


def _from_counts(path: str, source: TrafficSource, rng: np.random.Generator) -> Traffic:
    times, counts = read_columns(path, "t_seconds", "count")
    step = step_of(times, counts)
    arrivals = spread(times, counts, rng, thin=source.thin)
    assert source.service is not None
    service = distributions.service_times(source.service)
    thinned = f", thinned to {source.thin:g}" if source.thin < 1 else ""
    notes = [
        f"{len(times):,} counts of {step:g} s{thinned}; arrivals drawn uniformly within each, "
        + _service_note(service, source)
    ]
    return _finished(_case(path), arrivals, service.draw(rng, len(arrivals)), notes, source)


def _from_process(source: TrafficSource, rng: np.random.Generator) -> Traffic:
    assert source.arrivals is not None
    assert source.service is not None
    seconds = parse_duration(source.duration)
    process = distributions.arrivals(source.arrivals, seconds)
    service = distributions.service_times(source.service)
    arrivals = process.draw(rng, seconds)
    if source.thin < 1:
        arrivals = arrivals[rng.random(len(arrivals)) < source.thin]
    thinned = f", thinned to {source.thin:g}" if source.thin < 1 else ""
    notes = [f"arrivals drawn from {process} for {seconds:g} s{thinned}, " + _service_note(service, source)]
    return _finished(source.arrivals, arrivals, service.draw(rng, len(arrivals)), notes, source)


def _service_note(service: distributions.Named, source: TrafficSource) -> str:
    return f"service times from {service} (seed {source.seed})"


def _finished(
    case: str, arrivals: Floats, services: Floats, notes: list[str], source: TrafficSource
) -> Traffic:
    if len(arrivals) == 0:
        raise TraceError(f"no uploads in the traffic of {case}")
    if source.squeeze != 1:
        arrivals = arrivals / source.squeeze
        notes.append(f"arrivals compressed {source.squeeze:g} times; service times unchanged")
    return Traffic(case=case, arrivals=arrivals, services=services, notes=tuple(notes))


def _case(path: str) -> str:
    name = Path(path).name.removesuffix(".gz")
    return name.removesuffix(".csv")


def check_reach(services: Floats, slo: Slo) -> tuple[float, tuple[str, ...]]:
    """Return the largest share that any fleet could answer in time, and what to say of it.

    Raises:
        TraceError: not one upload can be answered in time.
    """
    possible = float(np.count_nonzero(services <= slo.seconds)) / len(services)
    least = float(np.quantile(services, slo.share, method="higher"))
    # A little more than that upload takes, so that it can be answered by a worker that is free at once.
    able = Slo(slo.share, float(f"{least * 1.01:.3g}"))
    if possible == 0:
        raise TraceError(
            f"slo {slo} cannot be met: the shortest service takes {float(services.min()):.4g} s; "
            f"what could be met, with a free worker for every upload: {able}"
        )
    if possible == 1:
        return 1.0, ()
    longer = len(services) - round(possible * len(services))
    counted = f"{longer:,} of {len(services):,} uploads"
    notes = [f"{counted} take longer than {slo.seconds:g} s by themselves: late under every policy"]
    if possible < slo.share:
        notes.append(
            f"so slo {slo} cannot be met; what could be met, with a free worker for every upload: "
            f"{possible:.2%} within {slo.seconds:g} s, or {able}"
        )
    return possible, tuple(notes)
