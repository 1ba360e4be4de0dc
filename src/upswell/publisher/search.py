"""Where one upload is, by the queues, the destination and the record of this machine.

What comes in: an id, a key or a URI as a person names it. What goes out: each place where such an upload was
seen, and what could not be looked through. Nothing is written, and no order changes: RabbitMQ cannot show a
message of an upload queue without counting it as an attempt, so there such a queue is left alone. What this
machine sent is in its own record; what of it is in nobody's hand, not dead and not stored, still waits.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

from msgspec import Struct
from msgspec.structs import replace

from upswell.broker import broker_entry
from upswell.broker.topology import dead_letter_queue
from upswell.errors import MessageError, PermanentUploadError, UpswellError
from upswell.messages import UploadRequest, decode
from upswell.publisher.already_stored import AlreadyStored
from upswell.publisher.dead_letters import died_at, ready_in, reason_of, request_id_of
from upswell.publisher.items import Thing, request_of
from upswell.publisher.sources import local_path
from upswell.publisher.stored_record import look_up, look_up_sent
from upswell.requests import complete, key_of, split_key
from upswell.stores.addresses import Addresses, file_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from upswell.broker import Broker, Delivery
    from upswell.publisher.stored_record import SentEntry, StoredEntry
    from upswell.settings import Settings
    from upswell.stores.protocol import StoredObject

LOOK_AT_MOST = 50_000
"""Messages of one queue that are looked through."""
READ_UP_TO_BYTES = 64 * 1024 * 1024
"""An object is read for its checksum where the destination does not know it, unless it is larger."""

State = Literal["running", "queued", "dead", "stored", "lost", "failed", "sent"]


class Sighting(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One place where an upload was seen.

    `position`: messages before it in the queue, and itself. `since`: when it was queued, began to run, died,
    failed, was stored or sent. `lost`: it was stored, as its worker reported, and is not there any more.
    `sent`: this machine sent it, and it was seen nowhere. `by_record`: that it is queued follows from this
    machine's record, not from a look into the queue.
    """

    app_id: str
    state: State
    request_id: str | None = None
    key: str | None = None
    uri: str | None = None
    since: float | None = None
    attempt: int | None = None
    worker_id: str | None = None
    position: int | None = None
    bytes: int | None = None
    size_bytes: int | None = None
    checksum: str | None = None
    address: str | None = None
    reason: str | None = None
    waits: bool = False
    by_record: bool = False


class Sought:
    """What a person named, and by what other names the same upload goes; learns them as it is found."""

    def __init__(self, text: str, app_id: str) -> None:
        self.app_id = app_id
        named = {text} if _is_text(text) else set[str]()
        self.ids, self.keys, self.uris = set(named), {text} if _is_key(text) else set[str](), set(named)
        path = local_path(text)
        self.guesses: list[UploadRequest] = []
        """How `upswell publish` names a file that is here: alone, and as a part of each folder above."""
        if path is not None:
            self._take_file(Path(path).absolute())

    def _take_file(self, path: Path) -> None:
        try:
            state = path.stat()
        except (OSError, ValueError):
            return
        uri = file_uri(str(path))
        self.uris.add(uri)
        for length in range(1, len(path.parts)):
            key = "/".join(path.parts[-length:])
            thing = Thing(uri=uri, key=key, size=state.st_size, version=str(state.st_mtime_ns))
            try:
                self.guesses.append(request_of(thing, app_id=self.app_id))
            except MessageError:
                return
        self.ids |= {request.id for request in self.guesses if request.id}

    def matches(self, request_id: str | None, key: str | None, uri: str | None = None) -> bool:
        """Return whether an upload of these names is sought; if so, learn them."""
        if request_id not in self.ids and key not in self.keys and uri not in self.uris:
            return False
        for name, known in ((request_id, self.ids), (key, self.keys), (uri, self.uris)):
            if name is not None:
                known.add(name)
        return True


class Search:
    """Looks for one upload of one application; `notes` says what could not be looked through, and why."""

    def __init__(self, sought: Sought, settings: Settings) -> None:
        """Take the application's own settings."""
        self.sought = sought
        self.notes: list[str] = []
        self.sees_all = True
        """False: what a worker has in hand, or a long list of dead letters, is not known."""
        self._sent: list[SentEntry] = []
        self._hidden = 0  # messages of the queue that could not be looked at
        self._settings = settings
        self._is_local = broker_entry(settings).local

    async def learn(self, record: Path) -> None:
        """Learn the other names of what this machine sent; comes first."""
        names = self.sought.ids | self.sought.keys | self.sought.uris
        self._sent = await asyncio.to_thread(look_up_sent, record, self.sought.app_id, names)
        for entry in self._sent:
            self.sought.matches(entry.request_id, entry.key, entry.uri)

    def sent(self, found: Iterable[Sighting]) -> list[Sighting]:
        """Return what this machine sent and nobody has seen since; comes last.

        Where the queue has messages that could not be looked at, it is one of them.
        """
        seen = [sighting for sighting in found if sighting.state != "failed"]
        lost_sight = [entry for entry in self._sent if not any(_is_of(one, entry) for one in seen)]
        waits = self._hidden > 0 and self.sees_all
        return [
            Sighting(
                app_id=self.sought.app_id,
                state="queued" if waits else "sent",
                request_id=entry.request_id,
                key=entry.key,
                uri=entry.uri,
                since=entry.at,
                size_bytes=entry.bytes,
                by_record=waits,
            )
            for entry in lost_sight
        ]

    async def dead_letters(self, broker: Broker) -> list[Sighting]:
        """Look through the dead letters."""
        queue = dead_letter_queue(self._settings.upload_queue_of(self.sought.app_id)).name
        ready = await ready_in(broker, queue)
        if not ready:
            return []
        if ready > LOOK_AT_MOST and not self._is_local:
            self.sees_all = False
            self.notes.append(f"{queue} has {ready:,} dead letters, too many to look through")
            return []
        return [
            replace(sighting, since=died_at(letter) or sighting.since, reason=reason_of(letter))
            for _, letter, sighting in self._wanted(await broker.look(queue, LOOK_AT_MOST), "dead")
        ]

    async def queue(self, broker: Broker) -> list[Sighting]:
        """Look through the upload queue, where it can be without changing it."""
        queue = self._settings.upload_queue_of(self.sought.app_id)
        depth = await broker.depth(queue)
        if depth is None:
            self.notes.append(f"there is no queue {queue}: nothing was published yet")
            return []
        if not depth.messages_ready:
            return []
        if not self._is_local:
            self._hidden = depth.messages_ready
            self.notes.append(
                f"{depth.messages_ready:,} wait in {queue}, and RabbitMQ cannot show them without counting "
                "an attempt: what is nowhere else may be among them"
            )
            return []
        found = await broker.look(queue, LOOK_AT_MOST)
        if depth.messages_ready > len(found):
            self.notes.append(
                f"{queue} has {depth.messages_ready:,} messages; looked through the first {len(found):,}"
            )
        return [
            replace(sighting, position=position, attempt=delivery.attempt)
            for position, delivery, sighting in self._wanted(found, "queued")
        ]

    async def destination(self, record: Path) -> list[Sighting]:
        """Ask the destination for the keys found so far, and this machine's `record` for the ids."""
        recorded = await asyncio.to_thread(look_up, record, self.sought.app_id, sorted(self.sought.ids))
        addresses = Addresses(self._settings.destination_path)
        at_key = {key: entry for entry in recorded if (key := _key_at(addresses, entry.url)) is not None}
        elsewhere = [self._reported(entry, "stored") for entry in recorded if entry not in at_key.values()]
        all_reported = [*elsewhere, *(self._reported(entry, "stored") for entry in at_key.values())]
        with AlreadyStored(self._settings, None) as store:
            if not store.asks_destination:
                why = store.destination_error or "this machine cannot look into it"
                self.notes.append(f"the destination was not asked: {why}")
                return all_reported
            try:
                objects = {
                    key: await store.head(key, read_up_to=READ_UP_TO_BYTES)
                    for key in {*self.sought.keys, *at_key}
                }
                guesses = [guess for guess in self.sought.guesses if guess.key not in objects]
                same = await store.find(guesses)
            except UpswellError as error:
                self.notes.append(f"the destination does not answer: {error}")
                return all_reported
        objects |= {key_of(guess): there for guess, there in zip(guesses, same, strict=True)}
        found = [
            self._stored(key, there, addresses, at_key.get(key))
            for key, there in sorted(objects.items())
            if there is not None
        ]
        lost = [self._reported(entry, "lost") for key, entry in at_key.items() if objects[key] is None]
        return [*found, *lost, *elsewhere]

    def _stored(
        self, key: str, there: StoredObject, addresses: Addresses, entry: StoredEntry | None
    ) -> Sighting:
        return Sighting(
            app_id=self.sought.app_id,
            state="stored",
            request_id=entry.request_id if entry else None,
            key=key,
            address=addresses.of(key),
            bytes=there.bytes,
            checksum=there.checksum or (entry.checksum if entry else None),
            since=entry.at if entry else None,
        )

    def _reported(self, entry: StoredEntry, state: State) -> Sighting:
        return Sighting(
            app_id=self.sought.app_id,
            state=state,
            request_id=entry.request_id,
            address=entry.url,
            bytes=entry.bytes,
            checksum=entry.checksum,
            since=entry.at,
        )

    def _wanted(
        self, deliveries: Iterable[Delivery], state: State
    ) -> Iterator[tuple[int, Delivery, Sighting]]:
        """Yield what is sought: its position, itself, and what it says."""
        for position, delivery in enumerate(deliveries, 1):
            request = _request(delivery)
            sighting = Sighting(
                app_id=self.sought.app_id,
                state=state,
                request_id=request.id if request else request_id_of(delivery),
                key=key_of(request) if request else None,
                uri=request.uri if request else None,
                since=request.published_at if request else None,
                size_bytes=request.size_bytes if request else None,
            )
            if self.sought.matches(sighting.request_id, sighting.key, sighting.uri):
                yield position, delivery, sighting


def _is_of(sighting: Sighting, entry: SentEntry) -> bool:
    """Return whether what was seen is what was sent; an object of another length is of an earlier one."""
    if sighting.request_id is not None:
        return sighting.request_id == entry.request_id
    return sighting.key == entry.key and entry.bytes in {None, sighting.bytes}


def _request(delivery: Delivery) -> UploadRequest | None:
    try:
        return complete(decode(UploadRequest, delivery.body), delivery.message_id, delivery.body)[0]
    except MessageError:
        return None


def _is_text(text: str) -> bool:
    """Return whether it may be an id, a key or a URI; a file's name may be other bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_key(text: str) -> bool:
    try:
        split_key(text)
    except PermanentUploadError:
        return False
    return "://" not in text


def _key_at(addresses: Addresses, url: str | None) -> str | None:
    """Return the key of an object's address, where it lies in this destination."""
    if url is None:
        return None
    top = addresses.of("")
    key = url.removeprefix(top)
    if key == url:
        return None
    return unquote(key) if top.startswith("file://") else key
