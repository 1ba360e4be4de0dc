"""Leadership: of several monitors, or several scalers, one at a time acts and the others wait.

What comes in: proofs that this candidate was the leader at an instant of its own clock. What goes out:
whether it leads now. It must not know how a broker elects: `leadership.py` in `rabbitmq/` and in `sqlite/`
does.

A proof holds for `TERM_SECONDS` from an instant *before* it was given, by a clock that nobody can set
and that goes on while this process is stopped. So a leader that was stopped, or cut off, knows that it is no
leader any more before it does anything else.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from upswell.broker import topology
from upswell.broker.machine_clock import seconds_since_start
from upswell.events import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from upswell.broker.protocol import Broker
    from upswell.messages import PartName

_log = get_logger()

TERM_SECONDS = 2.0
"""A leader without a newer proof steps down after this time, and no other leads before that."""


class Leadership(Protocol):
    """One candidate's part in an election, see `Broker.lead`."""

    def leads(self) -> bool:
        """Return whether this candidate leads: ask just before each thing that only a leader may do."""
        ...

    async def gained(self) -> None:
        """Return when this candidate leads, at once if it does."""
        ...

    async def lost(self) -> None:
        """Return when it does not lead, at once if it does not."""
        ...

    async def close(self) -> None:
        """Stand no more; another candidate may lead at once."""
        ...


class Lease:
    """What one candidate knows of its leadership; the base of both brokers' `Leadership`."""

    def __init__(self, role: str, clock: Callable[[], float] = seconds_since_start) -> None:
        self._role = role
        self._clock = clock
        self._until = -math.inf
        self._leading = False
        self._news = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._candidacy: asyncio.Task[None] | None = None

    def leads(self) -> bool:
        """Return whether this candidate leads at this moment."""
        return self._clock() < self._until

    async def gained(self) -> None:
        """Return when this candidate leads."""
        while not self.leads():
            await self._wait()

    async def lost(self) -> None:
        """Return when it does not lead."""
        while self.leads():
            await self._wait()

    def proved(self, at: float) -> None:
        """Take note of a proof that was asked for at `at` of the clock: old ones extend nothing."""
        self._until = max(self._until, at + TERM_SECONDS)
        self._look()

    def drop(self) -> None:
        """Lead no more: the connection is lost, or this candidate leaves."""
        self._until = -math.inf
        self._look()

    def stand(self, candidacy: Coroutine[None, None, None]) -> None:
        """Have a broker's part of the election run until `stand_down`."""
        self._candidacy = asyncio.create_task(candidacy)

    async def stand_down(self) -> None:
        """Stand no more, and lead no more."""
        if self._candidacy is not None:
            self._candidacy.cancel()
            await asyncio.wait([self._candidacy])
        self.drop()

    async def _wait(self) -> None:
        self._news.clear()
        self._look()
        await self._news.wait()

    def _look(self) -> None:
        """Tell a change to whoever waits, and look again when the present proof ends."""
        leading = self.leads()
        if leading != self._leading:
            self._leading = leading
            if leading:
                _log.info("leadership.gained", role=self._role)
            else:
                _log.info("leadership.lost", role=self._role)
            self._news.set()
        if leading and self._timer is None:
            left = max(0.0, self._until - self._clock())
            self._timer = asyncio.get_running_loop().call_later(left, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._look()


class SoleCandidate:
    """The leadership of a part that has no rival: one in a test, or in a program of one's own."""

    def leads(self) -> bool:
        """Return that it does."""
        return True

    async def gained(self) -> None:
        """Return at once."""

    async def lost(self) -> None:
        """Never return."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Do nothing."""


@asynccontextmanager
async def standing(broker: Broker, part: PartName, report_queue: str) -> AsyncGenerator[Leadership]:
    """Stand for the leadership of an installation's monitors, or of its scalers, while the context lasts."""
    leadership = await broker.lead(topology.role(part, report_queue))
    try:
        yield leadership
    finally:
        await leadership.close()
