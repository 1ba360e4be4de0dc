"""The last words of `publish`: what was sent and stored, how fast, what failed, whether all is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec
from msgspec import Struct

from upswell.cli.text import counted, seconds, size
from upswell.publisher.replies import Replies
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upswell.cli.data.publish_tally import Tally
    from upswell.publisher.known import Finding

MOST_FINDINGS = 100
"""Differences that are remembered; all are counted."""


class Verified:
    """What comparing sources and objects found; `by` says what the sources were compared with."""

    def __init__(self, by: str) -> None:
        self.by = by
        self.checked = 0
        self.wrong = 0
        self.findings: list[Finding] = []

    def take(self, checked: int, findings: Iterable[Finding]) -> None:
        """Count one more batch."""
        self.checked += checked
        for finding in findings:
            self.wrong += 1
            if len(self.findings) < MOST_FINDINGS:
                self.findings.append(finding)


End = Literal["complete", "incomplete", "interrupted"]
"""How publishing ended: all done that was asked for; not all of it in time; by Ctrl-C or SIGTERM."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of what was sent; `replies` is None where nobody waited."""

    published: int
    seconds: float
    replies: Replies | None = None
    end: End = "complete"
    verified: Verified | None = None

    @property
    def failed(self) -> bool:
        """Whether anything is not stored, or not right."""
        dead = self.replies is not None and self.replies.dead > 0
        return dead or self.end != "complete" or (self.verified is not None and self.verified.wrong > 0)


def print_summary(queue: str, tally: Tally, outcome: Outcome, *, as_json: bool) -> None:
    """Print the summary on standard output, and what failed on standard error."""
    replies, verified = outcome.replies, outcome.verified
    for name, reason in replies.failures if replies else ():
        click.echo(f"dead {safe(name)}: {safe(reason)}", err=True)
    for finding in verified.findings if verified else ():
        click.echo(f"{finding.difference} {safe(finding.key)}: {safe(finding.reason)}", err=True)
    if as_json:
        click.echo(msgspec.json.encode(_figures(tally, outcome)).decode())
        return
    for line in tally.lines():
        click.echo(line)
    click.echo(f"published {outcome.published} to {queue}" + (_answers(replies) if replies else ""))
    if replies is not None and replies.stored_bytes:
        click.echo(
            f"{size(replies.stored_bytes)} stored in {seconds(outcome.seconds)}, "
            f"{size(_rate(replies, outcome))}/s"
        )
    if verified is not None:
        verdict = f"{verified.wrong:,} are not right" if verified.wrong else "all are right"
        click.echo(f"verified {counted(verified.checked, 'file')} by the {verified.by}: {verdict}")
    elif outcome.end != "complete" and replies is not None:
        click.echo("not all is stored yet")


def _answers(replies: Replies) -> str:
    p50, p95 = replies.percentiles()
    words = [f"stored {replies.stored}", f"dead {replies.dead}", f"failed attempts {replies.failed_attempts}"]
    words += [f"outstanding {len(replies.outstanding)}"] if replies.outstanding else []
    return ", " + ", ".join([*words, f"p50 {seconds(p50)}", f"p95 {seconds(p95)}"])


def _rate(replies: Replies, outcome: Outcome) -> float:
    return replies.stored_bytes / outcome.seconds if outcome.seconds else 0.0


def _figures(tally: Tally, outcome: Outcome) -> dict[str, Any]:
    replies, verified = outcome.replies, outcome.verified
    figures: dict[str, Any] = {"published": outcome.published, "end": outcome.end}
    if replies is not None:
        p50, p95 = replies.percentiles()
        figures |= {
            "stored": replies.stored,
            "failed_attempts": replies.failed_attempts,
            "dead": replies.dead,
            "outstanding": len(replies.outstanding),
            "p50_response_time": p50,
            "p95_response_time": p95,
            "stored_bytes": replies.stored_bytes,
            "bytes_per_second": _rate(replies, outcome),
            "failures": [{"name": safe(name), "reason": safe(reason)} for name, reason in replies.failures],
        }
    figures |= {**tally.figures(), "seconds": outcome.seconds}
    if verified is not None:
        figures["verified"] = {
            "checked": verified.checked,
            "wrong": verified.wrong,
            "by": verified.by,
            "findings": verified.findings,
        }
    return figures
