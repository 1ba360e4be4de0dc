"""Service times and arrivals by name: `lognormal(10, 1)`, `poisson(5)`.

In: such a text, and a generator of random numbers. Out: arrays. Every parameter is checked before anything
is drawn.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from upswell.errors import TraceError
from upswell.workload.counts import MOST_UPLOADS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_CALL = re.compile(r"\A\s*(?P<name>[a-z_]+)\s*\((?P<values>[^()]*)\)\s*\Z")


class _Kind(Struct, frozen=True):
    """A family: its parameters, each with the number it must be above, and how it is drawn."""

    parameters: dict[str, float]
    draw: Callable[..., Any]


def _lognormal(rng: np.random.Generator, count: int, mean: float, squared_variation: float) -> Floats:
    """Draw with that mean and that variance over the squared mean: sigma^2 = ln(1 + v), mu = ln m - s^2/2."""
    variance = math.log1p(squared_variation)
    return rng.lognormal(math.log(mean) - variance / 2, math.sqrt(variance), count)


def _constant(_rng: np.random.Generator, count: int, seconds: float) -> Floats:
    return np.full(count, seconds)


def _uniform(rng: np.random.Generator, count: int, low: float, high: float) -> Floats:
    return rng.uniform(low, high, count)


def _exponential(rng: np.random.Generator, count: int, mean: float) -> Floats:
    return rng.exponential(mean, count)


def _pareto(rng: np.random.Generator, count: int, mean: float, shape: float) -> Floats:
    return (1 + rng.pareto(shape, count)) * mean * (shape - 1) / shape


SERVICES: dict[str, _Kind] = {
    "constant": _Kind({"seconds": -1e-300}, _constant),
    "uniform": _Kind({"low": -1e-300, "high": 0.0}, _uniform),
    "exponential": _Kind({"mean": 0.0}, _exponential),
    "lognormal": _Kind({"mean": 0.0, "squared_variation": -1e-300}, _lognormal),
    "pareto": _Kind({"mean": 0.0, "shape": 1.0}, _pareto),
}
"""Times in seconds. `lognormal(10, 1)`: mean 10 s, variance as large as the squared mean."""


def _poisson(rng: np.random.Generator, duration: float, rate: float) -> Floats:
    """Draw a Poisson process: given their number, its arrivals are uniform."""
    return np.sort(rng.random(rng.poisson(rate * duration)) * duration)


def _regular(_rng: np.random.Generator, duration: float, rate: float) -> Floats:
    return np.arange(math.ceil(duration * rate - 1e-9)) / rate


def _on_off(rng: np.random.Generator, duration: float, rate: float, on: float, off: float) -> Floats:
    """Draw bursts of exponential length `on`, silences of length `off`; a Poisson process in a burst."""
    pieces: list[Floats] = []
    at = rng.exponential(off)
    while at < duration:
        length = rng.exponential(on)
        pieces.append(at + _poisson(rng, min(length, duration - at), rate))
        at += length + rng.exponential(off)
    return np.concatenate(pieces) if pieces else np.empty(0)


def _daily(rng: np.random.Generator, duration: float, low: float, high: float, period: float) -> Floats:
    """Draw a Poisson process whose rate swings between `low` and `high`, by thinning one of the larger."""
    most = max(low, high)
    at = _poisson(rng, duration, most)
    rate = low + (high - low) * (1 - np.cos(2 * np.pi * at / period)) / 2
    return at[rng.random(len(at)) * most < rate]


ARRIVALS: dict[str, _Kind] = {
    "regular": _Kind({"rate": 0.0}, _regular),
    "poisson": _Kind({"rate": 0.0}, _poisson),
    "on_off": _Kind({"rate": 0.0, "on_seconds": 0.0, "off_seconds": 0.0}, _on_off),
    "daily": _Kind({"low_rate": -1e-300, "high_rate": 0.0, "period_seconds": 0.0}, _daily),
}
"""Rates in uploads a second; every one is the largest that its process has."""


def forms(kinds: dict[str, _Kind]) -> str:
    """Return each name with its parameters, as a person types it."""
    return ", ".join(f"{name}({', '.join(kind.parameters)})" for name, kind in kinds.items())


class Named(Struct, frozen=True):
    """A distribution or process with its parameters, ready to be drawn from."""

    text: str
    kind: _Kind
    values: tuple[float, ...]

    def draw(self, rng: np.random.Generator, amount: float) -> Floats:
        """Return that many service times, or the arrivals of that many seconds."""
        return self.kind.draw(rng, amount, *self.values)

    def __str__(self) -> str:
        """Return the text with its parameters' names."""
        told = ", ".join(
            f"{name.replace('_', ' ')} {value:g}"
            for name, value in zip(self.kind.parameters, self.values, strict=True)
        )
        return f"{self.text.split('(')[0].strip().replace('_', '-')} ({told})"


def service_times(text: str) -> Named:
    """Return the distribution that a text names; a bare number is a constant.

    >>> str(service_times("lognormal(10, 1)"))
    'lognormal (mean 10, squared variation 1)'

    Raises:
        TraceError: no such distribution, or parameters that it cannot have.
    """
    with contextlib.suppress(ValueError):
        text = f"constant({float(text)!r})"
    named = _parse(text, SERVICES, "service")
    if named.kind is SERVICES["uniform"] and named.values[0] > named.values[1]:
        raise TraceError(f"service must have low <= high, got {text!r}")
    return named


def arrivals(text: str, duration: float) -> Named:
    """Return the arrival process that a text names, for that many seconds.

    Raises:
        TraceError: no such process, parameters that it cannot have, or more uploads than memory is for.
    """
    named = _parse(text, ARRIVALS, "arrivals")
    rates = [v for name, v in zip(named.kind.parameters, named.values, strict=True) if "rate" in name]
    if max(rates) * duration > MOST_UPLOADS:
        raise TraceError(
            f"arrivals must be at most {MOST_UPLOADS:,} uploads, got {max(rates):g} a second "
            f"for {duration:g} s"
        )
    return named


def _parse(text: str, kinds: dict[str, _Kind], what: str) -> Named:
    match = _CALL.match(text)
    kind = kinds.get(match["name"]) if match else None
    if match is None or kind is None:
        raise TraceError(f"{what} must be one of {forms(kinds)}, got {text!r}")
    values = _numbers(match["values"])
    if values is None or len(values) != len(kind.parameters):
        form = f"{match['name']}({', '.join(kind.parameters)})"
        raise TraceError(f"{what} must be {form} with a number for each, got {text!r}")
    for (name, above), value in zip(kind.parameters.items(), values, strict=True):
        if not (math.isfinite(value) and value > above):
            rule = f"> {above:g}" if above >= 0 else ">= 0"
            raise TraceError(f"{what}: {name} must be {rule}, got {value:g}")
    return Named(text, kind, values)


def _numbers(text: str) -> tuple[float, ...] | None:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return None
