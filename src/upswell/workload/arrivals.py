"""When uploads are published: arrival processes as iterators of seconds since the start, never decreasing.

What comes in: rates and a `random.Random`. What goes out: floats. It knows no clock: who publishes, waits.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator


class Phase(Struct, frozen=True):
    """A stretch of time with one arrival rate."""

    name: str
    seconds: float
    rate: float


def constant(rate: float) -> Iterator[float]:
    """Yield arrivals `1 / rate` seconds apart, without end; `rate` is per second and above 0.

    >>> from itertools import islice
    >>> list(islice(constant(4.0), 3))
    [0.0, 0.25, 0.5]
    """
    return (n / rate for n in count())


def poisson(rate: float, rng: random.Random) -> Iterator[float]:
    """Yield a Poisson process of `rate` arrivals a second, without end: independent exponential gaps."""
    at = 0.0
    while True:
        at += rng.expovariate(rate)
        yield at


def piecewise(phases: Iterable[Phase], rng: random.Random) -> Iterator[float]:
    """Yield a Poisson process whose rate changes from phase to phase; it ends with the last one.

    A phase of rate 0 is silence. A Poisson process has no memory, so each phase may start its gaps afresh.
    """
    start = 0.0
    for phase in phases:
        if phase.rate > 0:
            for at in poisson(phase.rate, rng):
                if at >= phase.seconds:
                    break
                yield start + at
        start += phase.seconds


def quiet_burst_calm(seconds: float, *, quiet_rate: float, burst_rate: float) -> list[Phase]:
    """Return the demo's day in `seconds`: a quiet third, a burst over a quarter, and calm for what is left.

    >>> [round(phase.seconds, 1) for phase in quiet_burst_calm(45.0, quiet_rate=2.0, burst_rate=10.0)]
    [15.0, 11.2, 18.8]
    """
    quiet, burst = seconds / 3, seconds / 4
    return [
        Phase("quiet", quiet, quiet_rate),
        Phase("burst", burst, burst_rate),
        Phase("calm", seconds - quiet - burst, quiet_rate),
    ]
