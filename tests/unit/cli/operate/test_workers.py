"""`upswell workers`: what it makes of statuses, which anybody may have sent."""

from __future__ import annotations

from typing import Any

import pytest

from upswell.cli.operate.workers import lines
from upswell.client.roster import Roster
from upswell.errors import MessageError
from upswell.messages import MAX_DESCRIBED, UploadInHand, WorkerStatus, decode, encode

HALF_A_GIB = 2**29


def status(worker_id: str, **fields: Any) -> WorkerStatus:
    told = {"app_id": "e1", "state": "ready", "busy": 0, "slots": 4, "at": 100.0, **fields}
    return WorkerStatus(worker_id=worker_id, **told)


def shown(*statuses: WorkerStatus, now: float = 220.0) -> list[str]:
    roster = Roster()
    for each in statuses:
        roster.take(encode(each), now=0.0)
    return list(lines(roster.workers(now=0.0), roster, now))


def test_each_worker_and_its_uploads_are_told_within_80_columns() -> None:
    uploads = (
        UploadInHand(seconds=10.0, request_id="r1", key="cats/1.jpg", bytes=2**20, size_bytes=2**22),
        UploadInHand(seconds=2.0, request_id="r2", attempt=3, waits=True),
    )
    about = {"started_at": 100.0, "version": "0.2.0", "settings_hash": "0123456789ab"}
    assert shown(
        status("e1-0123456789", moved_bytes=0, **about),
        status("e1-0123456789", busy=2, moved_bytes=2**21, at=102.0, uploads=uploads, **about),
        status("e1-aaaaaaaaaa", state="draining", busy=1),
    ) == [
        "e1: 2 workers, 3 of 4 slots busy, 1.0 MiB/s",
        "  worker         state     busy    rate       since  version  settings",
        "  e1-0123456789  ready     2 of 4  1.0 MiB/s  2 min  0.2.0    012345",
        "      cats/1.jpg  1.0 MiB of 4.0 MiB, 102.4 KiB/s, 10 s",
        "      r2  0 B, 2 s, attempt 3, waits",
        "  e1-aaaaaaaaaa  \x1b[33mdraining\x1b[0m  1 of 4  -          -      -        -",
    ]


def test_more_uploads_than_fit_are_counted() -> None:
    uploads = tuple(UploadInHand(seconds=1.0, request_id=f"r{number}") for number in range(8))
    assert shown(status("w", busy=8, slots=8, uploads=uploads))[-1] == "      and 3 more (--json lists them)"


def test_a_later_status_without_uploads_does_not_hide_them() -> None:
    roster = Roster()
    roster.take(encode(status("w", uploads=(UploadInHand(seconds=1.0, request_id="r1"),))), now=0.0)
    roster.take(encode(status("w")), now=0.0)
    assert [upload.request_id for upload in roster.uploads("w") or ()] == ["r1"]


def test_what_a_hostile_status_says_is_printed_harmlessly() -> None:
    upload = UploadInHand(seconds=1e9, request_id="\x1b[2J", key="\x1b]0;title\x07", bytes=10**18)
    told = shown(
        status("w", at=0.0, moved_bytes=10**18, started_at=1e11),
        status("w", at=5e-324, moved_bytes=0, version="\x1b[31m\n", uploads=(upload,)),
    )
    assert "\x1b" not in "".join(told)
    assert all(len(line) < 200 for line in told)


@pytest.mark.parametrize(
    "fields",
    [
        {"settings_hash": "../../etc/passwd"},
        {"version": "x" * 65},
        {"moved_bytes": -1},
        {"uploads": (UploadInHand(seconds=1.0),) * (MAX_DESCRIBED + 1)},
        {"uploads": (UploadInHand(seconds=1.0, key="k" * 1025),)},
    ],
    ids=str,
)
def test_a_status_that_breaks_a_rule_of_the_new_fields_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(MessageError, match="not a valid WorkerStatus"):
        decode(WorkerStatus, encode(status("w", **fields)))


def test_a_worker_of_an_earlier_version_is_shown_without_what_it_does_not_tell() -> None:
    old = b'{"app_id":"e1","worker_id":"w","state":"ready","busy":1,"slots":4,"at":1.0}'
    roster = Roster()
    roster.take(old, now=0.0)
    assert list(lines(roster.workers(now=0.0), roster, 5.0))[-1].split() == [
        "w", "ready", "1", "of", "4", "-", "-", "-", "-",
    ]  # fmt: skip
