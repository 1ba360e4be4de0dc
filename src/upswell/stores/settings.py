"""What `[stores.http]` and `[stores.objects]` hold: how web sources and buckets of any vendor are used.

The table of a scheme that an installed package adds is found by the same entry point as the scheme.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from upswell.registry import Entry, Registry
from upswell.settings import Setting

Positive = Annotated[float, Meta(gt=0, le=1e9)]


class HttpSettings(Struct, frozen=True):
    """How http(s):// sources are read."""

    connect_timeout: Annotated[
        Positive, Setting("Seconds in which a web server must accept a connection and finish TLS.")
    ] = 10.0
    read_timeout: Annotated[
        Positive,
        Setting(
            "Seconds of silence after which a web server counts as gone; its headers must arrive within them."
        ),
    ] = 30.0
    min_throughput: Annotated[
        float,
        Meta(ge=0),
        Setting(
            "Bytes per second that a web server must send over 30 s of waiting for it, or its upload is "
            "tried again later; 0: no minimum."
        ),
    ] = 1024.0
    max_bytes: Annotated[
        int,
        Meta(ge=1),
        Setting(
            "The most bytes a source may have; a larger one is refused for good. "
            "Default: the largest object of S3."
        ),
    ] = 5 * 1024**4
    allow_downgrade: Annotated[bool, Setting("Whether a redirect may lead from https to http.")] = False


class ObjectSettings(Struct, frozen=True):
    """How object stores are used, as destinations and as sources."""

    addressing: Annotated[
        Literal["path", "virtual"],
        Setting("Where an S3 bucket's name stands in a URL: in the path, or before the host."),
    ] = "path"
    allow_http: Annotated[
        bool, Setting("Whether store_endpoint may be http:// on another machine than this one.")
    ] = False
    anonymous: Annotated[bool, Setting("Whether requests carry no credentials: for public buckets.")] = False
    timeout: Annotated[
        Positive,
        Setting(
            "Seconds that one request may take; with part_size it is the least throughput of a connection."
        ),
    ] = 120.0
    part_size: Annotated[
        int,
        Meta(ge=5 * 1024 * 1024, le=5 * 1024**3),
        Setting(
            "Bytes of one part of a multipart upload, more for objects over 10,000 parts; smaller objects "
            "are sent in one request. A worker's buffers hold at most slots x parts_in_flight x part_size."
        ),
    ] = 8 * 1024 * 1024
    parts_in_flight: Annotated[
        int,
        Meta(ge=2, le=64),
        Setting("Parts of one upload that are in memory at once, being read or sent."),
    ] = 4


REGISTRY: Registry[Any] = Registry(
    "store",
    "upswell.stores",
    [
        Entry(
            name="http",
            factory="upswell.stores.schemes:WebScheme",
            settings="upswell.stores.settings:HttpSettings",
            summary="http:// and https:// sources",
        ),
        Entry(
            name="objects",
            factory="upswell.stores.destinations.objects:BucketScheme",
            settings="upswell.stores.settings:ObjectSettings",
            summary="s3://, gs:// and az://",
        ),
    ],
)
