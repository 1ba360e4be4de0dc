"""A replay of recorded traffic in a process of its own: `python -m upswell.dashboard.rehearse`.

In: one JSON `Question` on standard input. Out: JSON lines on standard output: the share that is done, then
the answer, or why there is none. Whoever asked cancels it by killing the process; it yields to all others.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from upswell.errors import JournalError, UpswellError
from upswell.journal import JournalReader
from upswell.lab.contenders import choose
from upswell.lab.recorded import read_recorded
from upswell.lab.replay import replay
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.lab.recorded import Recorded
    from upswell.lab.replay import Replayed
    from upswell.settings import Settings, Slo

NICE = 15
MOST_POINTS = 800
SHARES = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
"""Targets of the curve: what the next nine costs."""


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """What shall be other than recorded; None: as recorded. `curve`: try each of `SHARES`, too."""

    journal: str
    app: str
    begin: float
    end: float
    slo: str | None = None
    policy: str | None = None
    min_workers: int | None = None
    max_workers: int | None = None
    standby_workers: int | None = None
    start_delay: float | None = None
    price: float | None = None
    curve: bool = False


def answer(question: Question, on_progress: Callable[[float], None]) -> dict[str, Any]:
    """Return what would have been, or raise an UpswellError where it cannot be replayed."""
    journal = JournalReader(question.journal)
    recorded = _asked(read_recorded(journal, question.app, question.begin, question.end), question)
    runs = 1 + (len(SHARES) if question.curve else 0)
    policy = question.policy or (recorded.settings.policy if recorded.settings else "slo")

    def one(number: int, share: float | None = None) -> Replayed:
        return replay(
            recorded,
            choose(policy),
            differences=3 if share is None else 0,
            on_progress=lambda done: on_progress((number + done) / runs),
            slo=question.slo,
            share=share,
            start_delay=question.start_delay,
            min_workers=question.min_workers,
            max_workers=question.max_workers,
            rules_file=None,
            wrappers=True,
        )

    main = one(0)
    curve: list[dict[str, Any]] = []
    if question.curve:
        seconds = main.world.slo.seconds
        question = replace(question, slo=f"{seconds:g}")
        for number, share in enumerate(SHARES, 1):
            run = one(number, share).run
            curve.append({"share": share, "cost": run.outcome.cost, "attainment": run.outcome.attainment})
    return _told(main, curve)


def _asked(recorded: Recorded, question: Question) -> Recorded:
    """Return the past with what `replay` does not ask for: standby and price are settings."""
    asked = {"standby_workers": question.standby_workers, "price_per_worker_hour": question.price}
    changes = {name: value for name, value in asked.items() if value is not None}
    if not changes:
        return recorded
    settings = recorded.settings
    if settings is None:
        raise JournalError(
            "the journal does not tell the settings that there were: standby and price need them"
        )
    return replace(recorded, settings=replace(settings, **changes))


def _told(replayed: Replayed, curve: list[dict[str, Any]]) -> dict[str, Any]:
    recorded, run, world = replayed.recorded, replayed.run, replayed.world
    paid, would = replayed.bills
    slo: Slo = world.slo
    settings: Settings | None = recorded.settings
    timeline = run.outcome.timeline
    every = max(1, len(timeline) // MOST_POINTS)
    return {
        "slo": str(slo),
        "share": slo.share,
        "policy": run.name,
        "recorded_policy": settings.policy if settings else None,
        "uploads": len(recorded.traffic.arrivals),
        "price": replayed.price or None,
        "notes": [safe(note) for note in replayed.notes],
        "recorded": {
            "late": len(recorded.responses) + recorded.dead - recorded.in_time(slo),
            "attainment": recorded.attainment(slo),
            "cost": paid.worker_seconds if paid else None,
            "peak": recorded.peak_workers,
        },
        "replayed": {
            "late": run.outcome.late,
            "attainment": run.outcome.attainment,
            "cost": would.worker_seconds,
            "peak": run.outcome.peak_workers,
            "p95": run.outcome.p95,
        },
        "timeline": [
            [round(replayed.base + at, 1), workers, waiting] for at, workers, waiting, _ in timeline[::every]
        ],
        "differences": [
            {
                "at": one.widest_at,
                "recorded": one.recorded,
                "replayed": one.replayed,
                "why": safe(one.replayed_reason),
            }
            for one in replayed.differences
        ],
        "curve": curve,
    }


def main() -> None:
    """Answer the question on standard input."""
    os.nice(NICE)
    told = 0.0

    def tell(**fields: Any) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(fields) + b"\n")
        sys.stdout.buffer.flush()

    def on_progress(share: float) -> None:
        nonlocal told
        if share - told >= 0.01:  # noqa: PLR2004 - one line for each hundredth
            told = share
            tell(progress=round(share, 3))

    try:
        question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
        tell(answer=answer(question, on_progress))
    except (UpswellError, msgspec.ValidationError) as error:
        tell(problem=safe(str(error)))


if __name__ == "__main__":
    main()
