"""Why attempts failed, counted by reason, the newest first.

What comes in: the reasons of reports, hostile. What goes out: each reason without what differs from upload to
upload (names, sizes, checksums), and how often it came. Pure; memory is bounded by `MOST_REASONS`.
"""

from __future__ import annotations

import re

from upswell.analysis.snapshot import FailureReason
from upswell.safe import safe

_BUCKETS = 12
_MOST_RECENT = 20
_LONGEST_RECENT = 300

MOST_REASONS = 100
"""Reasons that are told apart; the ones not heard of for longest are forgotten."""

MOST_CHARACTERS = 1000
"""A worker sends no longer reason; of another's only the beginning is read."""

_IN_URI = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*://[^\s/?#'\"]*)/[^\s'\"]*[^\s'\".,;:)]")
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")
_SIZE = re.compile(r"\b\d+ bytes")


def common_reason(reason: str, *names: str) -> str:
    """Return a reason as it is for every upload that fails alike; `names` are this upload's own.

    >>> common_reason("store refused: 404 NoSuchBucket: s3://photos/2026/a.jpg")
    'store refused: 404 NoSuchBucket: s3://photos/...'
    >>> common_reason("a.jpg has 12 bytes", "a.jpg")
    '... has ... bytes'
    """
    reason = _IN_URI.sub(r"\1/...", reason[:MOST_CHARACTERS])
    reason = _SIZE.sub("... bytes", _CHECKSUM.sub("sha256:...", reason))
    for name in names:
        if name:
            reason = reason.replace(name, "...")
    return reason


class FailureReasons:
    """Counts reasons; belongs to one application, or to one publishing."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}  # the newest last

    def add(self, reason: str, *names: str) -> None:
        """Count one failed attempt; `names` are those of its upload (key, URI)."""
        common = common_reason(reason, *names)
        self._counts[common] = self._counts.pop(common, 0) + 1
        if len(self._counts) > MOST_REASONS:
            del self._counts[next(iter(self._counts))]

    def newest(self, most: int = MOST_REASONS) -> list[tuple[str, int]]:
        """Return up to `most` reasons and their counts, the newest first."""
        return list(reversed(self._counts.items()))[:most]

    def lines(self, most: int) -> list[str]:
        """Return up to `most` reasons as lines for people: `12 failed: the store is away`."""
        return [str(FailureReason(safe(reason), count)) for reason, count in self.newest(most)]


class RecentReasons:
    """Counts the reasons of the last `window` seconds, give or take a twelfth; belongs to one application."""

    def __init__(self, window: float) -> None:
        self._bucket_seconds = window / _BUCKETS
        self._counts: dict[str, dict[int, int]] = {}  # reason -> bucket -> count; the newest last

    def add(self, reason: str, at: float, *names: str) -> None:
        """Count one failed attempt; `names` are those of its upload."""
        common = common_reason(safe(reason, _LONGEST_RECENT), *names)
        buckets = self._counts[common] = self._counts.pop(common, {})
        number = int(at / self._bucket_seconds)
        buckets[number] = buckets.get(number, 0) + 1
        if len(self._counts) > _MOST_RECENT:
            del self._counts[next(iter(self._counts))]

    def newest(self, now: float, most: int) -> tuple[FailureReason, ...]:
        """Return up to `most` reasons of the window, the newest first."""
        if not self._counts:
            return ()
        oldest = int(now / self._bucket_seconds) - _BUCKETS
        for reason, buckets in list(self._counts.items()):
            for number in [number for number in buckets if number <= oldest]:
                del buckets[number]
            if not buckets:
                del self._counts[reason]
        newest = list(reversed(self._counts.items()))[:most]
        return tuple(FailureReason(reason, sum(buckets.values())) for reason, buckets in newest)
