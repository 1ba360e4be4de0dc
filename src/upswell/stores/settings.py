"""The settings `[stores.http]` and `[stores.objects]`: web sources, and buckets of any vendor.

A scheme added by an installed package brings its table through the same entry point.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from upswell.registry import Entry, Registry
from upswell.settings import Setting
from upswell.settings.fields import Positive


class HttpSettings(Struct, frozen=True):
    """How http(s):// sources are read."""

    connect_timeout: Annotated[Positive, Setting("Seconds to connect to a web server, including TLS.")] = 10.0
    read_timeout: Annotated[
        Positive,
        Setting("Seconds without data after which a request to a web server fails; also limits the headers."),
    ] = 30.0
    min_throughput: Annotated[
        float,
        Meta(ge=0),
        Setting(
            "Minimum bytes per second of a web server, averaged over 30 s; below it the upload fails and is "
            "retried later. 0: no minimum."
        ),
    ] = 1024.0
    max_bytes: Annotated[
        int,
        Meta(ge=1),
        Setting(
            "Maximum size of a source in bytes; a larger one fails permanently. "
            "Default: the largest object that S3 accepts."
        ),
    ] = 5 * 1024**4
    allow_downgrade: Annotated[bool, Setting("Whether a redirect may lead from https to http.")] = False


class ObjectSettings(Struct, frozen=True):
    """How object stores are used, as destinations and as sources."""

    addressing: Annotated[
        Literal["path", "virtual"],
        Setting("Where an S3 URL contains the bucket's name: in the path, or before the host (virtual)."),
    ] = "path"
    allow_http: Annotated[
        bool, Setting("Whether store_endpoint may use http:// to a machine other than this one.")
    ] = False
    anonymous: Annotated[
        bool, Setting("Whether to send requests without credentials, for public buckets.")
    ] = False
    timeout: Annotated[
        Positive,
        Setting(
            "Maximum seconds for one request; with part_size it sets the minimum throughput of a connection."
        ),
    ] = 120.0
    part_size: Annotated[
        int,
        Meta(ge=5 * 1024 * 1024, le=5 * 1024**3),
        Setting(
            "Part size of multipart uploads in bytes, increased for objects of over 10,000 parts; smaller "
            "objects are sent in one request. A worker buffers at most slots x parts_in_flight x part_size."
        ),
    ] = 8 * 1024 * 1024
    parts_in_flight: Annotated[
        int,
        Meta(ge=2, le=64),
        Setting("Parts of one upload in memory at a time, being read or sent."),
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
