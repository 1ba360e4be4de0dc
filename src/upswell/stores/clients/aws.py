# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# botocore has no types; this is the one file that imports it.
"""What obstore cannot do on S3: credentials in profile files, unfinished and conditional multipart uploads.

botocore does all three, as the AWS command line does. It takes a third of a second to import, so that happens
only when a profile file is there to be read, when leftovers are looked for, or when a large object may not
replace another.
"""

from __future__ import annotations

import functools
import os
import re
import zlib
from base64 import b64encode
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from upswell.errors import SettingsError, StoreUnavailableError
from upswell.events import get_logger
from upswell.stores.clients.credentials import aws_profile, no_credentials
from upswell.stores.clients.errors import Asked, store_error
from upswell.stores.settings import ObjectSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from upswell.settings import Settings

_log = get_logger()

_CODE = re.compile(r"\A[A-Za-z0-9.]{1,64}\Z")

_LIFETIME = timedelta(minutes=5)
"""How long obstore keeps what it was given; botocore refreshes what expires."""


def credential_provider() -> Callable[[], Any] | None:
    """Return what obstore asks for credentials, or None where it finds them by itself.

    Raises:
        SettingsError: those of the environment cannot be sent: a line break at the end, most likely.
    """
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        value = os.environ.get(name, "")
        if not (value.isascii() and value.isprintable()):
            raise SettingsError(
                f"{name} must be printable ASCII in one line, without a line break at its end"
            )
    return None if aws_profile() is None else _ProfileCredentials()


class _ProfileCredentials:
    """A profile's credentials: keys, SSO, an assumed role, a credential process; refreshed as they expire."""

    def __init__(self) -> None:
        self._found: Any = None

    def __call__(self) -> dict[str, Any]:
        if self._found is None:
            import botocore.session  # noqa: PLC0415 - see the module's docstring

            self._found = botocore.session.get_session().get_credentials()
        if self._found is None:
            raise StoreUnavailableError("no AWS credentials in a profile or the environment")
        frozen = self._found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _LIFETIME,
        }


NOT_TOLD = -1


def unfinished_uploads(bucket: str, key: str, settings: Settings) -> dict[str, int]:
    """Return the ids of a key's multipart uploads that are not completed, each with its parts (or NOT_TOLD).

    What the store does not let us list is not among them: a lifecycle rule of the bucket removes it.

    Raises:
        UploadError: the store did not answer, so whether there are any is unknown.
    """
    client = _client_of(settings)
    with _told(Asked("s3", bucket, settings.store_endpoint, key, "list")):
        try:
            pages = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=key)
            found = [
                one["UploadId"] for page in pages for one in page.get("Uploads", ()) if one["Key"] == key
            ]
        except client.exceptions.ClientError as error:
            if not _is_refusal(error):
                raise
            _log.warning("store.leftovers_unknown", bucket=bucket, key=key, reason=type(error).__name__)
            return {}
        counts = {upload_id: _count_parts(client, bucket, key, upload_id) for upload_id in found}
    return {upload_id: parts for upload_id, parts in counts.items() if parts is not None}


def _count_parts(client: Any, bucket: str, key: str, upload_id: str) -> int | None:
    """Return how many parts an upload has; NOT_TOLD, or None where it has ended meanwhile."""
    try:
        pages = client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload_id)
        return sum(len(page.get("Parts", ())) for page in pages)
    except client.exceptions.NoSuchUpload:
        return None
    except client.exceptions.ClientError as error:
        if not _is_refusal(error):
            raise
        return NOT_TOLD


def abort_uploads(bucket: str, key: str, upload_ids: Sequence[str], settings: Settings) -> None:
    """Abort multipart uploads of one key; what the store refuses to abort stays.

    Raises:
        UploadError: the store did not answer.
    """
    client = _client_of(settings)
    with _told(Asked("s3", bucket, settings.store_endpoint, key, "abort")):
        count = sum(_abort(client, {"Bucket": bucket, "Key": key, "UploadId": one}) for one in upload_ids)
    if count:
        _log.info("store.parts_removed", bucket=bucket, key=key, uploads=count)


def _abort(client: Any, upload: Mapping[str, Any]) -> bool:
    """Abort a multipart upload; return whether the store did: one that has ended it refuses.

    Raises:
        ClientError, BotoCoreError: the store did not answer, or may do it later; the parts may be there.
    """
    try:
        client.abort_multipart_upload(**upload)
    except client.exceptions.ClientError as error:
        if not _is_refusal(error):
            raise
        return False
    return True


def _status(error: BaseException) -> int:
    """Return the status that the store answered with, 0 where it did not answer."""
    response: Any = getattr(error, "response", {})
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _is_conflict(error: BaseException) -> bool:
    """Return whether the store answered that an object is there already."""
    return _status(error) == HTTPStatus.PRECONDITION_FAILED


def _is_refusal(error: BaseException) -> bool:
    """Return whether the store answered that it will not do it, now or later; else it may yet."""
    status = _status(error)
    return status == HTTPStatus.NOT_IMPLEMENTED or (
        HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    )


_RIGHT = {"CRC64NVME": "rosUhgp5mIg=", "CRC32": "y/Q5Jg=="}
"""The checksums of b"123456789", the usual check value of a CRC."""

_DAMAGED_CODES = frozenset({"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch"})


def refuses_damaged_parts(bucket: str, key: str, algorithm: str, settings: Settings) -> bool:
    """Return whether the store compares a part with the checksum that is sent with it.

    It is offered one part with the right checksum and one with a wrong one, in a multipart upload of `key`
    that is never completed. Whoever ignores checksums takes both, and is taken at its ETags instead.

    Raises:
        UploadError: the store did not answer when that upload was aborted: its part may be there. The next
            attempt at the key finds it.
    """
    import botocore.exceptions  # noqa: PLC0415 - see the module's docstring

    checksum = {f"Checksum{algorithm}": _RIGHT[algorithm]}
    upload: dict[str, Any] = {"Bucket": bucket, "Key": key}
    took_the_right_one = False
    client = _client_of(settings)
    try:
        kind = {"ChecksumAlgorithm": algorithm, "ChecksumType": "FULL_OBJECT"}
        upload["UploadId"] = client.create_multipart_upload(**upload, **kind)["UploadId"]
        client.upload_part(**upload, PartNumber=1, Body=b"123456789", **checksum)
        took_the_right_one = True
        client.upload_part(**upload, PartNumber=2, Body=b"923456781", **checksum)
    except botocore.exceptions.ClientError as error:
        return took_the_right_one and error.response.get("Error", {}).get("Code") in _DAMAGED_CODES
    except botocore.exceptions.BotoCoreError:
        pass
    finally:
        if "UploadId" in upload:
            with _told(Asked("s3", bucket, settings.store_endpoint, key, "abort")):
                _abort(client, upload)
    return False


def require_multipart(bucket: str, key: str, settings: Settings) -> None:
    """Begin and abort a multipart upload, which leaves nothing, whatever the credentials may not do.

    Raises:
        UploadError: the store's.
    """
    asked = Asked("s3", bucket, settings.store_endpoint, key, "write")
    client = _client_of(settings)
    with _told(asked):
        upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    with _told(replace(asked, action="abort")):
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)


def put_new_parts(
    bucket: str,
    key: str,
    parts: Iterator[memoryview],
    metadata: Mapping[str, str],
    *,
    in_flight: int,
    settings: Settings,
    with_crc32: bool = False,
) -> str:
    """Store a large object where there is none, `in_flight` parts (3 at least) in memory; return its ETag.

    The condition is on the last request (`If-None-Match: *`): of several at the same moment one succeeds.
    `with_crc32` sends each part's CRC32 for the store to check. Whatever is raised stops the upload and
    deletes the parts that were sent; so with what `parts` raises.

    Raises:
        FileExistsError: an object is there by now (a store that knows no conditions replaces it).
        UploadError: the store's.
    """
    client = _client_of(settings)
    upload: dict[str, Any] = {"Bucket": bucket, "Key": key}
    kind = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"} if with_crc32 else {}

    def send(number: int, body: memoryview) -> dict[str, Any]:
        crc32 = {"ChecksumCRC32": b64encode(zlib.crc32(body).to_bytes(4)).decode()} if with_crc32 else {}
        answer = client.upload_part(**upload, PartNumber=number, Body=bytes(body), **crc32)
        return {"PartNumber": number, "ETag": answer["ETag"], **crc32}

    with _told(Asked("s3", bucket, settings.store_endpoint, key, "write")):
        begun = client.create_multipart_upload(**upload, Metadata=dict(metadata), **kind)
        upload["UploadId"] = begun["UploadId"]
        try:
            sent: list[dict[str, Any]] = []
            under_way: deque[Future[dict[str, Any]]] = deque()
            most = max(1, in_flight - 2)  # beside one that is read, and one that waits to be sent
            with ThreadPoolExecutor(most) as pool:
                for number, part in enumerate(parts, 1):
                    if len(under_way) == most:
                        sent.append(under_way.popleft().result())
                    under_way.append(pool.submit(send, number, part))
                sent.extend(future.result() for future in under_way)
            done = client.complete_multipart_upload(
                **upload, MultipartUpload={"Parts": sent}, IfNoneMatch="*"
            )
        except BaseException as error:
            try:
                _abort(client, upload)
            except Exception:
                # What happened before counts, and the next attempt finds what is left. But where an object is
                # there that may be the right one, there may be none: then this error counts, and makes one.
                if _is_conflict(error):
                    raise
            raise
    return str(done["ETag"]).strip('"')


@contextmanager
def _told(asked: Asked) -> Generator[None]:
    """Tell botocore's errors as ours; what the caller's own iterator raised passes as it is."""
    import botocore.exceptions as theirs  # noqa: PLC0415 - see the module's docstring

    try:
        yield
    except theirs.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if _is_conflict(error):
            raise FileExistsError(asked.url) from None
        raise store_error(str(_status(error) or ""), code if _CODE.match(code) else "", "", asked) from None
    except theirs.BotoCoreError as error:
        if isinstance(error, (theirs.NoCredentialsError, theirs.PartialCredentialsError,
                              theirs.CredentialRetrievalError, theirs.SSOError)):  # fmt: skip
            raise StoreUnavailableError(str(no_credentials(f"s3://{asked.bucket}"))) from None
        kind = (
            "Timeout" if isinstance(error, theirs.ReadTimeoutError)
            else "Certificate" if isinstance(error, theirs.SSLError)
            else "Request" if isinstance(error, theirs.HTTPClientError)
            else "Connect" if isinstance(error, theirs.ConnectionError)
            else type(error).__name__
        )  # fmt: skip
        raise store_error("", "", kind, asked) from None


def _client_of(settings: Settings) -> Any:
    own = settings.own("stores", "objects", ObjectSettings)
    return _client(
        settings.store_endpoint or None,
        settings.store_region or "us-east-1",
        own.addressing,
        own.anonymous,
        own.timeout,
    )


@functools.lru_cache(maxsize=8)
def _client(endpoint: str | None, region: str, addressing: str, anonymous: bool, timeout: float) -> Any:
    import botocore.session  # noqa: PLC0415 - see the module's docstring
    from botocore import UNSIGNED  # noqa: PLC0415 - as above
    from botocore.config import Config  # noqa: PLC0415 - as above

    options: dict[str, Any] = {"signature_version": UNSIGNED} if anonymous else {}
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=endpoint,
        region_name=region,
        config=Config(
            s3={"addressing_style": addressing},
            connect_timeout=5,
            read_timeout=timeout,
            retries={"mode": "standard", "max_attempts": 3},
            # Not every store knows the newer checksums; the ETag is compared all the same.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            max_pool_connections=50,
            **options,
        ),
    )
