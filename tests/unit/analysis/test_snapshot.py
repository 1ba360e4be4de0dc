"""Snapshots: what an older journal holds can still be read."""

from __future__ import annotations

import msgspec

from upswell.analysis.snapshot import Workers


def test_workers_of_an_older_journal_are_read_though_they_have_a_field_more() -> None:
    """Journals of before hold `requested` beside `desired`; they were the same number."""
    workers = msgspec.json.decode(b'{"desired":3,"requested":3,"ready":2}', type=Workers)
    assert workers == Workers(desired=3, ready=2)
