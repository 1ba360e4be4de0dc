"""What `upswell doctor` asks, each as one check.

Each really uses what it checks, and leaves nothing behind: its own queue is deleted with its connection, an
object that it wrote is deleted, and it declares no other queue that does not exist.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from upswell.broker import Message, broker_entry, topology
from upswell.broker.registry import REGISTRY as BROKERS
from upswell.cli.connection import PATIENCE_SECONDS, connected, unique_name
from upswell.cli.look.parts import parts_seen
from upswell.cli.text import counted, seconds, size
from upswell.errors import BrokerError, SettingsError, UpswellError
from upswell.events import capture
from upswell.fleets.registry import check_fleet
from upswell.handlers.registry import check_handler
from upswell.policies.registry import policy_for
from upswell.safe import masked_url
from upswell.stores.registry import REGISTRY as STORES
from upswell.stores.registry import scheme_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upswell.broker import Broker
    from upswell.settings import Settings

T = TypeVar("T")

LEAST_FREE_BYTES = 1024**3

DEADLINE_SECONDS = 25.0
"""For each check; longer than a command tries to reach the broker."""

AT_ONCE = 16
"""Threads at most that ask destinations and handlers."""


class CheckResult(Struct, frozen=True):
    """One line: the subject, whether it is ok, and what was found or what to do."""

    subject: str
    ok: bool
    words: str


class Check(Struct, frozen=True):
    """A question and its subject."""

    subject: str
    ask: Callable[[], Awaitable[list[CheckResult]]]

    async def results(self) -> list[CheckResult]:
        """Return what was found; an error is an answer too, and so is silence."""
        try:
            return await self.ask()
        except TimeoutError:
            words = f"no answer within {DEADLINE_SECONDS:g} s"
        except UpswellError as error:
            words = str(error)
        except Exception as error:  # noqa: BLE001 - a check of another package may raise anything
            words = f"{type(error).__name__}: {error}"
        return [CheckResult(self.subject, False, words)]


def all_checks(settings: Settings) -> Iterator[Check]:
    """Yield every check that the settings need, in the order in which they are shown."""
    yield Check("broker", lambda: _broker(settings))
    yield _blocking("state_dir", lambda: _free_space(settings.state_path, _try_folder(settings.state_path)))
    if not settings.apps:
        words = "none in the settings, so nothing is scaled (set UPSWELL_APPS, or add [apps.X])"
        yield _blocking("applications", lambda: words)
    some = asyncio.Semaphore(AT_ONCE)
    asked: set[tuple[Any, ...]] = set()
    for app in settings.apps:
        own = settings.for_app(app)
        yield _blocking(app, lambda own=own: _application(own), some)
        yield _blocking(f"{app} handler", lambda own=own: check_handler(own), some)
        yield _blocking(f"{app} sources", lambda own=own: _sources(own), some)
        place = (own.destination_path, own.store_endpoint, own.store_region, str(own.stores))
        if own.handler != "simulate" and place not in asked:
            asked.add(place)
            yield _blocking(f"{app} destination", lambda own=own: _destination(own), some)
    yield _blocking("fleet", lambda: asyncio.run(check_fleet(settings)))
    yield _blocking("clock", lambda: _clock(settings))


def _blocking(subject: str, question: Callable[[], str], some: asyncio.Semaphore | None = None) -> Check:
    """Return a check that asks in a thread of its own."""

    async def ask() -> list[CheckResult]:
        async with some or nullcontext(), asyncio.timeout(DEADLINE_SECONDS):
            return [CheckResult(subject, True, await apart(question))]

    return Check(subject, ask)


async def apart(function: Callable[[], T]) -> T:
    """Return what a function returns, from a thread that may hang: nothing waits for its end at exit."""
    told: Future[T] = Future()
    told.set_running_or_notify_cancel()  # who waits no longer does not cancel it

    def work() -> None:
        try:
            told.set_result(function())
        except Exception as error:  # noqa: BLE001 - it is raised where it is awaited
            told.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return await asyncio.wrap_future(told)


async def _broker(settings: Settings) -> list[CheckResult]:
    local = broker_entry(settings).local
    where = f"{settings.broker} in {settings.state_path}" if local else masked_url(settings.broker_url)
    try:
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            connected(settings, "doctor", patience=PATIENCE_SECONDS) as broker,
        ):
            return [
                CheckResult("broker", True, where),
                CheckResult("permissions", True, await _round_trip(broker)),
                *await _queues(settings, broker),
                *await _parts(settings, broker),
            ]
    except UpswellError as error:
        advice = "set AMQPURL, or unset it to use the embedded broker"
        return [CheckResult("broker", False, f"{error} ({advice})")]


async def _round_trip(broker: Broker) -> str:
    """Use a private queue in every way that Upswell does."""
    queue = topology.Queue(
        name=unique_name("upswell.doctor"), exclusive=True, bound_to=topology.STATUS_EXCHANGE
    )
    begun = time.monotonic()
    await broker.declare(queue)
    await broker.publish(Message(body=b"{}", routing_key=queue.name))
    delivery = await broker.get(queue.name)
    if delivery is not None:
        broker.ack(delivery)
    await broker.delete(queue.name)
    return f"declared, wrote, read and deleted a queue in {seconds(time.monotonic() - begun)}"


async def _queues(settings: Settings, broker: Broker) -> list[CheckResult]:
    """Declare the existing queues again, which reveals those with weaker arguments."""
    queues = [topology.report_queue(settings.report_queue)]
    for app in settings.apps:
        name = settings.upload_queue_of(app)
        limit = settings.for_app(app).delivery_limit
        queues += [topology.dead_letter_queue(name), topology.upload_queue(name, delivery_limit=limit)]
    findings: list[CheckResult] = []
    there = [queue for queue in queues if await broker.depth(queue.name) is not None]

    for queue in there:
        try:
            with capture() as logged:
                await broker.declare(queue)
        except UpswellError as error:
            findings.append(CheckResult(f"queue {queue.name}", False, f"{error}; rename or delete it"))
            continue
        findings += [
            _weaker(queue.name, event) for event in logged if event["event"] == "broker.queue_differs"
        ]
    missing = len(queues) - len(there)
    findings.append(
        CheckResult("queues", True, f"{len(there)} declared, {missing} not yet (declared when needed)")
    )
    return findings


def _weaker(queue: str, event: Any) -> CheckResult:
    advice = "drain and delete it, then Upswell declares it again"
    return CheckResult(f"queue {queue}", False, f"has weaker arguments ({event.get('weaker')}); {advice}")


async def _parts(settings: Settings, broker: Broker) -> list[CheckResult]:
    """Say how monitor and scaler are; where nothing is to be scaled, nobody needs them."""
    if not settings.apps:
        return []
    return [CheckResult(part.part, part.ok, part.words) for part in await parts_seen(broker, settings)]


def _try_folder(path: Path) -> str:
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path, prefix=".doctor-"):
            return str(path)
    except OSError as error:
        raise SettingsError(f"{path} is not a writable folder: {error.strerror}") from error


def _free_space(path: Path, words: str) -> str:
    """Return `words` and the free space of the disk that `path` is on, or will be; too little is an error."""
    free = shutil.disk_usage(next(one for one in (path, *path.parents) if one.exists())).free
    if free < LEAST_FREE_BYTES:
        raise SettingsError(f"{path} has only {size(free)} free: free at least {size(LEAST_FREE_BYTES)}")
    return f"{words}, {size(free)} free"


def _application(own: Settings) -> str:
    policy_for(own)  # also reads the rules file, and imports what they need
    return f"{own.slo}, {own.min_workers} to {counted(own.max_workers, 'worker')}, slots: {own.slots}"


def _sources(own: Settings) -> str:
    """Return from where an application's workers may read; what cannot be read by anyone is an error."""
    roots = [Path(root).expanduser() for root in own.source_roots]
    bad = [str(root) for root in roots if not root.is_dir()]
    if bad:
        raise SettingsError(f"source_roots must be folders, got {', '.join(bad)}")
    if own.source_origins:
        _check_of("https", own)
    for store in own.source_stores:
        STORES.load(scheme_of(store))  # an extra may be missing
    allowed = [*map(str, roots), *own.source_origins, *own.source_stores]
    if own.handler == "upload" and not allowed:
        raise SettingsError(
            "source_roots is empty, so no files can be read: set UPSWELL_SOURCE_ROOTS to their folders"
        )
    return f"may be read from {', '.join(allowed) or 'nowhere'}"


def _destination(own: Settings) -> str:
    scheme = scheme_of(own.destination_path)
    words = f"{own.destination_path}: {_check_of(scheme, own)}"
    if scheme != "file":
        return words
    return _free_space(Path(own.destination_path.removeprefix("file://")).expanduser().absolute(), words)


def _check_of(scheme: str, own: Settings) -> str:
    """Ask the check of a scheme's entry; one of another package may have none."""
    check = STORES.check(scheme)
    STORES.load(scheme)
    return "no check for this scheme" if check is None else check(own)


def _clock(settings: Settings) -> str:
    """Compare this machine's clock with the broker's, if its management API provides it."""
    now = time.time()
    if now < Path(__file__).stat().st_mtime - 86400:
        raise BrokerError(f"shows {time.ctime(now)}, before Upswell was installed: set it (NTP)")
    check = BROKERS.check(settings.broker)
    return time.ctime(now) if check is None else check(settings)
