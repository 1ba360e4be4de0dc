"""Queueing theory for a queue served by slots (M/M/c): offered load in, probabilities and slots out.

Offered load `a` is arrival rate x mean service time: the mean number of busy slots, in erlangs. Sources: A.
K. Erlang 1917; D. Gross and C. Harris, "Fundamentals of Queueing Theory"; S. Halfin and W. Whitt,
"Heavy-traffic limits for queues with many exponential servers", Operations Research 29 (1981).
"""

from __future__ import annotations

import math

EXACT_UP_TO = 300.0
"""Up to this load slots are counted by Erlang's exact formula; above, the limit is close and far quicker."""


def erlang_b(slots: int, load: float) -> float:
    """Return the probability that all `slots` are busy without a queue (M/M/c/c); `load` is >= 0.

    B(0) = 1, B(c) = a B(c-1) / (c + a B(c-1)). Tables give 1 % for 10 slots at 4.461 erlangs:

    >>> round(erlang_b(10, 4.461), 4)
    0.01
    """
    blocked = 1.0
    for slot in range(1, slots + 1):
        blocked = load * blocked / (slot + load * blocked)
    return blocked


def erlang_c(slots: int, load: float) -> float:
    """Return the probability that an upload must wait (M/M/c); 1 where the load needs all slots or more.

    C = B / (1 - rho (1 - B)). Two slots, each half busy: one in three waits.

    >>> round(erlang_c(2, 1.0), 6)
    0.333333
    """
    return _waits(erlang_b(slots, load), slots, load)


def halfin_whitt(beta: float) -> float:
    """Return Erlang's C of a + beta sqrt(a) slots as the load grows: 1 / (1 + beta Phi(beta) / phi(beta)).

    >>> round(halfin_whitt(1.0), 4)
    0.2234
    """
    if beta <= 0:
        return 1.0
    density = math.exp(-beta * beta / 2) / math.sqrt(2 * math.pi)
    if density == 0.0:
        return 0.0
    return 1 / (1 + beta * (0.5 + math.erf(beta / math.sqrt(2)) / 2) / density)


def slots_needed(load: float, service_time: float, wait: float, late: float) -> int:
    """Return the fewest slots with which at most the share `late` of uploads waits over `wait` seconds.

    The square-root staffing rule, a + beta sqrt(a), with beta chosen by Erlang's C (a large load: by its
    limit) and not by habit. With no time to wait at all this is the textbook's rule; with more time, fewer
    slots above the load are needed. 0 where there is no load.

    >>> slots_needed(25.2, 2.1, 0.0, 0.05)
    35
    >>> slots_needed(25.2, 2.1, 18.0, 0.05)
    26
    """
    if load <= 0:
        return 0
    if load > EXACT_UP_TO:
        return _slots_needed_by_limit(load, service_time, wait, late)
    blocked, slots = 1.0, 0
    while True:
        slots += 1
        blocked = load * blocked / (slots + load * blocked)
        if slots > load:
            waits = _waits(blocked, slots, load)
            if waits * math.exp(-(slots - load) * wait / service_time) <= late:
                return slots


def _waits(blocked: float, slots: int, load: float) -> float:
    return 1.0 if load >= slots else blocked / (1 - load / slots * (1 - blocked))


def _slots_needed_by_limit(load: float, service_time: float, wait: float, late: float) -> int:
    """Halve the interval between enough and too few; the late share falls with each slot."""
    few, enough = math.floor(load), math.floor(load + 10 * math.sqrt(load)) + 1
    while enough - few > 1:
        slots = (few + enough) // 2
        waits = halfin_whitt((slots - load) / math.sqrt(load))
        if waits * math.exp(-(slots - load) * wait / service_time) <= late:
            enough = slots
        else:
            few = slots
    return enough
