"""The decisions that the pages quote are what the default policy decides, word for word."""

from __future__ import annotations

from pathlib import Path

from upswell.analysis.snapshot import Workers
from upswell.policies.registry import policy_for
from upswell.settings import Settings
from upswell.testing.snapshots import constant_time, ordinary

ROOT = Path(__file__).parents[2]


def test_the_scale_out_that_the_pages_quote_is_decided_so() -> None:
    found = ordinary(
        workers=Workers(desired=5, ready=5),
        messages_ready=240,
        messages_unacknowledged=0,
        recent_service_times=(2.1,) * 8,
        recent_response_times=(2.1,) * 8,
        warming_up=True,
    )
    reason = policy_for(Settings(max_workers=12)).decide(found).reason
    for page in ("README.md", "docs/how-it-decides.md"):
        assert reason in (ROOT / page).read_text("utf-8"), page


def test_the_scale_in_that_the_page_quotes_is_decided_so() -> None:
    policy = policy_for(Settings())
    workers = Workers(desired=7, ready=7)
    busy = ordinary(
        workers=workers,
        start_delay=2.0,
        messages_ready=60,
        messages_unacknowledged=0,
        recent_service_times=(2.2,),
        recent_response_times=(2.2,),
        service_time=constant_time(2.2),
        warming_up=True,
    )
    calm = ordinary(
        at=busy.at + 2, workers=workers, start_delay=2.0, messages_unacknowledged=2, recent_response_times=()
    )
    policy.decide(busy)
    reason = policy.decide(calm).reason
    assert reason in (ROOT / "docs/how-it-decides.md").read_text("utf-8"), reason
