"""The schemes of sources and destinations: each is one `Scheme` and one entry here.

An installed package adds one by an entry point of the group `upswell.stores`, named after the scheme of its
URLs. What a scheme needs is imported when the first such URL comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from upswell.errors import PermanentUploadError, SettingsError
from upswell.registry import Entry, Registry
from upswell.safe import safe

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.settings import Settings
    from upswell.stores.protocol import Opener, OpenSource, Store


class Scheme(Protocol):
    """What URLs of a scheme can be used for: as a source, as a destination. Making one sends no request.

    A scheme may also have `check_destination(destination, settings)`, which raises what `store` would raise,
    but neither asks anybody nor makes anything; `upswell config check` calls it.

    The `check` of a scheme's entry takes the settings and really uses the destination: it returns a sentence
    and leaves nothing behind, or raises an UpswellError that says what to do.
    """

    def opener(self, settings: Settings) -> Opener:
        """Return what opens a URI, hostile, as the settings allow; see `protocol.OpenSource`.

        Raises:
            SettingsError: the scheme has no sources, or the settings break a rule.
        """
        ...

    def store(self, destination: str, settings: Settings) -> Store:
        """Return the store behind a destination's URL.

        Raises:
            SettingsError: the scheme has no destinations, or the settings break a rule.
        """
        ...


def _cloud(name: str, summary: str) -> Entry:
    return Entry(
        name=name,
        factory="upswell.stores.destinations.objects:BucketScheme",
        check="upswell.stores.destinations.objects:check_bucket",
        extra="cloud",
        summary=summary,
    )


def _web(name: str, summary: str) -> Entry:
    return Entry(
        name=name,
        factory="upswell.stores.schemes:WebScheme",
        check="upswell.stores.schemes:check_web",
        summary=summary,
    )


REGISTRY: Registry[Callable[[], Scheme]] = Registry(
    "scheme",
    "upswell.stores",
    [
        Entry(
            name="file",
            factory="upswell.stores.schemes:FileScheme",
            check="upswell.stores.schemes:check_folder",
            summary="a folder",
        ),
        _cloud("s3", "Amazon S3, and what speaks it"),
        _cloud("gs", "Google Cloud Storage"),
        _cloud("az", "Azure Blob Storage"),
        _web("http", "web servers; sources only"),
        _web("https", "web servers over TLS; sources only"),
    ],
)


def open_store(settings: Settings) -> Store:
    """Return the store that the setting `destination` names: a folder, or a URL of one of the schemes.

    Raises:
        SettingsError: the scheme is unknown, or the store cannot be used as the settings say.
    """
    destination = settings.destination_path
    return REGISTRY.load(scheme_of(destination))().store(destination, settings)


def check_destination(settings: Settings) -> None:
    """Find out whether the setting `destination` can be one; no request is sent, and nothing is made.

    Raises:
        SettingsError: its scheme is unknown, has no destinations, or needs an extra that is not installed, or
            the settings break a rule.
    """
    destination = settings.destination_path
    scheme = REGISTRY.load(scheme_of(destination))()
    check = getattr(scheme, "check_destination", None)
    if check is not None:
        check(destination, settings)


def scheme_of(destination: str) -> str:
    """Return the scheme of a destination; `file` for a plain path.

    >>> scheme_of("S3://bucket/x"), scheme_of("~/uploads")
    ('s3', 'file')
    """
    scheme, mark, _rest = destination.partition("://")
    return scheme.lower() if mark else "file"


class SourceOpener:
    """Opens sources as the settings allow; one for all uploads of a worker."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings.

        Raises:
            SettingsError: source_origins or source_networks has an invalid entry.
        """
        self._settings = settings
        self._openers: dict[str, Opener] = {}
        if settings.source_origins:
            self._opener("https", "https://")  # so that an invalid one shows now, not at the first such URI

    def open(self, uri: str) -> OpenSource:
        """Return the open source behind a URI.

        Raises:
            PermanentUploadError: an unknown scheme, or what the settings do not allow.
            TemporaryUploadError: it cannot be opened now.
        """
        scheme = uri.partition(":")[0].lower()
        return (self._openers.get(scheme) or self._opener(scheme, uri))(uri)

    def _opener(self, scheme: str, uri: str) -> Opener:
        try:
            REGISTRY.entry(scheme)
        except SettingsError:
            known = ", ".join(REGISTRY.names())
            raise PermanentUploadError(
                f"a source must be a URI of one of these schemes: {known}; got {safe(uri)}"
            ) from None
        self._openers[scheme] = REGISTRY.load(scheme)().opener(self._settings)
        return self._openers[scheme]
