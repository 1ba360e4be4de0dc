"""The summary of `publish`: what was sent and stored, speed, failures, differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from upswell.cli.text import counted, seconds, size
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upswell.publisher.publishing import PublishOutcome
    from upswell.publisher.replies import Replies
    from upswell.publisher.tally import Tally

_EXPLAINED = {
    "link": "symbolic links",
    "special": "special files",
    "vanished": "disappeared while listing",
    "unreadable": "unreadable",
    "refused": "names that are not valid keys",
}


MOST_REASONS = 5


def print_summary(
    queue: str, tally: Tally, outcome: PublishOutcome, *, destination: str | None, as_json: bool
) -> None:
    """Print the summary on standard output, and failures on standard error.

    `destination` is where the objects are that no worker has told the address of; None: not known here.
    """
    replies = outcome.replies
    where = None
    if replies is not None and replies.stored + tally.skipped:
        where = replies.address or destination
    _print_failures(outcome)
    if as_json:
        click.echo(msgspec.json.encode({**_figures(tally, outcome), "address": where}).decode())
        return
    for line in tally_lines(tally):
        click.echo(line)
    click.echo(f"published {outcome.published} to {queue}" + (_answers(replies) if replies else ""))
    if replies is not None and replies.stored_bytes:
        click.echo(
            f"{size(replies.stored_bytes)} stored in {seconds(outcome.seconds)}, "
            f"{size(_rate(replies, outcome))}/s"
        )
    for line in _verdict(outcome):
        click.echo(line)
    if where:
        click.echo(f"stored {'below' if where.endswith('/') else 'at'} {safe(where, None)}")


def _print_failures(outcome: PublishOutcome) -> None:
    replies, verified = outcome.replies, outcome.verified
    for name, reason in replies.failures if replies else ():
        click.echo(f"dead {safe(name)}: {safe(reason)}", err=True)
    if replies is not None and replies.failed_attempts + replies.dead > 1:
        for line in replies.reasons.lines(MOST_REASONS):
            click.echo(line, err=True)
    for finding in verified.findings if verified else ():
        click.echo(f"{finding.difference} {safe(finding.key)}: {safe(finding.reason)}", err=True)


def _verdict(outcome: PublishOutcome) -> Iterator[str]:
    """Yield what is not right, or that all is."""
    replies, verified = outcome.replies, outcome.verified
    if verified is not None:
        verdict = f"{verified.wrong:,} wrong" if verified.wrong else "all correct"
        yield f"verified {counted(verified.checked, 'file')} by the {verified.by}: {verdict}"
    elif outcome.end == "unanswered" and replies is not None:
        yield (
            f"{counted(len(replies.outstanding), 'upload')} left the queue without an answer, and the "
            "destination does not have them, or cannot be asked from here"
        )
    elif outcome.end != "complete" and replies is not None:
        yield "some uploads are not stored yet"


def _answers(replies: Replies) -> str:
    p50, p95 = replies.percentiles()
    words = [f"stored {replies.stored}", f"dead {replies.dead}", f"failed attempts {replies.failed_attempts}"]
    words += [f"outstanding {len(replies.outstanding)}"] if replies.outstanding else []
    words += [f"found in the destination {replies.found}"] if replies.found else []
    return ", " + ", ".join([*words, f"p50 {seconds(p50)}", f"p95 {seconds(p95)}"])


def _rate(replies: Replies, outcome: PublishOutcome) -> float:
    return replies.stored_bytes / outcome.seconds if outcome.seconds else 0.0


def _figures(tally: Tally, outcome: PublishOutcome) -> dict[str, Any]:
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
            "reasons": [
                {"reason": safe(reason), "count": count} for reason, count in replies.reasons.newest()
            ],
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


def print_notes(tally: Tally) -> None:
    """Print the skipped names on standard error."""
    for note in tally.shown:
        click.echo(f"skipped {safe(note.path)}: {safe(note.reason)}", err=True)
    more = tally.notes.total() - len(tally.shown)
    if more:
        click.echo(f"skipped {counted(more, 'more name')}", err=True)


def tally_lines(tally: Tally, *, sent: str = "sent") -> list[str]:
    """Return what was found; empty if all sources were explicit requests.

    `sent` is the word for what is not stored yet.
    """
    lines: list[str] = []
    if tally.found != tally.sent or tally.found_bytes:
        lines.append(
            f"found {counted(tally.found, 'file')} ({size(tally.found_bytes)}), "
            f"{sent} {tally.sent:,} ({size(tally.sent_bytes)}), "
            f"skipped {tally.skipped:,} already stored ({size(tally.skipped_bytes)})"
        )
    if tally.notes:
        kinds = ", ".join(
            f"{tally.notes[kind]:,} {text}" for kind, text in _EXPLAINED.items() if tally.notes[kind]
        )
        lines.append(f"not uploaded: {kinds}")
    return lines
