"""What an object store's refusal means for an upload: one table for every client of ours. Pure.

What comes in: a status, an error code, the kind of a failure to get any answer. What goes out: an
UploadError, worded by us: a client's own text may hold request URLs, signatures, and what a server chose to
send.
"""

from __future__ import annotations

from http import HTTPStatus

from upswell.errors import PermanentUploadError, StoreUnavailableError, TemporaryUploadError
from upswell.safe import safe

_DOWN_STATUSES = frozenset({"408", "429", "502", "503", "504", "507"})
_DOWN_KINDS = frozenset({"Connect", "Timeout"})
_CREDENTIAL_CODES = frozenset(
    {
        "AccountIsDisabled", "AuthenticationFailed", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken",
        "RequestTimeTooSkewed", "SignatureDoesNotMatch", "TokenRefreshRequired",
    }
)  # fmt: skip
_DOWN_CODES = frozenset(
    {
        "NoSuchBucket", "ContainerNotFound", "QuotaExceeded", "ServerBusy", "ServiceUnavailable", "SlowDown",
        "XMinioStorageFull",
    }
)  # fmt: skip
"""What is wrong with our credentials or the store: every upload meets it, so none is to blame."""

_DENIED_CODES = frozenset({"AccessDenied", "AuthorizationPermissionMismatch"})
"""Codes of a 403 that is about this key; any other, an identity service's for one, is about our standing."""

TEMPORARY_CODES = frozenset(
    {
        "BadDigest", "ConditionalRequestConflict", "IncompleteBody", "InvalidPart", "InvalidBlockList",
        "Md5Mismatch", "NoSuchUpload", "OperationAborted", "RequestTimeout", "XAmzContentSHA256Mismatch",
        "XAmzContentChecksumMismatch",
    }
)  # fmt: skip
"""Refusals (400 to 499) of these bytes on their way, not of the upload."""

_KINDS = {
    "Connect": "cannot connect",
    "Timeout": "no answer in time",
    "Request": "connection broken",
    "Interrupted": "connection broken",
}


def store_error(
    status: str, code: str, kind: str, url: str, *, has_credentials: bool = True
) -> PermanentUploadError | TemporaryUploadError:
    """Return the error for what a store answered about `url`.

    Args:
        status: three digits, or nothing where there was no answer.
        code: the vendor's error code, letters and digits, or nothing.
        kind: how the request failed, where there was no answer.
        url: where the object is, without credentials or query.
        has_credentials: False: the client had none that it could send.
    """
    what = f"{status} {code or phrase(status)}".strip() or _KINDS.get(kind, kind)
    where = safe(url)
    stands_badly = status == "403" and code not in _DENIED_CODES
    if status == "401" or stands_badly or code in _CREDENTIAL_CODES or not has_credentials:
        return StoreUnavailableError(f"store refused: {what} (check the credentials): {where}")
    if code in _DOWN_CODES or status in _DOWN_STATUSES or kind in _DOWN_KINDS:
        return StoreUnavailableError(f"store unavailable: {what}: {where}")
    if status == "412":
        return TemporaryUploadError(f"the object changed while it was used: {what}: {where}")
    if status.startswith("4") and code not in TEMPORARY_CODES and status != "409":
        return PermanentUploadError(f"store refused: {what}: {where}")
    return TemporaryUploadError(f"store failed: {what}: {where}")


def phrase(status: str) -> str:
    """Return what HTTP calls a status; nothing where it has no name for it."""
    try:
        return HTTPStatus(int(status or 0)).phrase
    except ValueError:
        return ""
