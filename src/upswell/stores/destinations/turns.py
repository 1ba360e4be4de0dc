"""Large uploads of one key to S3, one after the other.

What comes in: a bucket and a key. What goes out: that nobody else uploads to it now. Whoever finds another's
multipart upload waits until it is completed, when its object may be the right one already. A dead worker's
makes no progress: it is removed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from upswell.events import get_logger
from upswell.stores.clients.aws import abort_uploads, unfinished_uploads

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.settings import Settings

_log = get_logger()

LEFTOVER_SECONDS = 10.0
"""Without progress for so long, an upload is taken for what an earlier attempt at the same request left."""
POLL_SECONDS = 1.0


def wait_for_turn(
    bucket: str,
    key: str,
    settings: Settings,
    *,
    patience: float,
    check: Callable[[], None],
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> bool:
    """Return when nobody else uploads to a key; whether that had to be waited for.

    Args:
        bucket: its name.
        key: whole.
        settings: of the store.
        patience: seconds without a new part after which an upload counts as dead, and is removed.
        check: raises when it is time to give up.
        sleep: for tests.
        monotonic: for tests.

    Raises:
        UploadError: the store did not answer: whether another uploads is unknown, which is not "nobody".
    """
    progress: dict[str, tuple[int, float]] = {}  # by upload id: its parts, and since when they are so many
    while others := unfinished_uploads(bucket, key, settings):
        now = monotonic()
        if not progress:
            _log.info("store.waits_for_turn", bucket=bucket, key=key, uploads=len(others))
        for upload_id, parts in others.items():
            if upload_id not in progress or progress[upload_id][0] != parts:
                progress[upload_id] = parts, now
        dead = [upload_id for upload_id in others if now - progress[upload_id][1] >= patience]
        if dead:
            abort_uploads(bucket, key, dead, settings)
            if len(dead) == len(others):
                break  # whether the store has removed them or not
        check()
        sleep(POLL_SECONDS)
    return bool(progress)


def remove_empty(bucket: str, key: str, settings: Settings) -> None:
    """Remove what a request began whose answer was lost: it was made again, and this one got no parts.

    Raises:
        UploadError: the store did not answer. The object is stored, and the next attempt will see that; but
            without one nobody would ever look for what is left.
    """
    others = unfinished_uploads(bucket, key, settings)
    if empty := [upload_id for upload_id, parts in others.items() if parts == 0]:
        abort_uploads(bucket, key, empty, settings)
