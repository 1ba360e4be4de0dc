from __future__ import annotations

import pytest

from upswell.cli.run.draining import progress
from upswell.client.roster import Roster
from upswell.messages import UploadInHand, WorkerStatus, encode


@pytest.mark.parametrize(
    ("uploads", "line"),
    [
        (
            (
                UploadInHand(seconds=3.0, bytes=512, size_bytes=1024),
                UploadInHand(seconds=1.0, size_bytes=1024),
            ),
            "draining: 2 workers and 2 uploads left, 512 B of 2.0 KiB moved",
        ),
        ((UploadInHand(seconds=3.0, bytes=512),), "draining: 2 workers and 1 upload left, 512 B moved"),
        ((), "draining: 2 workers and 0 uploads left"),
    ],
)
def test_what_a_drain_waits_for_is_said_in_uploads_and_bytes(
    uploads: tuple[UploadInHand, ...], line: str
) -> None:
    roster = Roster()
    for worker_id, held in (("w1", uploads), ("w2", ()), ("w3", (UploadInHand(seconds=1.0),))):
        status = WorkerStatus(
            app_id="e1", worker_id=worker_id, state="draining", busy=len(held), slots=4, at=1.0, uploads=held
        )
        roster.take(encode(status), now=0.0)
    assert progress(("w1", "w2"), roster, now=1.0) == line
