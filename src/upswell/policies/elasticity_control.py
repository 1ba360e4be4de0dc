"""The rule of the sample author's notes, "ElasticityControl".

An upload is SLOW if t >= MAX - 20 % (MAX - MIN), FAST if t <= MIN + 20 % (MAX - MIN), else normal. Workers
= mean time of the normal ones x number of requests / K. Every 5 finished uploads K is adjusted so that
times stay in the normal range: mostly slow ones lower it, mostly fast ones raise it. Here MAX is the
objective's time and MIN is 0; by how much K changes (a fifth) and its bounds are ours, the notes leave them
open.

K is learned from what this policy observed, so it remembers it.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from upswell.analysis.decision import Decision

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot

WHO = "elasticity_control"
UNTIMED = "{requests:request} in the system, but no upload has ended yet"
NEEDED = "{requests:request} in the system x {normal_time:s} of a normal one / K of {k:s} = {workers:worker}"

MARGIN = 0.2
ADJUST_EVERY = 5
STEP = 0.8
"""K x 0.8 after mostly slow uploads, K / 0.8 after mostly fast ones."""
_NORMAL_KEPT = 50
_LEAST, _MOST = 0.01, 10.0
"""K stays between these multiples of the objective's seconds."""


class ElasticityControlPolicy:
    """Workers in proportion to the requests in the system; the proportion is learned."""

    def __init__(self) -> None:
        self._k: float | None = None
        self._normal: deque[float] = deque(maxlen=_NORMAL_KEPT)
        self._slow = self._fast = self._finished = 0

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return mean time of the normal uploads x requests in the system / K, rounded up."""
        limit = snapshot.slo.seconds
        k = self._learn(snapshot.recent_response_times, limit)
        current = snapshot.workers.desired
        requests = snapshot.queue_depth
        if requests is None:
            return Decision.hold(WHO, current, "the number of requests in the system is unknown")
        mean = self._mean_time(snapshot)
        if mean is None:
            if requests == 0:
                return Decision.of(WHO, current, 0, "no request in the system")
            return Decision.hold(WHO, current, UNTIMED, {"requests": requests})
        workers = math.ceil(mean * requests / k)
        inputs = {"requests": requests, "normal_time": mean, "k": k, "workers": workers}
        return Decision.of(WHO, current, workers, NEEDED, inputs)

    def _learn(self, times: tuple[float, ...], limit: float) -> float:
        """Sort the new response times into slow, normal and fast, and return K as they leave it."""
        k = limit if self._k is None else self._k
        for time in times:
            self._finished += 1
            if time >= limit * (1 - MARGIN):
                self._slow += 1
            elif time <= limit * MARGIN:
                self._fast += 1
            else:
                self._normal.append(time)
            if self._finished == ADJUST_EVERY:
                if self._slow > self._fast:
                    k *= STEP
                elif self._fast > self._slow:
                    k /= STEP
                k = min(_MOST * limit, max(_LEAST * limit, k))
                self._slow = self._fast = self._finished = 0
        self._k = k
        return k

    def _mean_time(self, snapshot: Snapshot) -> float | None:
        """Return the mean time of the newest normal uploads; where none was normal, of the whole window."""
        if self._normal:
            return sum(self._normal) / len(self._normal)
        return None if snapshot.response_time is None else snapshot.response_time.mean
