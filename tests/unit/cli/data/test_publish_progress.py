from __future__ import annotations

import doctest
import io

import pytest
from rich.console import Console

from upswell.cli.data import publish_progress
from upswell.cli.data.publish_progress import Bar, Progress, Speedometer
from upswell.publisher.replies import Replies
from upswell.publisher.tally import Tally

GIB = 1024**3


def drawn(progress: Progress, *, width: int, at: float) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    bar = Bar(progress, console)
    progress.lines(0.0)
    progress._replies.stored_bytes += 999 * GIB
    bar.show(at)
    with console.capture() as capture:
        for part in bar.get_renderables():
            console.print(part)
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_the_largest_figures_are_shown_whole(width: int) -> None:
    replies, tally = Replies(), Tally()
    replies.stored, replies.dead, replies.failed_attempts = 8_888_888, 1_111_111, 9_999_999
    replies.response_times.append(86_399.9)
    tally.found = tally.sent = 12_345_678
    tally.sent_bytes = 1023 * 1024 * GIB
    tally.complete = True
    lines = drawn(Progress(replies, tally, None), width=width, at=1000.0)
    assert [len(line) <= width for line in lines] == [True] * 3
    assert lines[0].split()[-2].endswith("9999999/12345678")
    assert lines[1:] == [
        "999.0 GiB of 1023.0 TiB, 1023.0 MiB/s, 12 days, 3:00:01 left",  # 1,046,553 GiB at 0.999 GiB/s
        "9,999,999 failed attempts, 1,111,111 dead, p50 86399.9s, p95 86399.9s",
    ]


def test_as_long_as_it_is_not_known_how_many_there_are_no_time_is_told() -> None:
    replies, tally = Replies(), Tally()
    replies.stored = 3
    lines = drawn(Progress(replies, tally, None), width=80, at=10.0)
    assert lines[0].split()[-2].endswith("3/?")
    assert lines[1:] == ["999.0 GiB, 99.9 GiB/s", "0 failed attempts, 0 dead, p50 -, p95 -"]


def test_the_example_in_the_docs_holds() -> None:
    assert doctest.testmod(publish_progress).failed == 0


def test_only_the_last_seconds_tell_the_speed() -> None:
    speed = Speedometer()
    for now in range(100):
        speed.mark(float(now), 1000 * min(now, 50), now)
    assert speed.speed(0) == 0.0  # nothing has moved for a while
    assert speed.speed(1) == 1.0
    assert speed.seconds_left(1, 30) == 30.0
    assert speed.seconds_left(0, 30) is None


def test_nothing_is_known_before_there_are_two_instants() -> None:
    speed = Speedometer()
    assert speed.speed(0) is None
    speed.mark(1.0, 5)
    assert speed.speed(0) is None
    speed.mark(1.0, 6)
    assert speed.seconds_left(0, 1) is None


def test_why_nothing_gets_through_is_shown_counted_and_the_newest_first() -> None:
    replies, queue = Replies(), "e1_upload"
    progress = Progress(replies, Tally(), 3, lambda: queue)
    assert progress.notes() == ["nobody consumes e1_upload: the uploads wait there"]
    queue = ""
    for reason in ("away", "404 NoSuchBucket: s3://b/1", "404 NoSuchBucket: s3://b/2"):
        replies.reasons.add(reason)
    assert progress.notes() == ["2 failed: 404 NoSuchBucket: s3://b/...", "1 failed: away"]
    assert drawn(progress, width=80, at=1.0)[-2:] == progress.notes()


def test_without_a_terminal_new_reasons_come_at_once_and_new_counts_seldom(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_progress.time, "monotonic", lambda: 0.0)
    replies = Replies()
    with publish_progress.shown(Progress(replies, Tally(), 3)) as show:
        for now, reason in ((1.0, "away"), (2.0, "away"), (9.0, "full"), (20.0, "full"), (40.0, "full")):
            replies.reasons.add(reason)
            show(now)
    shown = capsys.readouterr().err.splitlines()
    assert [line for line in shown if " failed: " in line] == [
        "1 failed: away",
        "1 failed: full",
        "2 failed: away",
        "3 failed: full",
        "2 failed: away",
    ]
