"""What `status` says of the cost, with a price and without."""

from __future__ import annotations

from msgspec.structs import replace

from upswell.analysis.billing import Bill
from upswell.cli.cost import cost_json, cost_text, each_text

BILL = Bill(
    since=0.0, at=7200.0, starting=60.0, standby=0.0, busy=3000.0, idle=500.0, draining=40.0, stored=1000,
    in_time=900, dead=2,
)  # fmt: skip


def test_without_a_price_worker_hours_are_shown() -> None:
    assert cost_text(BILL, 0.0) == "1.00 h, 4.00s each"
    told = cost_json(BILL, 0.0, "EUR")
    assert told is not None
    assert told["price"] is None
    assert told["worker_seconds"]["total"] == 3600.0
    assert told["worker_seconds_per_upload_in_time"] == 4.0


def test_with_a_price_money_is_shown() -> None:
    assert cost_text(BILL, 1.8, "EUR") == "1.80 EUR, 2.00 EUR per 1,000"
    told = cost_json(BILL, 1.8, "EUR")
    assert told is not None
    assert (told["price"], told["price_per_upload_in_time"], told["currency"]) == (1.8, 0.002, "EUR")


def test_what_is_not_known_is_not_zero() -> None:
    nothing = Bill(since=0.0, at=0.0)
    assert cost_json(None, 1.0, "EUR") is None
    assert cost_text(None, 1.0) == "-"
    assert cost_text(nothing, 1.0) == "0.00"
    assert cost_text(nothing, 0.0) == "0.00 h"


def test_no_amount_has_an_exponent_and_a_small_one_is_told_for_many_uploads() -> None:
    cheap = replace(BILL, in_time=1_000_000)
    assert cost_text(cheap, 0.0219, "USD") == "0.02 USD, 0.02 USD per 1,000,000"
    assert each_text(cheap, 0.0219) == "0.0000000219"
