"""What is stored already, and whether it is right: asked of the destination, else of the record.

What comes in: candidates. What goes out: for each its size, whether it is stored, or how it differs. Where
this machine can look into the destination, that is the truth. Where it cannot (the workers run a handler of
the user's, or it has no right to the store), what workers reported to this machine counts. Reads sources and
objects, writes none.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from upswell.broker import broker_entry
from upswell.errors import PermanentUploadError, SettingsError, TemporaryUploadError, UploadError
from upswell.publisher.sources import LISTED
from upswell.requests import key_of
from upswell.stores.destinations.part_reader import digest_of
from upswell.stores.registry import SourceOpener, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from upswell.messages import UploadRequest
    from upswell.publisher.items import Thing
    from upswell.publisher.sources import Candidate
    from upswell.publisher.stored_record import StoredRecord
    from upswell.settings import Settings
    from upswell.stores.protocol import Store, StoredObject

AT_ONCE = 16
"""Objects that are asked about at once: a store's answer takes milliseconds, and most of them waiting."""

T = TypeVar("T")
R = TypeVar("R")

Difference = Literal["missing", "differs", "unknown", "unreadable"]


class Mismatch(Struct, frozen=True):
    """What is not as it should be with one object, and why."""

    difference: Difference
    key: str
    reason: str


class AlreadyStored:
    """Asks about many objects side by side; used within a `with`, which ends its threads."""

    def __init__(self, settings: Settings, record: StoredRecord | None) -> None:
        """Look where the answers will come from.

        `destination_error` says why the destination cannot be asked, where one is set that should be.
        """
        self.destination_error = ""
        self._record = record
        self._sources = SourceOpener(_reading_settings(settings))
        self._silent: set[str] = set()  # where URIs lead that were not answered
        self._settings = settings
        self._store = self._open(settings)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="known")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def asks_destination(self) -> bool:
        """Whether the destination answers, rather than the record."""
        return self._store is not None

    def _open(self, settings: Settings) -> Store | _Empty | None:
        if settings.handler != "upload":  # what it stores, and where, it alone knows
            return None
        if (
            settings.stores_in_state_path and not broker_entry(settings).local
        ):  # the workers' machine has its own
            return None
        path = settings.destination_path
        if "://" not in path.removeprefix("file://"):
            folder = Path(path.removeprefix("file://")).expanduser()
            if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
                return _Empty() if not folder.exists() else None
        try:
            return open_store(settings)
        except SettingsError as error:
            self.destination_error = str(error)
            return None

    async def head(self, key: str, *, read_up_to: int = 0) -> StoredObject | None:
        """Return the object of a key as the destination has it; None: there is none, or nobody to ask.

        One of up to `read_up_to` bytes whose checksum the destination does not know is read for it.

        Raises:
            UploadError: the key can be none, or the destination does not answer.
        """
        store = self._store

        def ask(key: str) -> StoredObject | None:
            found = None if store is None else store.head(key)
            if store is None or found is None or found.checksum or found.bytes > read_up_to:
                return found
            return store.digest(key)

        return (await self._each(ask, [key]))[0]

    async def look(self, candidates: Sequence[Candidate]) -> list[Thing | None]:
        """Return the things behind URIs with their sizes and versions; None where they cannot be known here.

        A place that once does not answer is not asked again: the workers may reach it all the same.
        """
        things = [one.thing if one.thing and one.thing.size is None else None for one in candidates]
        return await self._each(self._look, things) if any(things) else things

    def _look(self, thing: Thing | None) -> Thing | None:
        if thing is None:
            return None
        place = "/".join(thing.uri.split("/", 3)[:3])
        if place in self._silent:
            return None
        try:
            with self._sources.open(thing.uri) as source:
                return replace(thing, size=source.size, version=source.version or "")
        except PermanentUploadError:  # sent all the same: the worker says what is wrong
            return None
        except (TemporaryUploadError, SettingsError):
            self._silent.add(place)
            return None

    async def are_stored(self, candidates: Sequence[Candidate]) -> list[bool]:
        """Return for each candidate whether it need not be sent.

        What a person wrote as a request is always sent: its id sees to it that it is stored once.
        """
        asked = [candidate.request for candidate in candidates if candidate.thing is not None]
        recorded = self._recorded(asked)

        def is_stored(candidate: Candidate) -> bool:
            if candidate.thing is None or not candidate.thing.version:  # it may be another by now
                return False
            if self._store is None:
                return candidate.request.id in recorded
            return self._is_there(candidate.request, told=candidate.request.id in recorded)

        return await self._each(is_stored, candidates)

    def _is_there(self, request: UploadRequest, *, told: bool) -> bool:
        """Return whether the object is there: its size, and reported by a worker or read and compared."""
        assert self._store is not None
        key = key_of(request)
        try:
            there = self._store.head(key)
            if there is None or request.size_bytes is None or there.bytes != request.size_bytes:
                return False
            if told:
                return True
            found = there if there.checksum else self._store.digest(key)
            return found is not None and found == self.read_source(request.uri)
        except UploadError:  # sent all the same: the worker says what is wrong
            return False

    async def find(self, requests: Iterable[UploadRequest]) -> list[StoredObject | None]:
        """Return the object of each request that is there with its source's bytes; None: not, or unknown."""
        self._open_if_made()
        return await self._each(self._find, list(requests))

    def _find(self, request: UploadRequest) -> StoredObject | None:
        if self._store is None:
            return None
        key = key_of(request)
        try:
            there = self._store.head(key)
            if there is None or request.size_bytes not in {None, there.bytes}:
                return None
            checksum = request.checksum or self.read_source(request.uri).checksum
            found = there if there.checksum else self._store.digest(key)
        except UploadError:
            return None
        return found if found is not None and found.checksum == checksum else None

    async def verify(self, requests: Iterable[UploadRequest]) -> list[Mismatch]:
        """Return how the objects of these requests differ from their sources, in the requests' order."""
        self._open_if_made()
        batch = list(requests)
        recorded = self._recorded(batch)
        found = await self._each(lambda request: self._compare(request, recorded), batch)
        return [finding for finding in found if finding is not None]

    def _open_if_made(self) -> None:
        if isinstance(self._store, _Empty):  # the first worker may have made it meanwhile
            self._store = self._open(self._settings)

    def _compare(self, request: UploadRequest, recorded: dict[str, str | None]) -> Mismatch | None:
        key = key_of(request)
        try:
            source = self.read_source(request.uri)
        except UploadError as error:
            return Mismatch("unreadable", key, str(error))
        if self._store is None:
            return _compare_checksum(key, source, recorded, request.id or "")
        try:
            there = self._store.head(key)
            if there is not None and there.bytes == source.bytes:
                there = there if there.checksum else self._store.digest(key)
        except UploadError as error:
            return Mismatch("unknown", key, str(error))
        if there is None:
            return Mismatch("missing", key, "it is not in the destination")
        if there != source:
            shown = there.checksum or "another length"
            reason = f"{there.bytes} bytes with {shown} are there, {source.bytes} with {source.checksum} here"
            return Mismatch("differs", key, reason)
        return None

    def read_source(self, uri: str) -> StoredObject:
        """Read a source and return its length and checksum.

        Raises:
            UploadError: it cannot be read, or changed meanwhile.
        """
        with self._sources.open(uri) as source:
            found = digest_of(source.readinto)
            source.check_unchanged()
        return found

    def _recorded(self, requests: Sequence[UploadRequest]) -> dict[str, str | None]:
        if self._record is None or not requests:
            return {}
        return self._record.find([request.id or "" for request in requests])

    async def _each(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(self._threads, function, item) for item in items))


class _Empty:
    """A folder that nobody has stored anything in yet, and that looking must not make."""

    def head(self, key: str) -> StoredObject | None:
        """Return that nothing is there."""
        del key

    def digest(self, key: str) -> StoredObject | None:
        """Return that nothing is there."""
        del key


def _compare_checksum(
    key: str, source: StoredObject, recorded: dict[str, str | None], request_id: str
) -> Mismatch | None:
    if request_id not in recorded:
        return Mismatch("missing", key, "no worker reported it as stored to this machine")
    told = recorded[request_id]
    if told is None:
        return Mismatch("unknown", key, "its worker reported no checksum")
    if told != source.checksum:
        return Mismatch("differs", key, f"its worker stored {told}, {source.checksum} is here")
    return None


def _reading_settings(settings: Settings) -> Settings:
    """Return settings to read sources with: whoever publishes may read what the system lets them read."""
    stores = [f"{scheme}://" for scheme in sorted(LISTED)]
    return replace(settings, source_roots=[*settings.source_roots, "/"], source_stores=stores)
