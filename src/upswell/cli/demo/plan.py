"""The demo's plan, made before it starts: files, sizes, arrival times, and a worker's upload rate.

In: a seed, a duration, optionally the user's files. Out: a plan. Its numbers keep one worker half busy in the
quiet phase, need about four in the burst, and let no file take longer than half the target.
"""

from __future__ import annotations

import hashlib
import math
import random
from pathlib import Path

from msgspec import Struct

from upswell.errors import SettingsError
from upswell.settings import Slo
from upswell.workload.arrivals import Phase, piecewise, quiet_burst_calm

OBJECTIVE = Slo(share=0.95, seconds=5.0)
QUIET_RATE = 2.5
BURST_RATE = 20.0
SERVICE_SECONDS = 0.2
"""Time to upload the mean file, set by the upload rate: 2.5 x 0.2 s = 0.5 busy workers; 20 x 0.2 s = 4."""

ALPHA = 1.3
SMALLEST, LARGEST = 16 * 1024, 512 * 1024
"""Sizes of generated files in bytes: Pareto distributed, heavier tailed the closer alpha is to 1."""

MOST_FILES = 2000


class Plan(Struct, frozen=True, kw_only=True):
    """Upload `files[n]` at `arrivals[n]` seconds; `sizes` in bytes, `rate` in bytes per second."""

    phases: list[Phase]
    arrivals: list[float]
    files: list[Path]
    sizes: list[int]
    rate: float


def make_files(folder: Path, seconds: float, seed: int) -> Plan:
    """Write one file of random bytes for each arrival, and plan their uploads."""
    rng = random.Random(seed)  # noqa: S311 - a workload, no secret
    phases = quiet_burst_calm(seconds, quiet_rate=QUIET_RATE, burst_rate=BURST_RATE)
    arrivals = list(piecewise(phases, rng))
    files: list[Path] = []
    sizes: list[int] = []
    for number in range(len(arrivals)):
        sizes.append(pareto(rng, alpha=ALPHA, smallest=SMALLEST, largest=LARGEST))
        files.append(folder / f"{number:04d}.bin")
        files[-1].write_bytes(rng.randbytes(sizes[-1]))
    return Plan(phases=phases, arrivals=arrivals, files=files, sizes=sizes, rate=_rate(sizes))


def take_files(folder: Path, seconds: float, seed: int) -> Plan:
    """Plan the upload of the user's files: each at least once, repeatedly if there are few.

    Raises:
        SettingsError: the folder does not exist or has no file.
    """
    try:
        found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        known = {path: path.stat().st_size for path in found[:MOST_FILES]}
    except OSError as error:
        raise SettingsError(f"--files: cannot read {folder}: {error.strerror}") from error
    if not known:
        raise SettingsError(f"--files must be a folder with at least one file, got {folder}")
    rng = random.Random(seed)  # noqa: S311 - as above
    phases = quiet_burst_calm(seconds, quiet_rate=QUIET_RATE, burst_rate=BURST_RATE)
    arrivals = list(piecewise(phases, rng))
    factor = max(1.0, 1.1 * len(known) / max(1, len(arrivals)))
    if factor > 1:  # many files: publish more in the same time, with faster workers
        phases = [Phase(phase.name, phase.seconds, phase.rate * factor) for phase in phases]
        arrivals = list(piecewise(phases, rng))
    files = [list(known)[n % len(known)] for n in range(len(arrivals))]
    sizes = [known[file] for file in files]
    return Plan(phases=phases, arrivals=arrivals, files=files, sizes=sizes, rate=_rate(sizes, factor))


def pareto(rng: random.Random, *, alpha: float, smallest: int, largest: int) -> int:
    """Draw from the Pareto distribution of shape `alpha`, truncated to `smallest` to `largest` bytes.

    By inversion of F(x) = (1 - (L/x)^a) / (1 - (L/H)^a); see Crovella, Harchol-Balter and Murta, "Task
    assignment in a distributed system", 1998, where it is called bounded Pareto.
    """
    tail = 1 - rng.random() * (1 - (smallest / largest) ** alpha)
    return min(largest, math.floor(smallest * tail ** (-1 / alpha)))


def _rate(sizes: list[int], factor: float = 1.0) -> float:
    """Return a worker's bytes per second: mean file in `SERVICE_SECONDS`, largest in half the target."""
    if not sizes:
        return 1.0
    mean = sum(sizes) / len(sizes)
    return max(1.0, factor * mean / SERVICE_SECONDS, max(sizes) / (OBJECTIVE.seconds / 2))


def checksum(path: Path) -> str | None:
    """Return a file's SHA-256 in hexadecimal; None if it does not exist."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
