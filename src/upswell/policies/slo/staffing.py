"""How many workers an objective needs: one rule, a family of settings of it, all computed at once.

In: what is in flight, what waits, how long uploads took lately. Out: workers wanted, one number a setting.
Which setting is right depends on the traffic, so none is chosen here (see `simulator/rehearsal.py`). It must
not know: snapshots, time.

The rule. To start everything that is in the system within H seconds, the slots must do the work that falls
into these H seconds: an upload that waits adds E[min(S, H)], one in flight E[min(R, H)], where S is a service
time and R what remains of one that is under way: P(R > x) = E[(S - x)+] / E[S] (the equilibrium distribution
of renewal theory; Cox, Renewal Theory, 1962). Hence

    slots = work(H) / H                            settings without foresight: H = patience x D
    slots = (work(H) - P d) / (H - d)              with foresight: H = patience x D + d

The second counts what the P present slots get done in the start-up delay d, before new ones come. For short
uploads work(H) is N s, and the first is Little's law. Neither wants fewer than a + beta sqrt(a) slots, a =
arrival rate x mean service time (square-root staffing; Halfin and Whitt 1981), where a setting has a beta.
"""

from __future__ import annotations

import math
from array import array
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = NDArray[np.float64]
Ints = NDArray[np.signedinteger]
Flags = NDArray[np.bool_]
Times = Floats | list[float]
"""Seconds, many in an array and few in a list."""
Means = Floats
"""What an upload adds to the work within each setting's horizon: a row for one that waits, and for one in
flight."""

SERVICES_KEPT = 1000
_FIRST_ROOM = 50
REFRESH = 50
"""New service times after which means are recomputed; sooner while there are few."""
ROUNDING = 1e-9
"""What the last digits of a float may add: no slot more for that."""
BUCKETS = 8
"""In which a recent maximum is kept."""
HORIZON, DELAY, BETA, STANDBY = range(4)
"""Rows of `Family.rule`, a column a setting: seconds whose work counts, those before new slots come, slots
above the load in its square roots (minus infinity: no floor), workers on standby."""


class StaffingSetting(Struct, frozen=True):
    """One way to follow the rule."""

    patience: float
    """Share of the objective within which everything in the system should have begun."""
    foresight: bool
    """Whether the work that the present slots do during a start-up counts."""
    beta: float | None
    """Slots above the offered load, in its square roots; None: no such floor."""
    keep: float
    """Start-up delays (or what a start costs, if that is more) for which the most that was wanted stays."""
    standby: int = 0
    """Workers kept connected and idle beyond those wanted."""

    def __str__(self) -> str:
        """Return the setting as people read it."""
        floor = "no floor" if self.beta is None else f"floor a + {self.beta:g} sqrt(a)"
        foresight = ", counting on those at work" if self.foresight else ""
        within = f"start within {self.patience:.0%} of the objective{foresight}"
        standby = f", {self.standby} on standby" if self.standby else ""
        return f"{within}, {floor}, keep for {self.keep:g} start-ups{standby}"


PATIENCES = (0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.56, 0.75)
"""Steps of the square root of two: the optimum is flat, a closer grid gains less than it costs."""
BETAS = (None, 0.0, 0.5)
KEEPS = (0.25, 0.5, 1.0, 3.0)
"""Around 1, where a start-up costs as much as an idle worker (ski rental: at most twice the clairvoyant)."""
FORESIGHT_BETAS = (None, 0.0)
FORESIGHT_KEEPS = (0.25, 0.5, 1.0)
"""With foresight neither a higher floor nor a longer keep was best on any of 31 cases."""
LONG_PATIENCES = (0.1, 0.4)
LONG_BETAS = (0.0, 1.5)
LONG_KEEPS = (10.0, 30.0)
"""For start-ups that do not fit into the objective: an upload that finds no slot is late, whatever is
started then, so slots are kept over the pauses between bursts."""

FAMILY: tuple[StaffingSetting, ...] = tuple(
    StaffingSetting(patience, foresight, beta, keep)
    for foresight, betas, keeps in ((True, FORESIGHT_BETAS, FORESIGHT_KEEPS), (False, BETAS, KEEPS))
    for patience in PATIENCES
    for beta in betas
    for keep in keeps
) + tuple(
    StaffingSetting(patience, foresight, beta, keep)
    for foresight in (True, False)
    for patience in LONG_PATIENCES
    for beta in LONG_BETAS
    for keep in LONG_KEEPS
)
STANDBY_LEVELS = (1, 2, 4, 8, 16, 32, 64)
"""Workers on standby that are rehearsed where they may be chosen: what a burst needs within one start-up is
not far from one of them."""
STANDBY_SETTINGS = (
    StaffingSetting(0.1, foresight=False, beta=None, keep=0.5),
    StaffingSetting(0.4, foresight=False, beta=None, keep=0.5),
    StaffingSetting(0.75, foresight=False, beta=None, keep=0.5),
    StaffingSetting(0.4, foresight=True, beta=None, keep=0.5),
    StaffingSetting(0.1, foresight=False, beta=0.0, keep=3.0),
    StaffingSetting(0.1, foresight=False, beta=0.5, keep=1.0),
    StaffingSetting(0.4, foresight=False, beta=0.5, keep=1.0),
    StaffingSetting(0.1, foresight=False, beta=1.5, keep=30.0),
)
"""With which they are: where a burst finds workers on standby, the others can be few and go soon."""


@cache
def family_with(standby: int | Literal["auto"]) -> tuple[StaffingSetting, ...]:
    """Return the family where so many workers stand by, or where their number is rehearsed as well.

    Its first settings are those of `FAMILY`, in that order.
    """
    if standby == "auto":
        return FAMILY + tuple(
            replace(setting, standby=number) for number in STANDBY_LEVELS for setting in STANDBY_SETTINGS
        )
    return tuple(replace(setting, standby=standby) for setting in FAMILY) if standby else FAMILY


FIRST = FAMILY.index(StaffingSetting(0.2, foresight=False, beta=0.0, keep=3.0))
"""What is followed before anything was rehearsed: early, and slow to let workers go."""


class Services:
    """The recent service times, newest `SERVICES_KEPT`, and the means that the rule takes from them."""

    def __init__(self) -> None:
        self._ring = array("d")  # room is made for the first
        self._times: Floats = np.empty(0)
        self._next = 0
        self._new = 0
        self._assumed: float | None = None
        self._mean: float | None = None
        """None where it is not worked out yet."""
        self.count = 0

    def add(self, times: Sequence[float]) -> None:
        """Take in service times, oldest first."""
        if not times:
            return
        new = array("d", times if len(times) <= SERVICES_KEPT else times[-SERVICES_KEPT:])
        count = len(new)
        known = min(SERVICES_KEPT, self.count + count)
        if len(self._ring) < known:
            self._grow(self.count + count)
        begin = (self._next + len(times) - count) % SERVICES_KEPT
        end = begin + count
        if end <= SERVICES_KEPT:
            self._ring[begin:end] = new
        else:
            fits = SERVICES_KEPT - begin
            self._ring[begin:] = new[:fits]
            self._ring[: end - SERVICES_KEPT] = new[fits:]
        self._next = end % SERVICES_KEPT
        self._new += count
        self.count = known
        self._mean = None

    @property
    def mean(self) -> float | None:
        """The mean of the service times kept; None without any."""
        if self._mean is None and self.count:
            self._mean = float(np.add.reduce(self.times)) / self.count
        return self._mean

    def _grow(self, least: int) -> None:
        """Make room for twice as many as before: most applications have few uploads."""
        room = min(SERVICES_KEPT, max(least, 2 * len(self._ring), _FIRST_ROOM))
        self._ring = array("d", self._ring.tobytes() + bytes(8 * (room - len(self._ring))))
        self._times = np.frombuffer(self._ring)  # the same memory: an array is written to far faster

    @property
    def times(self) -> Floats:
        """The service times kept, in no order."""
        return self._times[: self.count]

    def changed(self, assumed: float) -> bool:
        """Return whether means should be recomputed: not for every new service time.

        Before the first it is asked for, and then where another one is `assumed`.
        """
        if self.count:
            if self._new < min(REFRESH, self.count // 4 + 1):
                return False
            self._new = 0
        elif assumed == self._assumed:
            return False
        self._assumed = assumed
        return True

    def within(self, horizons: Floats, assumed: float) -> tuple[Floats, Floats]:
        """Return (E[min(S, H)], E[min(R, H)]) for each horizon; before the first report S is `assumed`."""
        times = np.sort(self._times[: self.count]) if self.count else np.array([assumed])
        count, sums = len(times), np.concatenate(([0.0], np.cumsum(times)))
        squares = np.concatenate(([0.0], np.cumsum(times * times)))
        below = np.searchsorted(times, horizons)
        above = count - below
        whole = (sums[below] + above * horizons) / count
        # E[min(R, H)] = integral of P(R > x) over 0..H = E[S^2/2 if S <= H else S H - H^2/2] / E[S]
        total = float(sums[-1])
        if total <= 0:
            return whole, np.zeros(len(horizons))
        remaining = (squares[below] / 2 + (total - sums[below]) * horizons - above * horizons**2 / 2) / total
        return whole, remaining

    def within_one(self, horizon: float, assumed: float) -> tuple[float, float]:
        """Return the same for a single horizon, several times as fast.

        With C = min(S, H) the second is E[C (S - C / 2)] / E[S].
        """
        times = self.times if self.count else np.array([assumed])
        capped = np.minimum(times, horizon)
        whole = float(np.add.reduce(capped)) / len(times)
        total = float(np.add.reduce(times))
        remaining = float(capped.dot(times - capped / 2)) / total if total > 0 else 0.0
        return whole, remaining


@cache
def _keep(settings: tuple[StaffingSetting, ...]) -> Floats:
    """Return how long each keeps workers for: once for all applications."""
    return np.array([setting.keep for setting in settings])


@lru_cache(maxsize=256)
def _rule(
    settings: tuple[StaffingSetting, ...], objective: float, start_delay: float
) -> tuple[Floats, Floats, Ints]:
    """Return the rule's numbers, distinct horizons, which is whose: once for applications that are alike."""
    patience = np.array([setting.patience for setting in settings])
    foresight = np.array([setting.foresight for setting in settings])
    rule = np.empty((4, len(settings)))
    rule[DELAY] = np.where(foresight, start_delay, 0.0)
    rule[HORIZON] = patience * objective + rule[DELAY]
    rule[BETA] = [-np.inf if setting.beta is None else setting.beta for setting in settings]
    rule[STANDBY] = [setting.standby for setting in settings]
    distinct, inverse = np.unique(rule[HORIZON], return_inverse=True)
    return rule, distinct, inverse.astype(np.int16)


class Family:
    """The rule under many settings at once; entry i of every result belongs to setting i."""

    def __init__(
        self,
        settings: tuple[StaffingSetting, ...],
        objective: float,
        start_delay: float,
        start_cost: float = 0.0,
    ) -> None:
        self.settings = settings
        self.start_cost = start_cost
        """Seconds of a worker, beyond the time that a start takes."""
        self.keep = _keep(settings)
        self._objective = objective
        self.set_start_delay(start_delay)

    def set_start_delay(self, start_delay: float, start_cost: float | None = None) -> None:
        """Take the start-up delay as measured now, and what a start costs; None: as before."""
        self.start_delay = start_delay
        if start_cost is not None:
            self.start_cost = start_cost
        self.rule, self.distinct, self._of_distinct = _rule(self.settings, self._objective, start_delay)

    @property
    def standby(self) -> Floats:
        """Workers on standby under each setting."""
        return self.rule[STANDBY]

    @property
    def keep_seconds(self) -> Floats:
        """How long each setting keeps workers for."""
        return self.keep * kept_for(self.start_delay, self.start_cost)

    def means(self, services: Services, assumed: float) -> Means:
        """Return what an upload that waits, and one in flight, adds to the work within each horizon."""
        return np.array(services.within(self.distinct, assumed)).take(self._of_distinct, axis=1)

    def slots(
        self,
        in_flight: Ints | int,
        waiting: Ints | int,
        present: Ints | int,
        load: float,
        means: Means,
    ) -> Ints:
        """Return the slots wanted: never more than uploads for the backlog, never fewer than the floor."""
        whole, remaining = means
        horizons, delays = self.rule[HORIZON], self.rule[DELAY]
        work = in_flight * remaining + waiting * whole
        # Those at work can have done no more than there is to do: without the limit a large fleet would ask
        # for none.
        done = np.minimum(present, work / horizons) * delays
        backlog = np.ceil((work - done) / (horizons - delays) - ROUNDING)
        wanted = np.minimum(backlog, in_flight + waiting)
        if load > 0:
            wanted = np.maximum(wanted, np.ceil(load + self.rule[BETA] * math.sqrt(load) - ROUNDING))
        return wanted.astype(np.int64)


def kept_for(start_delay: float, start_cost: float) -> float:
    """Return the seconds that a setting keeps workers for, at `keep` 1: what a start takes, or costs."""
    return max(start_delay, start_cost)


class RecentMaximum:
    """For each setting the most that was wanted within its time, in eight buckets: a bit longer at most."""

    def __init__(self, steps: Floats, most: int = 2**31 - 1) -> None:
        """Take times in steps, and the most that can be wanted: for 32,767 half the memory is enough."""
        dtype = np.int16 if most < 2**15 else np.int32
        self.buckets: Ints = np.zeros((BUCKETS + 1, len(steps)), dtype=dtype)
        """The most that was wanted in a part of its time, a column a setting: a ring."""
        self.step = 0
        self.resize(steps)

    @property
    def longest(self) -> int:
        """Steps after which nothing earlier counts."""
        return math.ceil(float(self.length.max()) * (BUCKETS + 1)) + 1

    def resize(self, steps: Floats) -> None:
        """Take other times from now on, in steps."""
        # Many settings keep for the same time, so all but the buckets is held once for each distinct time.
        distinct, of_distinct = np.unique(steps, return_inverse=True)
        self.of_distinct = of_distinct.astype(np.int16)
        self.length = np.maximum(1.0, distinct / BUCKETS)
        # A time of less than eight steps needs fewer buckets; one of none, only that of now.
        self.used = np.minimum(np.ceil(distinct).astype(np.int64), BUCKETS) + 1
        # What was wanted until now counts as wanted now: buckets of another length tell no more.
        most = self.buckets.max(axis=0)
        self.current = (self.step / self.length).astype(np.int64)
        self.buckets[:] = 0
        self.buckets[self._now()] = most

    def update(self, wanted: Ints) -> Ints:
        """Take in what each wants now, one step after the last, and return each one's recent maximum."""
        self.step += 1
        number = (self.step / self.length).astype(np.int64)
        moved = number != self.current
        self.current = number
        now = self._now()
        before = self.buckets[now]
        if moved.any():
            before[moved[self.of_distinct]] = 0
        self.buckets[now] = np.maximum(before, wanted)
        return self.buckets.max(axis=0)

    def _now(self) -> tuple[Ints, Ints]:
        """Return where each setting's newest bucket is."""
        return (self.current % self.used)[self.of_distinct], _counting(len(self.of_distinct))


@cache
def _counting(count: int) -> Ints:
    return np.arange(count)


def target(have: Ints, wanted: Ints, recent: Ints, busy: Ints) -> Ints:
    """Return the workers to have: more at once; fewer only to what was wanted lately, never a busy one."""
    fewer = np.maximum(np.maximum(wanted, recent), busy)
    return np.where(wanted > have, wanted, np.minimum(have, fewer))
