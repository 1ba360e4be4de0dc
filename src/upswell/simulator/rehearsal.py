"""Rehearsal: the setting of the `slo` policy that would have been best for the recent uploads.

In: snapshots. Out: decisions, by the setting that did best. Every setting has a shadow fleet (`shadows.py`),
which serves the uploads that really came, with their real service times, one objective later: by then nearly
all have ended, so nearly all service times are known. An upload that takes longer is rehearsed when its
report comes. It reads snapshots only: nothing is known before the monitor knows it.

The choice. A setting's score is its cost, times (late uploads / allowed ones) squared where these are more:
that of `lab/score.py`, with twice the weight on lateness. What was seen is added to what was expected before
(`prior.py`), which counts as much as a few late uploads do: the first choice needs no data, and each upload
makes it more this traffic's own. Late uploads are counted one standard deviation higher; those of an episode
share their fate, so 40 in one storm are far less certain than one in each of 40. How many are allowed depends
on how the real uploads fared: an error budget. A change must gain 2 %.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from upswell.policies.slo.staffing import Family, Services
from upswell.simulator.prior import group_of, setting_prior
from upswell.simulator.shadows import Shadows

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.slo.slo import Signals
    from upswell.policies.slo.staffing import Floats, Means, StaffingSetting, Times
    from upswell.simulator.prior import SettingPrior


class Caution(Struct, frozen=True, kw_only=True):
    """How the choice weighs cost against lateness; none of it depends on the traffic."""

    deviations: float = 1.0
    """Standard deviations added to the late uploads counted."""
    exponent: float = 2.0
    """Weight of missing the objective; 1 is the score's own."""
    aim: float = 1.0
    """Share of the error budget that the real uploads should use up."""
    spared_from: float = 0.9
    """Where so much of it is used up, what is left is spared:"""
    sparing: float = 2.0
    """each further share takes so many more from the allowed late uploads, so that a bias of the shadows does
    not become a missed objective."""
    least_budget: float = 0.5
    most_budget: float = 1.3
    """Bounds of the factor by which the real uploads' lateness changes the allowed one."""
    gain: float = 0.02
    """Least gain for which a setting is left."""
    prior: float = 6.0
    """Late uploads allowed, as evidence: what the prior counts for."""
    prior_episodes: float = 5.0
    """And at least so many episodes: a storm of a thousand uploads right at the start is one, and little
    evidence."""
    prior_used: float = 0.5
    """Share of the error budget that real uploads are taken to have used up in it."""
    late_remembered: float = 500.0
    """Late uploads allowed within the memory, which sets its length: 500 are known to a twentieth."""
    bundle: float = 0.2
    """Share of a start-up that shadows let pass between two decisions, in whole intervals, one at least: a
    fleet that needs a start-up to follow gains nothing by deciding much more often."""
    episodes_remembered: float = 1000.0
    """The memory is at least so long: uploads within an objective, or a start-up, share their fate, and many
    of them in a few seconds are little evidence."""
    episodes_before: float = 10.0
    """Episodes that must have been rehearsed before a choice counts as rehearsed."""
    late_before: float = 3.0
    """Late uploads allowed among those rehearsed before a choice counts as rehearsed (the rule of three:
    where none was late, the share allowed is kept with 95 % confidence)."""


CAUTION = Caution()


HEADER = 8
"""What a rehearsal needs of one round: a hundred thousand may wait, so it is packed into one array of floats:
that many numbers, then the response time of each upload reported, then the service time of each."""


def packed(snapshot: Snapshot, signals: Signals) -> array[float]:
    """Return what matters of a snapshot and of what the policy decided from."""
    responses, services = snapshot.recent_response_times, snapshot.recent_service_times
    numbers = (snapshot.at, snapshot.workers.ready, snapshot.slots_each, snapshot.slots_of_one_more)
    known = (signals.load, signals.mean, signals.start_delay, signals.start_cost)
    if len(responses) != len(services):  # some service times are not known
        return array("d", (*numbers, *known))
    return array("d", (*numbers, *known, *responses, *services))


@cache
def shadow_fleets() -> type[Shadows]:
    """Return what runs the fleets: compiled where the extra `fast` is installed, else numpy."""
    try:
        from upswell.simulator.compiled_shadows import CompiledShadows  # noqa: PLC0415 - half a second, 90 MB
    except ImportError:
        return Shadows
    return CompiledShadows


class Frontier(Struct, frozen=True, gc=False):
    """What the rehearsed uploads would have cost and missed under each setting; entry i is setting i's."""

    uploads: float
    """Rehearsed; old ones count less."""
    allowed: float
    """Late uploads among them that the objective allows."""
    costs: tuple[float, ...]
    """Worker-seconds, with what the starts cost."""
    late: tuple[float, ...]


class Rehearsal:
    """The shadows of one application and the choice among them."""

    def __init__(
        self,
        settings: tuple[StaffingSetting, ...],
        *,
        start_delay: float,
        objective: float,
        share: float,
        interval: float,
        slots: float,
        workers: int,
        min_workers: int = 0,
        max_workers: int,
        start_cost: float = 0.0,
        caution: Caution = CAUTION,
    ) -> None:
        self._caution = caution
        self._allowed = 1 - share
        self._objective, self._interval = objective, interval
        self._bundle = self._bundled(start_delay)
        self._memory = caution.late_remembered / self._allowed
        self._lag = max(1, math.ceil(objective / interval))
        self._rounds: deque[array[float]] = deque()
        """Each with the service times reported in it."""
        self._uploads: dict[int, array[float]] = {}
        """By the number of the round in which they came: arrival, service time, arrival, service time."""
        self._services = Services()
        self._means: Means | None = None
        self._number = 0
        self.now = -math.inf
        """The newest instant rehearsed."""
        self._really_late = 0.0
        # A family of its own: the policy's may change its mind about the start-up delay meanwhile.
        self.family = Family(settings, objective, start_delay, start_cost)
        self._prior = self._expected(start_delay)
        self.shadows = shadow_fleets()(
            self.family,
            objective=objective,
            interval=self._bundle * interval,
            slots=slots,
            workers=workers,
            min_workers=min_workers,
            max_workers=max_workers,
            memory=self._memory,
            episode=max(objective, start_delay),
            episodes=caution.episodes_remembered,
        )

    def note(self, one: array[float]) -> None:
        """Take in one round: what was reported since the round before, and what the policy decided from."""
        self._number += 1
        at, start_delay, start_cost = one[0], one[6], one[7]
        if start_delay != self.family.start_delay or start_cost != self.family.start_cost:
            self._bundle = self._bundled(start_delay)
            self.shadows.set_start_delay(start_delay, self._bundle * self._interval, start_cost)
            self._means = None
            self._prior = self._expected(start_delay)
        self._rounds.append(one)
        if len(one) == HEADER:
            return
        middle = (HEADER + len(one)) // 2
        responses, services = one[HEADER:middle], one[middle:]
        del one[HEADER:middle]  # of the responses nothing more is asked
        forget = math.exp(-len(responses) / self._memory)
        late = 0
        if max(responses) > self._objective:
            late = sum(response > self._objective for response in responses)
        self._really_late = self._really_late * forget + late
        # Ended somewhere within the interval: its middle is the best guess.
        ended = at - self._interval / 2
        oldest = self._number - self._lag
        interval, by_number, after = self._interval, self._uploads, self._number + 1
        for response, service in zip(responses, services, strict=True):
            arrival = ended - response
            number = math.floor((arrival - at) / interval) + after
            if number < 1:
                continue  # it came before the first round: what it met then is not known
            number = max(number, oldest)
            uploads = by_number.get(number)
            if uploads is None:
                by_number[number] = array("d", (arrival, service))
            else:
                uploads.append(arrival)
                uploads.append(service)

    def _expected(self, start_delay: float) -> SettingPrior:
        return setting_prior(self.family.settings, group_of(start_delay / self._objective))

    def _bundled(self, start_delay: float) -> int:
        """Return the intervals between two decisions of a shadow: a few in a start-up, 4 in an objective."""
        most = min(self._caution.bundle * start_delay, self._objective / 4)
        return max(1, math.floor(most / self._interval))

    def advance(self) -> bool:
        """Rehearse every interval that is old enough; return whether an upload was among them."""
        any_upload = False
        rounds = self._rounds
        while len(rounds) >= self._lag + self._bundle:
            before = rounds[0][0] - self._interval
            bundle = [rounds.popleft() for _ in range(self._bundle)]
            newest = bundle[-1]
            now, load = newest[0], newest[4]
            self.now = now
            last = self._number - len(rounds)
            arrivals = services = _NONE
            uploads = self._came(last - self._bundle + 1, last)
            if uploads:
                any_upload = True
                arrivals, services = in_order(uploads, before, now)
            self.shadows.set_slots(newest[2], newest[3])
            self.shadows.advance(now, arrivals, services, load, self._known(bundle))
        return any_upload

    def _came(self, first: int, last: int) -> array[float] | None:
        """Take out the uploads that came in these rounds; None where none did."""
        found: array[float] | None = None
        for number in range(first, last + 1):
            uploads = self._uploads.pop(number, None)
            if found is None:
                found = uploads
            elif uploads is not None:
                found += uploads
        return found

    def _known(self, bundle: list[array[float]]) -> Means:
        """Return what the service times said up to the end of a bundle, as the policy knew it then."""
        services = self._services
        for one in bundle:
            if len(one) > HEADER:
                services.add(one[HEADER:])
            elif services.count and self._means is not None:
                continue  # nothing new
            mean = one[5]
            if services.changed(mean) or self._means is None:
                self._means = self.family.means(services, mean)
        assert self._means is not None  # a bundle has a round at least
        return self._means

    @property
    def ready(self) -> bool:
        """Whether enough uploads were rehearsed for a choice to rest on them rather than on the prior."""
        shadows, caution = self.shadows, self._caution
        enough = shadows.count * self._allowed >= caution.late_before
        return enough and shadows.seen >= caution.episodes_before

    def choose(self, following: int) -> int:
        """Return the setting to follow: the best, unless it gains too little over the one followed."""
        caution, shadows, expected = self._caution, self.shadows, self._prior
        prior = caution.prior
        if shadows.seen:
            an_episode = self._allowed * shadows.count / shadows.seen
            prior = max(prior, caution.prior_episodes * an_episode)
        allowed = self._allowed * shadows.count + prior
        used = (self._really_late + prior * caution.prior_used) / allowed
        left = 1 + caution.aim - used - caution.sparing * max(0.0, used - caution.spared_from)
        budget = min(caution.most_budget, max(caution.least_budget, left))
        return shadows.best(
            shadows.sums,
            expected.cost,
            expected.late,
            following,
            shadows.count,
            prior,
            self._allowed,
            budget * allowed,
            self.family.start_cost,
            caution.deviations,
            caution.exponent,
            caution.gain,
        )

    def _paid(self) -> Floats:
        """Return each shadow's worker-seconds, with what its starts cost beyond their time."""
        return self.shadows.cost + self.family.start_cost * self.shadows.starts

    def frontier(self) -> Frontier | None:
        """Return what every setting would have cost and missed; None before an upload was rehearsed."""
        shadows = self.shadows
        if not shadows.count:
            return None
        allowed = self._allowed * shadows.count
        return Frontier(shadows.count, allowed, tuple(self._paid().tolist()), tuple(shadows.late.tolist()))

    def compared(self, chosen: int, before: int) -> str:
        """Return the sentence that explains a choice."""
        shadows, settings = self.shadows, self.family.settings
        if not shadows.count:
            return f"nothing rehearsed yet: this setting ({settings[chosen]}) did best on other traffic"
        paid = self._paid()

        def cost(index: int) -> str:
            return f"{paid[index] / 3600:.3g} worker-hours with {shadows.late[index]:,.0f} late"

        uploads = f"the last {shadows.count:,.0f} uploads would have cost"
        allowed = f"{self._allowed * shadows.count:,.0f} may be late"
        if chosen == before:
            return f"{uploads} {cost(chosen)} under this setting ({settings[chosen]}); {allowed}"
        return (
            f"{uploads} {cost(chosen)} under this setting ({settings[chosen]}), "
            f"{cost(before)} under the one before ({settings[before]}); {allowed}"
        )


def in_order(uploads: array[float], begin: float, end: float) -> tuple[Times, Times]:
    """Return arrivals, as they can have been from `begin` to `end`, and service times, by the arrivals."""
    if len(uploads) <= _FEW:  # for a few numpy's calls take longer than the work
        pairs = sorted(zip(uploads[0::2], uploads[1::2], strict=True))
        arrivals = [min(max(arrival, begin), end) for arrival, _ in pairs]
        return arrivals, [service for _, service in pairs]
    arrivals, services = np.frombuffer(uploads).reshape(-1, 2).T
    order = np.lexsort((services, arrivals))
    return arrivals[order].clip(begin, end), services[order]


_NONE: list[float] = []
_FEW = 30
