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

    After `patience` seconds without a new part an upload counts as dead, and is removed. `check` raises when
    it is time to give up.

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


class LostUploads:
    """Uploads of a key that requests of ours began whose answers were lost: they were made again.

    Nobody knows the ids of those, and another who began at the same moment looks the same. What tells them is
    that they had begun before ours was complete, and never get a part. Whoever is next in turn is not among
    them: it begins once ours is complete, when its first part may be long in coming.
    """

    def __init__(
        self,
        bucket: str,
        key: str,
        settings: Settings,
        *,
        patience: float,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`patience`: seconds without a part after which one counts as lost; another's may be slow."""
        self._bucket = bucket
        self._key = key
        self._settings = settings
        self._patience = patience
        self._sleep = sleep
        self._monotonic = monotonic
        self._since: dict[str, float] = {}

    def look(self) -> None:
        """Note who has begun and has no part; called first when our own upload has begun and has none yet.

        Raises:
            UploadError: the store did not answer, so whether there are any is unknown.
        """
        now = self._monotonic()
        for upload_id in self._empty():
            self._since.setdefault(upload_id, now)

    def remove(self, check: Callable[[], None]) -> None:
        """Remove those that get no part; to be called when our own upload is completed.

        `check` raises when it is time to give up.

        Raises:
            UploadError: the store did not answer. The object is stored, and the next attempt will see that;
                but without one nobody would ever look for what is left.
        """
        if len(self._since) <= 1:  # our own
            return
        while lost := self._since.keys() & self._empty():
            if self._monotonic() - max(map(self._since.__getitem__, lost)) >= self._patience:
                abort_uploads(self._bucket, self._key, sorted(lost), self._settings)
                return
            check()
            self._sleep(POLL_SECONDS)

    def _empty(self) -> set[str]:
        others = unfinished_uploads(self._bucket, self._key, self._settings)
        return {upload_id for upload_id, parts in others.items() if parts == 0}
