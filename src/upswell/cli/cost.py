"""An application's cost as text and JSON, the same in status and in every comparison."""

from __future__ import annotations

from typing import Any

from upswell.analysis.billing import HOUR, Bill
from upswell.cli.text import money, seconds

_CENT = 0.01


def by_state(bill: Bill) -> dict[str, float]:
    """Return the billed worker-seconds of each worker state."""
    return {
        "starting": bill.starting,
        "standby": bill.standby,
        "busy": bill.busy,
        "idle": bill.idle,
        "draining": bill.draining,
    }


def each_json(bill: Bill, price_per_worker_hour: float) -> dict[str, Any]:
    """Return the bill for a comparison: the states, and the cost of one upload in time."""
    told: dict[str, Any] = {
        "worker_seconds_by_state": by_state(bill),
        "worker_seconds_per_upload_in_time": bill.seconds_per_upload_in_time,
    }
    if price_per_worker_hour > 0:
        told["price"] = bill.price(price_per_worker_hour)
        told["price_per_upload_in_time"] = bill.price_per_upload_in_time(price_per_worker_hour)
    return told


def each_text(bill: Bill, price_per_worker_hour: float) -> str:
    """Return the cost of one upload in time: its price, or worker-seconds without a price.

    >>> bill = Bill(since=0.0, at=9.0, busy=5400.0, in_time=1000)
    >>> each_text(bill, 0.0), each_text(bill, 2.0)
    ('5.40s', '0.003')
    """
    if price_per_worker_hour > 0:
        price = bill.price_per_upload_in_time(price_per_worker_hour)
        return "-" if price is None else money(price)
    return seconds(bill.seconds_per_upload_in_time)


def cost_json(bill: Bill | None, price_per_worker_hour: float, currency: str) -> dict[str, Any] | None:
    """Return the bill, its totals, and its prices (None without a price)."""
    if bill is None:
        return None
    priced = price_per_worker_hour > 0
    return {
        "since": bill.since,
        "worker_seconds": {"total": bill.worker_seconds, **by_state(bill)},
        "unobserved_seconds": bill.unobserved,
        "uploads": {"stored": bill.stored, "in_time": bill.in_time, "dead": bill.dead},
        "worker_seconds_per_upload_in_time": bill.seconds_per_upload_in_time,
        "price_per_worker_hour": price_per_worker_hour if priced else None,
        "price": bill.price(price_per_worker_hour) if priced else None,
        "price_per_upload_in_time": bill.price_per_upload_in_time(price_per_worker_hour) if priced else None,
        "currency": currency if priced else None,
    }


def total_text(worker_seconds: float, price_per_worker_hour: float, currency: str = "") -> str:
    """Return worker-hours, or their price.

    >>> total_text(5400.0, 0.0), total_text(5400.0, 2.0, "EUR")
    ('1.50 h', '3.00 EUR')
    """
    worker_hours = worker_seconds / HOUR
    if price_per_worker_hour > 0:
        return money(worker_hours * price_per_worker_hour, currency)
    return f"{worker_hours:,.2f} h"


def upload_text(worker_seconds: float, price_per_worker_hour: float, currency: str = "") -> str:
    """Return what one upload costs: worker-seconds, or its price, or that of as many as cost a cent at least.

    >>> upload_text(5.4, 0.0), upload_text(360.0, 1.2, "EUR"), upload_text(3.6, 0.0219, "EUR")
    ('5.40s each', '0.12 EUR each', '0.02 EUR per 1,000')
    >>> upload_text(3.6, 0.0000219)
    '0.02 per 1,000,000'
    """
    if price_per_worker_hour <= 0:
        return f"{seconds(worker_seconds)} each"
    price = worker_seconds / HOUR * price_per_worker_hour
    if price >= _CENT or not price:
        return f"{money(price, currency)} each"
    many = 1000 if price * 1000 >= _CENT else 1_000_000
    return f"{money(price * many, currency)} per {many:,}"


def cost_text(bill: Bill | None, price_per_worker_hour: float, currency: str = "") -> str:
    """Return worker-hours or their price, and the cost of the uploads in time.

    >>> bill = Bill(since=0.0, at=9.0, busy=5400.0, in_time=1000)
    >>> cost_text(bill, 0.0), cost_text(bill, 2.0, "EUR")
    ('1.50 h, 5.40s each', '3.00 EUR, 3.00 EUR per 1,000')
    """
    if bill is None:
        return "-"
    total = total_text(bill.worker_seconds, price_per_worker_hour, currency)
    if not bill.in_time:
        return total
    return f"{total}, {upload_text(bill.worker_seconds / bill.in_time, price_per_worker_hour, currency)}"
