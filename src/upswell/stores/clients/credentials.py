"""Where the credentials for buckets come from: the vendors' own variables and files, then the machine itself.

What comes in: a scheme. What goes out: which place gives credentials, never the credentials. obstore and
botocore read them; this only looks whether there is anything to read. The variables are the vendors', hence
not settings; where one says the same as a setting, the setting comes first.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from upswell.errors import SettingsError
from upswell.safe import safe

if TYPE_CHECKING:
    from upswell.settings import Settings

_VARIABLES = {
    "s3": (
        "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ),
    "gs": (
        "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
    ),
    "az": (
        "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY",
        "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_TOKEN",
        "AZURE_CLIENT_SECRET", "AZURE_STORAGE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_USE_AZURE_CLI", "AZURE_STORAGE_USE_EMULATOR", "AZURE_SKIP_SIGNATURE",
    ),
}  # fmt: skip
"""Each gives credentials to obstore directly."""

_ADVICE = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to a service account's file, or run gcloud auth "
    "application-default login",
    "az": "set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_CLIENT_ID, AZURE_CLIENT_SECRET "
    "and AZURE_TENANT_ID",
}

_GCLOUD = "~/.config/gcloud/application_default_credentials.json"


def given_by_variable(scheme: str) -> str | None:
    """Return the variable that gives credentials to obstore, or None."""
    return next((name for name in _VARIABLES[scheme] if os.environ.get(name)), None)


def given_by(scheme: str) -> str | None:
    """Return the variable or file that gives credentials, or None: only the machine itself may have some."""
    if variable := given_by_variable(scheme):
        return variable
    if scheme == "s3":
        return aws_profile()
    return _GCLOUD if scheme == "gs" and Path(_GCLOUD).expanduser().is_file() else None


def aws_profile() -> str | None:
    """Return the variable or file of AWS profiles; None where there is none, or obstore needs none."""
    if given_by_variable("s3"):
        return None
    if os.environ.get("AWS_PROFILE"):
        return "AWS_PROFILE"
    files = (
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
    )
    return next((file for file in files if Path(file).expanduser().is_file()), None)


def completed(scheme: str, settings: Settings) -> Settings:
    """Return the settings, with S3's endpoint and region from AWS's variables where they say neither."""
    if scheme != "s3":
        return settings
    names = {
        "store_endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        "store_region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    }
    found = {
        name: getattr(settings, name) or next(filter(None, map(os.environ.get, variables)), "")
        for name, variables in names.items()
    }
    return replace(settings, **found)


def may_ask_the_machine(scheme: str) -> bool:
    """Return whether the machine's own identity service may be asked (AWS has a variable against it)."""
    return scheme != "s3" or os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true"


def no_credentials(url: str) -> SettingsError:
    """Return the error of a bucket for which nobody that was asked gave credentials."""
    scheme = url.partition("://")[0]
    asked = given_by(scheme) or "this machine's identity service"
    return SettingsError(f"no credentials for {safe(url)}: {_ADVICE[scheme]} ({asked} gave none)")
