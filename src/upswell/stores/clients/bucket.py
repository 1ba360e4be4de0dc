# pyright: reportUnknownMemberType=false
# obstore.list can also return arrow tables, whose types are those of a package that is not here.
"""One bucket of an object store: the only place that knows obstore.

What comes in: a store's URL, settings, keys, bytes. What goes out: what the store answered, or an UploadError
from the table in `errors.py`. obstore's own texts hold request URLs (an Azure one carries its
signature) and what a server chose to send, so only a status, an error code and our own key are taken from
them.

Credentials are found the vendors' ways, by obstore (environment, workload identity, the machine's own) and
for AWS by `aws.py`; they never pass through here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
from msgspec import Struct
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from upswell.errors import SettingsError, StoreUnavailableError, TemporaryUploadError
from upswell.safe import safe
from upswell.stores.clients.credentials import (
    completed,
    given_by,
    given_by_variable,
    may_ask_the_machine,
    no_credentials,
)
from upswell.stores.clients.errors import TEMPORARY_CODES, Asked, store_error
from upswell.stores.settings import ObjectSettings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import NoReturn

    from upswell.settings import Settings
    from upswell.stores.clients.errors import Action

    Chunk = bytes | memoryview

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_NAME = re.compile(r"\A[A-Za-z0-9$][A-Za-z0-9._-]{1,221}\Z")
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"(?:<Code>|\(code: )([A-Za-z][A-Za-z0-9.]{0,63})(?:</Code>|\))")
_KIND = re.compile(r"HttpError \{\s*kind: (\w+)")
_NO_TOKEN = re.compile(
    r"performing token request|/latest/(?:api/token|meta-data/)|External AWS credential provider"
)
"""Whoever was to give credentials did not: the store itself was never asked."""


class ObjectInfo(Struct, frozen=True):
    """What a store says of an object: its size in bytes, its ETag without quotes, its metadata."""

    size: int
    etag: str | None
    metadata: Mapping[str, str]


class Bucket:
    """A bucket or container; used by many threads at once."""

    def __init__(self, scheme: str, name: str, settings: Settings) -> None:
        """Say which bucket; no request is sent yet.

        Raises:
            SettingsError: no bucket can have that name, or plain HTTP to another machine without
                `stores.objects.allow_http`.
        """
        if not _NAME.match(name):
            raise SettingsError(
                "a bucket's name must be 2 to 222 letters, digits, '.', '_' or '-', "
                f"got {safe(f'{scheme}://{name}')}"
            )
        self.scheme = scheme
        self.name = name
        self.settings = settings = completed(scheme, settings)
        self.endpoint = settings.store_endpoint
        self.is_encrypted = not self.endpoint or urlsplit(self.endpoint).scheme == "https"
        """Whether the bytes travel over TLS, where none can change unnoticed."""
        self.is_anonymous = _own(settings).anonymous
        check_endpoint(settings)
        self._sends_checksums: Any = None
        try:
            self._store = _MAKERS[scheme](name, settings)
        except (exceptions.BaseError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            if "Account must be specified" in reason:
                reason = "set AZURE_STORAGE_ACCOUNT_NAME"
            raise SettingsError(f"{scheme}://{name} cannot be used as a store: {reason}") from None

    def require_credentials(self) -> None:
        """Find out whether there are credentials, before any upload needs them.

        Where no variable gives them, a profile or the machine's own identity service is asked for some, once.

        Raises:
            SettingsError: there are none.
        """
        if self.is_anonymous or given_by_variable(self.scheme):
            return
        if not (given_by(self.scheme) or may_ask_the_machine(self.scheme)):
            raise no_credentials(f"{self.scheme}://{self.name}")
        try:
            store = _MAKERS[self.scheme](self.name, self.settings, **_options_of_one_try(self.settings))
            obstore.get(store, "upswell-credentials", options={"head": True})
        except (exceptions.BaseError, FileNotFoundError) as error:
            if _NO_TOKEN.search(str(error)):
                raise no_credentials(f"{self.scheme}://{self.name}") from None

    def put(self, key: str, body: Chunk, metadata: Mapping[str, str], *, only_new: bool) -> str | None:
        """Store a small object in one request; return its ETag.

        Raises:
            FileExistsError: `only_new`, and an object is there (some stores never say so and replace it).
        """
        with self._told(key, "write"):
            result = obstore.put(
                self._store,
                key,
                body,
                attributes=dict(metadata),
                mode="create" if only_new else "overwrite",
                use_multipart=False,
            )
        return _bare(result["e_tag"])

    def put_parts(
        self,
        key: str,
        parts: Iterator[Chunk],
        metadata: Mapping[str, str],
        *,
        part_bytes: int,
        in_flight: int,
        with_crc64: bool = False,
    ) -> str | None:
        """Store a large object with `in_flight` parts (2 at least) in memory; return its ETag.

        `with_crc64` (S3) sends each part's CRC64NVME for the store to check.

        `parts` are of `part_bytes` each, the last may be shorter. Whatever is raised while one is asked for
        stops the upload, deletes the parts that were sent, and comes out here.
        """
        with _elsewhere(parts) as asked, self._told(key, "write"):
            result = obstore.put(
                self._with_checksums() if with_crc64 else self._store,
                key,
                asked,
                attributes=dict(metadata),
                use_multipart=True,
                chunk_size=part_bytes,
                max_concurrency=in_flight - 2,  # beside one that is read, and one that waits to be sent
            )
        return _bare(result["e_tag"])

    def _with_checksums(self) -> Any:
        if self._sends_checksums is None:
            self._sends_checksums = _s3(self.name, self.settings, checksum_algorithm="CRC64NVME")
        return self._sends_checksums

    def stat(self, key: str) -> ObjectInfo | None:
        """Return what the store says of an object, or None where there is none."""
        try:
            with self._told(key):
                result = obstore.get(self._store, key, options={"head": True})
        except FileNotFoundError:
            return None
        return _answer(result)

    def read(self, key: str, *, etag: str | None = None) -> tuple[ObjectInfo, Iterator[Chunk]]:
        """Return what the store says of an object, and its bytes as they come; of that `etag`, if given.

        Raises:
            FileNotFoundError: there is none.
            TemporaryUploadError: it is another one by now.
        """
        with self._told(key):
            result = obstore.get(self._store, key, options={"if_match": f'"{etag}"'} if etag else None)
        answer = _answer(result)
        if etag is not None and answer.etag != etag:  # a store that takes no conditions
            raise TemporaryUploadError(f"the object changed while it was used: {safe(key)}")
        return answer, self._chunks(key, result)

    def _chunks(self, key: str, result: Any) -> Generator[Chunk]:
        with self._told(key):
            yield from result.stream(min_chunk_size=1024 * 1024)

    def list(self, prefix: str) -> Generator[tuple[str, ObjectInfo]]:
        """Yield key and object of all below `prefix` (whole components), a page at a time, no metadata."""
        with self._told(prefix, "list"):
            for page in obstore.list(self._store, prefix or None, chunk_size=1000, return_arrow=False):
                for found in page:
                    yield found["path"], ObjectInfo(found["size"], _bare(found["e_tag"]), {})

    def delete(self, key: str) -> None:
        """Delete an object; there may be none."""
        try:
            with self._told(key, "delete"):
                obstore.delete(self._store, key)
        except FileNotFoundError:
            pass

    @contextmanager
    def _told(self, key: str, action: Action = "read") -> Generator[None]:
        """Tell obstore's errors as ours; what the caller's own iterator raised passes as it is."""
        try:
            yield
        except exceptions.AlreadyExistsError:
            raise FileExistsError(key) from None
        except (exceptions.BaseError, FileNotFoundError) as error:
            _raise(error, Asked(self.scheme, self.name, self.endpoint, key, action))
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # Rust's; it has no name that can be imported
                raise
            where = safe(f"{self.scheme}://{self.name}/{key}")
            raise TemporaryUploadError(f"obstore failed inside: {where}") from None


@contextmanager
def _elsewhere(parts: Iterator[Chunk]) -> Generator[Iterator[Chunk]]:
    """Give the same parts, each asked for in a thread of its own.

    obstore asks for a part from within its runtime, where it panics when it is called once more: to read from
    a source that is an object, too, or to ask whether that has changed.
    """
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="parts") as thread:
        yield iter(lambda: thread.submit(next, parts, end).result(), end)  # type: ignore[arg-type] - or the end


def check_endpoint(settings: Settings) -> None:
    """Raise a SettingsError unless `store_endpoint` is https://, on this machine, or allowed all the same."""
    endpoint = settings.store_endpoint
    if not endpoint:
        return
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise SettingsError(
            f"store_endpoint must be http(s)://host[:port], without credentials, got {safe(endpoint)}"
        )
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not _own(settings).allow_http:
        raise SettingsError(
            "store_endpoint must be https:// unless on this machine, or stores.objects.allow_http must be "
            f"set, got {safe(endpoint)}"
        )


def _raise(error: Exception, asked: Asked) -> NoReturn:
    """Raise the UploadError that the table has for an error of obstore's; FileNotFoundError for no object."""
    text = str(error)
    status, code, kind = (
        found[1] if (found := pattern.search(text)) else "" for pattern in (_STATUS, _CODE, _KIND)
    )
    if _NO_TOKEN.search(text):
        raise StoreUnavailableError(str(no_credentials(f"{asked.scheme}://{asked.bucket}"))) from None
    if "InvalidCertificate(" in text:
        kind = "Certificate"
    if "redirect without LOCATION" in text:
        code = "PermanentRedirect"
    if isinstance(error, exceptions.PreconditionError):
        status = "412"
    if isinstance(error, exceptions.UnauthenticatedError):
        status = "401"
    told = store_error(status, code, kind or type(error).__name__, asked)
    is_missing = isinstance(error, FileNotFoundError) and code not in TEMPORARY_CODES
    if is_missing and not isinstance(told, StoreUnavailableError):
        raise FileNotFoundError(asked.url) from None
    raise told from None


def _answer(result: Any) -> ObjectInfo:
    metadata = {str(name): str(value) for name, value in result.attributes.items()}
    return ObjectInfo(result.meta["size"], _bare(result.meta["e_tag"]), metadata)


def _bare(etag: str | None) -> str | None:
    return etag.strip('"') if etag else None


def _own(settings: Settings) -> ObjectSettings:
    return settings.own("stores", "objects", ObjectSettings)


def _options(settings: Settings, endpoint_name: str, endpoint: str) -> dict[str, Any]:
    """Return the options that all three share; each has its own name for an endpoint."""
    timeout = timedelta(seconds=_own(settings).timeout)
    options: dict[str, Any] = {
        "client_options": {
            "allow_http": settings.store_endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=5),
            "timeout": timeout,
            "user_agent": "upswell",
        },
        "retry_config": {
            "max_retries": 3,
            "retry_timeout": timeout,
            "backoff": {
                "init_backoff": timedelta(milliseconds=200),
                "max_backoff": timedelta(seconds=5),
                "base": 3,
            },
        },
    }
    if endpoint:
        options[endpoint_name] = endpoint
    if _own(settings).anonymous:
        options["skip_signature"] = True
    return options


def _options_of_one_try(settings: Settings) -> dict[str, Any]:
    """Return the options of a store that is asked once, and not for long."""
    options = _options(settings, "", "")
    seconds = timedelta(seconds=5)
    return {
        "client_options": {**options["client_options"], "connect_timeout": seconds, "timeout": seconds},
        "retry_config": {**options["retry_config"], "max_retries": 0, "retry_timeout": seconds},
    }


def _s3(bucket: str, settings: Settings, **more: Any) -> S3Store:
    from upswell.stores.clients.aws import credential_provider  # noqa: PLC0415 - only S3 needs it

    options = _options(settings, "endpoint", _s3_endpoint(bucket, settings))
    if settings.store_region:
        options["region"] = settings.store_region
    if not _own(settings).anonymous:
        options["credential_provider"] = credential_provider()
    return S3Store(
        bucket,
        virtual_hosted_style_request=_own(settings).addressing == "virtual",
        # The bytes are checked against the store's answer instead: that holds for the way back, too.
        unsigned_payload=True,
        **{**options, **more},
    )


def _s3_endpoint(bucket: str, settings: Settings) -> str:
    """Return the endpoint as obstore wants it: with the bucket before the host in virtual addressing."""
    if not settings.store_endpoint or _own(settings).addressing != "virtual":
        return settings.store_endpoint
    scheme, _, host = settings.store_endpoint.partition("://")
    return f"{scheme}://{bucket}.{host}"


def _gcs(bucket: str, settings: Settings, **more: Any) -> GCSStore:
    return GCSStore(bucket, **{**_options(settings, "base_url", settings.store_endpoint), **more})


def _azure(container: str, settings: Settings, **more: Any) -> AzureStore:
    return AzureStore(container, **{**_options(settings, "endpoint", settings.store_endpoint), **more})


_MAKERS = {"s3": _s3, "gs": _gcs, "az": _azure}
