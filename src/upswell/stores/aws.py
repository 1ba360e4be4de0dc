# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# botocore has no types; this is the one file that imports it.
"""What obstore cannot do on S3: find credentials in profile files, and list unfinished multipart uploads.

botocore does both, as the AWS command line does. It takes a third of a second to import, so that happens only
when a profile file is there to be read, or when leftovers are looked for.
"""

from __future__ import annotations

import functools
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upswell.errors import StoreUnavailableError
from upswell.events import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.settings import Settings

_log = get_logger()

_ELSEWHERE = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
              "AWS_CONTAINER_CREDENTIALS_FULL_URI")  # fmt: skip
"""Variables of which obstore reads credentials by itself. They are the vendor's, hence not in settings.py."""

_LIFETIME = timedelta(minutes=5)
"""How long obstore keeps what it was given; botocore refreshes what expires."""


def credential_provider() -> Callable[[], Any] | None:
    """Return what obstore asks for credentials, or None where it finds them by itself."""
    if any(os.environ.get(name) for name in _ELSEWHERE) or not _has_profile():
        return None
    return _ProfileCredentials()


def _has_profile() -> bool:
    files = (
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
    )
    return bool(os.environ.get("AWS_PROFILE")) or any(Path(file).expanduser().is_file() for file in files)


class _ProfileCredentials:
    """A profile's credentials: keys, SSO, an assumed role, a credential process; refreshed as they expire."""

    def __init__(self) -> None:
        self._found: Any = None

    def __call__(self) -> dict[str, Any]:
        if self._found is None:
            import botocore.session  # noqa: PLC0415 - see the module's docstring

            self._found = botocore.session.get_session().get_credentials()
        if self._found is None:
            raise StoreUnavailableError("AWS credentials must be found in a profile or the environment")
        frozen = self._found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _LIFETIME,
        }


def discard_unfinished(bucket: str, key: str, settings: Settings) -> int:
    """Abort the multipart uploads of one key that were never completed; return how many there were.

    What the store does not let us list stays: a lifecycle rule of the bucket removes it.
    """
    import botocore.exceptions  # noqa: PLC0415 - see the module's docstring

    count = 0
    try:
        client = _client(
            settings.store_endpoint or None,
            settings.store_region or os.environ.get("AWS_REGION") or "us-east-1",
            settings.store_addressing,
            settings.store_anonymous,
            settings.store_timeout,
        )
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=key):
            for upload in page.get("Uploads", ()):
                if upload["Key"] == key:
                    with suppress(client.exceptions.NoSuchUpload):
                        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload["UploadId"])
                    count += 1
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        _log.warning("store.leftovers_unknown", bucket=bucket, key=key, reason=type(error).__name__)
    if count:
        _log.info("store.parts_removed", bucket=bucket, key=key, uploads=count)
    return count


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
            **options,
        ),
    )
