"""What an application cost, for people and for machines."""

from __future__ import annotations

from typing import Any

from upswell.analysis.ledger import HOUR, Bill
from upswell.cli.text import seconds


def cost_json(bill: Bill | None, price_per_worker_hour: float) -> dict[str, Any] | None:
    """Return the bill, its sums, and its prices (None where workers have no price)."""
    if bill is None:
        return None
    priced = price_per_worker_hour > 0
    return {
        "since": bill.since,
        "worker_seconds": {
            "total": bill.worker_seconds,
            "starting": bill.starting,
            "standby": bill.standby,
            "busy": bill.busy,
            "idle": bill.idle,
            "draining": bill.draining,
        },
        "unobserved_seconds": bill.unobserved,
        "uploads": {"stored": bill.stored, "in_time": bill.in_time, "dead": bill.dead},
        "worker_seconds_per_upload_in_time": bill.seconds_per_upload_in_time,
        "price_per_worker_hour": price_per_worker_hour if priced else None,
        "price": bill.price(price_per_worker_hour) if priced else None,
        "price_per_upload_in_time": bill.price_per_upload_in_time(price_per_worker_hour) if priced else None,
    }


def cost_text(bill: Bill | None, price_per_worker_hour: float) -> str:
    """Return worker-hours, or their price; and what each upload that met its objective cost of it.

    >>> bill = Bill(since=0.0, at=9.0, busy=5400.0, in_time=1000)
    >>> cost_text(bill, 0.0), cost_text(bill, 2.0)
    ('1.50 h, 5.40s each', '3.00, 0.003 each')
    """
    if bill is None:
        return "-"
    if price_per_worker_hour > 0:
        total = f"{bill.price(price_per_worker_hour):,.2f}"
        price = bill.price_per_upload_in_time(price_per_worker_hour)
        return total if price is None else f"{total}, {price:.3g} each"
    total = f"{bill.worker_seconds / HOUR:,.2f} h"
    each = bill.seconds_per_upload_in_time
    return total if each is None else f"{total}, {seconds(each)} each"
