"""One application of a demo: its publisher, the replies to it, and what became of it.

In: settings and the plan, which all sides of a demo share. Out: uploads published as planned, and a summary.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.broker import topology
from upswell.broker.connecting import unique_name
from upswell.broker.declaring import declare_upload_queue
from upswell.cli.demo.plan import OBJECTIVE, Plan, checksum
from upswell.messages import UploadRequest
from upswell.publisher import Publisher, each
from upswell.publisher.replies import Replies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upswell.broker import Broker
    from upswell.settings import Settings


class Summary(Struct, frozen=True, kw_only=True):
    """The output of `--json`; times in seconds, `attainment` is the share of uploads within the target."""

    published: int
    stored: int
    verified: int
    lost: int
    duplicates: int
    attainment: float
    p95_response_time: float | None
    peak_workers: int
    final_workers: int
    worker_seconds: float
    decisions: int


class DemoSide:
    """One application; `title` is what people call it."""

    def __init__(self, settings: Settings, app: str, plan: Plan, title: str) -> None:
        self.app = app
        self.title = title
        self.queue = settings.upload_queue_of(app)
        self.replies = Replies()
        self.peak = 0
        self.decisions = 0
        self._plan = plan
        self._store = Path(settings.for_app(app).destination)
        self._delivery_limit = settings.delivery_limit
        self._publisher: Publisher | None = None

    @property
    def published(self) -> int:
        """Uploads published so far."""
        return self._publisher.published if self._publisher else 0

    async def prepare(self, broker: Broker) -> None:
        """Make the queues."""
        await declare_upload_queue(broker, self.queue, delivery_limit=self._delivery_limit)
        reply_to = await self.replies.listen(broker, topology.reply_queue(unique_name("demo")))
        self._publisher = Publisher(broker=broker, upload_queue=self.queue, reply_to=reply_to)

    async def publish(self) -> None:
        """Publish as planned."""
        assert self._publisher is not None
        requests = self.replies.expecting(each(self._requests()))
        await self._publisher.publish_all(requests, pace=iter(self._plan.arrivals))

    def _requests(self) -> Iterator[UploadRequest]:
        for number, (file, length) in enumerate(zip(self._plan.files, self._plan.sizes, strict=True)):
            yield UploadRequest(
                app_id=self.app,
                id=f"{self.app}-{number:04d}",
                type="file",
                uri=file.as_uri(),
                key=_key(number),
                size_bytes=length,
            )

    def summary(self, final_workers: int, worker_seconds: float) -> Summary:
        """Read back every object, compare it with its source, and sum up."""
        verified = lost = 0
        for number in range(self.published):
            stored = checksum(self._store / _key(number))
            verified += stored is not None and stored == checksum(self._plan.files[number])
            lost += stored is None
        times = self.replies.response_times
        return Summary(
            published=self.published,
            stored=self.replies.stored,
            verified=verified,
            lost=lost,
            duplicates=self.replies.duplicates,
            attainment=sum(t <= OBJECTIVE.seconds for t in times) / max(1, self.published),
            p95_response_time=self.replies.percentiles()[1],
            peak_workers=self.peak,
            final_workers=final_workers,
            worker_seconds=round(worker_seconds, 1),
            decisions=self.decisions,
        )


def _key(number: int) -> str:
    return f"{number:04d}"
