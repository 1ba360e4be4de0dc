"""A bucket as a store: S3 and what speaks it, Google Cloud Storage, Azure Blob Storage.

What comes in: a key and an open source. What goes out: the object under its key, whole and proven, or an
UploadError and no parts left behind. It does not know obstore, nor what a request is.

A small object is one conditional request, a large one a multipart upload with some parts under way at once,
each checked by the store where it can (CRC64NVME), else by us (the ETag's MD5). The object carries its
SHA-256 as metadata where it is known in time, so that a redelivered upload is seen to be done; else its ETag
is compared.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upswell.errors import TemporaryUploadError, UploadError
from upswell.requests import split_key
from upswell.stores.clients.aws import (
    put_new_parts,
    refuses_damaged_parts,
    require_multipart,
)
from upswell.stores.clients.bucket import Bucket
from upswell.stores.clients.credentials import given_by
from upswell.stores.destinations.part_reader import PartReader, part_size
from upswell.stores.destinations.turns import LEFTOVER_SECONDS, LostUploads, wait_for_turn
from upswell.stores.protocol import StoredObject, conflict, unpaced
from upswell.stores.rate_limit import MAX_CHUNK_BYTES
from upswell.stores.settings import ObjectSettings
from upswell.stores.sources.objects import ObjectSource, opener

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from upswell.settings import Settings
    from upswell.stores.clients.bucket import ObjectInfo
    from upswell.stores.protocol import OpenSource

CHECKSUM = "upswellsha256"
"""The metadata in which an object carries its SHA-256, in hex; Azure allows letters and digits only."""


@dataclass
class _Upload:
    """One upload on its way: where to, from what, and what it must have."""

    key: str
    path: str
    parts: PartReader
    source: OpenSource
    checksum: str | None
    again: bool
    store_checks: bool = False
    """Whether the store itself compares each part with a checksum, so that no MD5 sums need be taken."""


class ObjectStore:
    """Objects below `prefix` in a bucket."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._settings = settings = bucket.settings
        self._own = settings.own("stores", "objects", ObjectSettings)
        # Azure's ETags are no checksums, nor are they compared when each object is read back.
        self._takes_md5 = settings.verify == "checksum" and bucket.scheme != "az"
        self._overwrites = settings.on_conflict == "overwrite"
        self._store_checks: bool | None = None if self._takes_md5 and bucket.scheme == "s3" else False
        self._lock = threading.Lock()

    def put(
        self,
        key: str,
        source: OpenSource,
        *,
        checksum: str | None = None,
        again: bool = False,
        pace: Callable[[int], None] = unpaced,
        chunk_bytes: int = MAX_CHUNK_BYTES,
    ) -> StoredObject:
        """Store a source's bytes under `key`; see `protocol.Store.put`."""

        def parts(*, md5: bool) -> PartReader:
            return PartReader(source, part_bytes=part_bytes, pace=pace, chunk_bytes=chunk_bytes, md5=md5)

        size, path = source.size, self._path(key)
        part_bytes = part_size(size, self._own.part_size)
        is_large = size is not None and size > part_bytes
        there, waited = self._stat_in_turn(path, again=again, pace=pace) if is_large else (None, False)
        checks = is_large and there is None and self._checks_parts(path)
        upload = _Upload(
            key, path, parts(md5=self._takes_md5 and not checks), source, checksum, again or waited, checks
        )
        if not is_large:  # else nothing is read before the upload has begun: others see that, and wait
            first = upload.parts.first()
            if upload.parts.is_at_end:
                return self._put_small(upload, first)
            del first
            there, waited = self._stat_in_turn(path, again=again, pace=pace)
            upload.again |= waited
        if there is not None:
            kept = self._large_is_there(upload, there)
            if kept is not None:
                return kept
            source.rewind()
            upload.store_checks = self._checks_parts(path)
            upload.parts = parts(md5=self._takes_md5 and not upload.store_checks)
        return self._put_large(upload, part_bytes, pace)

    def _stat_in_turn(
        self, path: str, *, again: bool, pace: Callable[[int], None]
    ) -> tuple[ObjectInfo | None, bool]:
        """Return what is there once no other large upload of it is under way; whether one was waited for."""
        there = self._bucket.stat(path)  # first: a store that is away says so at once
        if self._bucket.scheme != "s3":
            return there, False
        patience = LEFTOVER_SECONDS if again else self._own.timeout
        waited = wait_for_turn(
            self._bucket.name, path, self._settings, patience=patience, check=lambda: pace(0)
        )
        return self._bucket.stat(path), waited  # again: it may have been completed between the two questions

    def _checks_parts(self, path: str) -> bool:
        """Return whether the store checks parts; it is asked once, when the first large object comes."""
        with self._lock:
            if self._store_checks is None:
                algorithm = "CRC64NVME" if self._overwrites else "CRC32"
                self._store_checks = refuses_damaged_parts(self._bucket.name, path, algorithm, self._settings)
            return self._store_checks

    def head(self, key: str) -> StoredObject | None:
        """Return an object's length, and its checksum where it carries one, or None."""
        there = self._bucket.stat(self._path(key))
        return None if there is None else StoredObject(there.size, _checksum(there))

    def digest(self, key: str) -> StoredObject | None:
        """Read an object and return its length and checksum, or None."""
        return self._digest(self._path(key))

    def _path(self, key: str) -> str:
        split_key(key)
        return f"{self._prefix}/{key}" if self._prefix else key

    def _digest(self, path: str, etag: str | None = None) -> StoredObject | None:
        try:
            _answer, chunks = self._bucket.read(path, etag=etag)
        except FileNotFoundError:
            return None
        digest = hashlib.sha256()
        length = 0
        for chunk in chunks:
            view = memoryview(chunk)
            digest.update(view)
            length += view.nbytes
        return StoredObject(length, f"sha256:{digest.hexdigest()}")

    def _put_small(self, upload: _Upload, body: memoryview) -> StoredObject:
        """Store what is in memory already, so that everything is known before the first request."""
        stored = upload.parts.check(upload.checksum)
        assert stored.checksum is not None
        metadata = {CHECKSUM: stored.checksum.removeprefix("sha256:")}
        # Some stores take a conditional put for a plain one: look first where that would matter.
        there = self._bucket.stat(upload.path) if upload.again or not self._overwrites else None
        answered: str | None = None
        if there is None:
            try:
                answered = self._bucket.put(upload.path, body, metadata, only_new=True)
            except FileExistsError:
                there = self._bucket.stat(upload.path)
        if there is not None:
            if self._is_same(upload, there):
                return stored
            if not (self._overwrites or self._is_damaged(upload, there)):
                return self._kept(upload, there)
            answered = self._bucket.put(upload.path, body, metadata, only_new=False)
        return self._prove(upload, answered)

    def _large_is_there(self, upload: _Upload, there: ObjectInfo) -> StoredObject | None:
        """Return what is there when it is right, or must stay; None when the upload has to go on.

        The source is read to its end where only that can tell.
        """
        size = upload.source.size
        same_size = size is None or size == there.size
        is_known = upload.checksum is not None and _checksum(there) == upload.checksum
        if same_size and is_known and self._bucket.is_encrypted:
            return StoredObject(there.size, upload.checksum)
        must_know = is_known or (same_size and (upload.again or not self._overwrites))
        # To read the source costs less than to upload it again, where an ETag tells that it is the same.
        if must_know or (same_size and self._takes_md5 and self._bucket.scheme == "s3"):
            for _part in upload.parts.rest():
                pass
            stored = upload.parts.check(upload.checksum)
            if self._is_same(upload, there) if must_know else upload.parts.has_etag(there.etag):
                return stored
        if self._is_damaged(upload, there):
            self._bucket.delete(upload.path)
        elif not self._overwrites:
            return self._kept(upload, there)
        return None

    def _put_large(self, upload: _Upload, part_bytes: int, pace: Callable[[int], None]) -> StoredObject:
        metadata = {CHECKSUM: upload.checksum.removeprefix("sha256:")} if upload.checksum else {}
        lost = LostUploads(self._bucket.name, upload.path, self._settings, patience=LEFTOVER_SECONDS)

        def checked() -> Generator[memoryview]:
            if self._bucket.scheme == "s3":
                lost.look()  # the first part is asked for when the upload has begun
            yield from upload.parts.rest()
            upload.parts.check(upload.checksum)  # raised here, it stops the upload before its last request
            if self._bucket.scheme == "s3":
                lost.look()  # once more: a store that was held up may begin the lost one after ours

        in_flight = self._own.parts_in_flight
        if self._bucket.scheme == "s3" and not self._overwrites:
            try:
                answered = put_new_parts(
                    self._bucket.name,
                    upload.path,
                    checked(),
                    metadata,
                    in_flight=in_flight,
                    settings=self._settings,
                    with_crc32=upload.store_checks,
                )
            except FileExistsError:
                return self._overtaken(upload)
        else:
            answered = self._bucket.put_parts(
                upload.path,
                checked(),
                metadata,
                part_bytes=part_bytes,
                in_flight=in_flight,
                with_crc64=upload.store_checks,
            )
        if self._bucket.scheme == "s3":
            lost.remove(check=lambda: pace(0))
        return self._prove(upload, answered)

    def _overtaken(self, upload: _Upload) -> StoredObject:
        """Return what another upload stored under the key meanwhile, when it is right or may stay."""
        there = self._bucket.stat(upload.path)
        if there is None:
            raise TemporaryUploadError(
                "another upload stored an object under the same key, which is gone now"
            )
        if self._is_same(upload, there):
            return upload.parts.stored
        if self._is_damaged(upload, there):  # our own, whose answer was lost
            self._bucket.delete(upload.path)
            raise TemporaryUploadError("the stored bytes differ from those sent")
        return self._kept(upload, there)

    def _prove(self, upload: _Upload, etag: str | None) -> StoredObject:
        """Return what the store has, when it is what was sent.

        It has, where it has checked the parts itself. Else its ETag says so, where it is made of MD5 sums.
        Where it is not (Azure, objects encrypted with a key of the customer's), TLS has kept the bytes whole,
        and the length is asked for; without TLS the object is read back.

        Raises:
            TemporaryUploadError: it has something else, which is deleted.
        """
        path, stored, verify = upload.path, upload.parts.stored, self._settings.verify
        if verify != "read" and (upload.store_checks or upload.parts.has_etag(etag)):
            return stored
        there = self._bucket.stat(path)
        if there is not None and there.etag != etag:
            raise TemporaryUploadError("another upload stored an object under the same key at the same time")
        if verify == "length" or (verify == "checksum" and self._bucket.is_encrypted):
            found = None if there is None else StoredObject(there.size, None)
            right = there is not None and there.size == stored.bytes
        else:
            found = self._digest(path, etag)
            right = found == stored
        if right:
            return stored
        self._bucket.delete(path)
        got = "nothing" if found is None else f"{found.bytes} bytes with {found.checksum or 'no checksum'}"
        raise TemporaryUploadError(
            f"the stored object differs: sent {stored.bytes} bytes with {stored.checksum}, got {got}"
        )

    def _is_same(self, upload: _Upload, there: ObjectInfo) -> bool:
        """Return whether what is there has the bytes that were read; if nothing else tells, it is read.

        The checksum that it carries was sent with it: without TLS, the bytes may have changed on their way.
        """
        stored, carried = upload.parts.stored, _checksum(there)
        if there.size != stored.bytes or carried not in {None, stored.checksum}:
            return False
        if upload.parts.has_etag(there.etag) or (carried and self._bucket.is_encrypted):
            return True
        return self._digest(upload.path) == stored

    def _is_damaged(self, upload: _Upload, there: ObjectInfo) -> bool:
        """Return whether other bytes are there that claim to be this upload's own.

        They changed on their way, and whoever sent them ended before the proof: nobody's bytes, so they are
        replaced whatever `on_conflict` says.
        """
        return _checksum(there) == upload.parts.stored.checksum

    def _kept(self, upload: _Upload, there: ObjectInfo) -> StoredObject:
        """Return what stays there, when `on_conflict` is skip.

        Raises:
            PermanentUploadError: it is `fail`.
        """
        if self._settings.on_conflict == "skip":
            return StoredObject(there.size, _checksum(there))
        raise conflict(upload.key)


def _checksum(there: ObjectInfo) -> str | None:
    carried = there.metadata.get(CHECKSUM)
    return f"sha256:{carried}" if carried else None


class BucketScheme:
    """Objects below `source_stores`; a bucket as a destination."""

    def opener(self, settings: Settings) -> Callable[[str], ObjectSource]:
        """Return what opens the URI of an object."""
        return opener(settings)

    def store(self, destination: str, settings: Settings) -> ObjectStore:
        """Return the store behind `s3://bucket/prefix`, `gs://...` or `az://...`; it is not asked yet.

        Raises:
            SettingsError: it is no such URL, the settings do not fit together, or there are no credentials.
        """
        bucket, prefix = _bucket_of(destination, settings)
        bucket.require_credentials()
        return ObjectStore(bucket, prefix)

    @staticmethod
    def check_destination(destination: str, settings: Settings) -> None:
        """Raise a SettingsError as `store` does, but for missing credentials."""
        _bucket_of(destination, settings)


def _bucket_of(destination: str, settings: Settings) -> tuple[Bucket, str]:
    """Return a destination's bucket and the prefix of its keys."""
    scheme, _, rest = destination.partition("://")
    name, _, prefix = rest.partition("/")
    return Bucket(scheme.lower(), name, settings), prefix.strip("/")


def check_bucket(settings: Settings) -> str:
    """Write, read and delete a small object below the destination; return what was done.

    The rights to write and to delete are tried where nothing is left behind (a multipart upload that is
    aborted; a key that nobody has) before the object is written.

    Raises:
        SettingsError: it is no such URL, the settings do not fit together, or there are no credentials.
        UploadError: the store does not answer, or refuses.
    """
    bucket, prefix = _bucket_of(settings.destination_path, settings)
    bucket.require_credentials()
    name = f"upswell-doctor-{secrets.token_hex(8)}"
    key = f"{prefix}/{name}" if prefix else name
    if bucket.scheme == "s3":
        require_multipart(bucket.name, key, bucket.settings)
    bucket.delete(key)
    body = name.encode()
    try:
        bucket.put(key, body, {}, only_new=False)
        found = b"".join(bytes(chunk) for chunk in bucket.read(key)[1])
    except BaseException:
        with suppress(UploadError):  # what happened before counts; the answer to the put may be lost
            bucket.delete(key)
        raise
    bucket.delete(key)
    if found != body:
        raise TemporaryUploadError(f"{bucket.scheme}://{bucket.name} gave other bytes than it was sent")
    credentials = (
        "no credentials" if bucket.is_anonymous else given_by(bucket.scheme) or "this machine's role"
    )
    return f"wrote, read and deleted an object, with {credentials}"
