"""Arrival processes and service times drawn at random, of every kind that an autoscaler meets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    Floats = np.ndarray


def from_rate(rng: np.random.Generator, rate: Callable[[Floats], Floats], span: float, step: float) -> Floats:
    """Return the arrivals of a Poisson process whose rate varies."""
    begins = np.arange(0.0, span, step)
    counts = rng.poisson(np.maximum(rate(begins), 0.0) * step)
    return np.sort(np.repeat(begins, counts) + rng.random(int(counts.sum())) * step)


def poisson(rng: np.random.Generator, rate: float, span: float) -> Floats:
    return from_rate(rng, lambda t: np.full(len(t), rate), span, span / 1000)


def modulated(rng: np.random.Generator, rate: float, span: float) -> Floats:
    """MMPP: four states, each lasting exponentially long."""
    states = rate * rng.dirichlet(np.ones(4)) * 4
    lengths = rng.exponential(span / 30, 200)
    ends, chosen = np.cumsum(lengths), rng.integers(0, 4, 200)
    return from_rate(rng, lambda t: states[chosen[np.searchsorted(ends, t).clip(0, 199)]], span, span / 5000)


def on_off(rng: np.random.Generator, rate: float, span: float) -> Floats:
    ends = np.cumsum(rng.exponential(span / 40, 400))
    return from_rate(rng, lambda t: 2 * rate * (np.searchsorted(ends, t) % 2), span, span / 5000)


def flash_crowd(rng: np.random.Generator, rate: float, span: float) -> Floats:
    """Half of the base rate, and crowds of ten times it that rise fast and fade."""
    begins = rng.uniform(0, span, 6)

    def at(t: Floats) -> Floats:
        total = np.full(len(t), rate / 2)
        for begin in begins:
            since = t - begin
            total += np.where(since > 0, 5 * rate * np.exp(-since / (span / 60)), 0.0)
        return total

    return from_rate(rng, at, span, span / 5000)


def diurnal(rng: np.random.Generator, rate: float, span: float) -> Floats:
    return from_rate(rng, lambda t: rate * (1 + 0.95 * np.sin(6 * math.pi * t / span)), span, span / 2000)


def batches(rng: np.random.Generator, rate: float, span: float) -> Floats:
    """Twenty uploads at once, Poisson."""
    return np.repeat(poisson(rng, rate / 20, span), 20)


def heavy_gaps(rng: np.random.Generator, rate: float, span: float) -> Floats:
    """Gaps are Pareto with exponent 1.5: clusters and silences of every length."""
    gaps = heavy_tailed(rng, 1 / rate, int(2 * rate * span) + 10)
    at = np.cumsum(gaps)
    return at[at < span]


def growing(rng: np.random.Generator, rate: float, span: float) -> Floats:
    """From a tenth of the mean rate to nearly twice that, steadily."""
    return from_rate(rng, lambda t: rate * (0.1 + 1.8 * t / span), span, span / 2000)


PROCESSES = (poisson, modulated, on_off, flash_crowd, diurnal, batches, heavy_gaps, growing)


def exponential(rng: np.random.Generator, mean: float, count: int) -> Floats:
    return rng.exponential(mean, count)


def lognormal(rng: np.random.Generator, mean: float, count: int) -> Floats:
    """Squared coefficient of variation 1."""
    sigma = math.sqrt(math.log(2))
    return rng.lognormal(math.log(mean) - sigma * sigma / 2, sigma, count)


def heavy_tailed(rng: np.random.Generator, mean: float, count: int) -> Floats:
    """Pareto with exponent 1.5: no variance."""
    return mean / 3 * (1 + rng.pareto(1.5, count))


SERVICES = (exponential, lognormal, heavy_tailed)
