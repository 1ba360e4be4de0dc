"""What an application cost, for people and for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upswell.analysis.ledger import HOUR
from upswell.cli.text import seconds

if TYPE_CHECKING:
    from upswell.analysis.ledger import Bill


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
    """Return worker-hours, or their price.

    >>> from upswell.analysis.ledger import Bill
    >>> bill = Bill(since=0.0, at=9.0, busy=5400.0)
    >>> cost_text(bill, 0.0), cost_text(bill, 2.0)
    ('1.50 h', '3.00')
    """
    if bill is None:
        return "-"
    if price_per_worker_hour > 0:
        return f"{bill.price(price_per_worker_hour):,.2f}"
    return f"{bill.worker_seconds / HOUR:,.2f} h"


def cost_per_upload_text(bill: Bill | None, price_per_worker_hour: float) -> str:
    """Return what one upload that met its objective cost: a price, or worker-seconds where there is none."""
    if bill is None:
        return "-"
    if price_per_worker_hour > 0:
        price = bill.price_per_upload_in_time(price_per_worker_hour)
        return "-" if price is None else f"{price:.3g}"
    return seconds(bill.seconds_per_upload_in_time)
