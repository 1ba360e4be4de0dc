"""Every setting: its default, unit, rule and reason."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Positive = Annotated[float, Meta(gt=0, le=1e9)]
Workers = Annotated[int, Meta(ge=0, le=100_000)]
Name = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,200}\Z")]


class Fields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings, each with its reason; `upswell config check` prints them with their origins."""

    # Where things are
    broker_url: Annotated[
        str,
        Meta(
            description="amqp(s)://user:password@host:port/vhost of RabbitMQ; empty: the embedded broker, a file in state_dir."
        ),
    ] = ""
    management_url: Annotated[
        str,
        Meta(
            description="http(s):// of RabbitMQ's management API, the only place that tells unacknowledged messages of workers written by others; empty: not asked."
        ),
    ] = ""
    state_dir: Annotated[
        str,
        Meta(
            description="Folder of the embedded broker, the journal, worker logs and, by default, the store."
        ),
    ] = ""
    report_queue: Annotated[Name, Meta(description="Queue of upload reports, one for all applications.")] = (
        "upswell_report"
    )
    scaling_queue: Annotated[
        Name, Meta(description="Queue of scale requests from the monitor to the scaler.")
    ] = "upswell_scaling"

    # What must hold (per application)
    slo: Annotated[
        str, Meta(description='The response time that must hold, published to stored: "95% < 30s".')
    ] = "95% < 30s"
    policy: Annotated[
        str,
        Meta(
            description="Who decides the number of workers: slo, slo_formula, constant, threshold, elasticity_control, rules (your own, in rules_file), or a peer's rule: keda, knative, aws_backlog, dask_adaptive, celery_autoscale, flink, judoscale."
        ),
    ] = "slo"
    rules_file: Annotated[
        str,
        Meta(
            description='TOML file of rules of your own (docs/rules.md): with policy = "rules" they decide alone, else they guard the policy; empty: none.'
        ),
    ] = ""
    min_workers: Annotated[Workers, Meta(description="Never fewer workers than this.")] = 1
    max_workers: Annotated[
        Workers, Meta(description="Never more workers than this: the bill's upper bound.")
    ] = 10
    standby_workers: Annotated[
        Workers,
        Meta(
            description="Workers kept connected and idle beyond those desired; activated by one message, billed like the others."
        ),
    ] = 0
    tolerance: Annotated[
        Annotated[float, Meta(ge=0, lt=1)] | None,
        Meta(
            description="A relative change smaller than this is not made: it would be noise. Not set: 0.1, and 0 around slo, whose rehearsal weighs each change."
        ),
    ] = None
    stabilization_window: Annotated[
        Annotated[float, Meta(ge=0, le=86400)] | None,
        Meta(
            description="Seconds over which the largest recent wish holds before workers are drained, so that a short lull costs no restart. Not set: 60, and 0 around slo, whose rehearsal finds how long to keep them.",
        ),
    ] = None

    max_scale_out_factor: Annotated[
        float,
        Meta(
            ge=0,
            le=1000,
            description="One decision multiplies the workers by this at most (2: doubles them), always allowing one more; 0: no limit, what is needed comes at once.",
        ),
    ] = 0.0
    max_scale_in_share: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="One decision lets go this share of the workers at most, always allowing one; 1: no limit.",
        ),
    ] = 1.0
    bottleneck_check: Annotated[
        bool,
        Meta(
            description="Whether scaling out stops, and goes back, where more workers were measured to bring no more throughput, or every attempt fails."
        ),
    ] = True
    priority: Annotated[
        int,
        Meta(
            ge=-1000,
            le=1000,
            description="Where max_workers_total is short, applications of a higher priority get what they want first.",
        ),
    ] = 0
    price_per_worker_hour: Annotated[
        float,
        Meta(
            ge=0,
            le=1e6,
            description="What one worker costs an hour, in your currency, for status and journal; 0: worker-hours are shown, no price.",
        ),
    ] = 0.0

    # The worker (per application)
    slots: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description='Uploads that one worker runs at once, and its prefetch count; "auto": begin with the default and set auto_slots.',
        ),
    ] = 4
    auto_slots: Annotated[
        bool,
        Meta(
            description='Whether a worker finds the number of its slots by itself, from slots on: more as long as more is moved. slots = "auto" sets it.'
        ),
    ] = False
    max_slots: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="The most slots that auto_slots may find; its uploads' parts must fit into memory.",
        ),
    ] = 32
    handler: Annotated[
        str,
        Meta(
            description="What a worker does with a request: upload, simulate, or your own package.module:function."
        ),
    ] = "upload"
    destination: Annotated[
        str,
        Meta(
            description="Where uploads go: a folder, file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; empty: store/ in state_dir."
        ),
    ] = ""
    on_conflict: Annotated[
        Literal["overwrite", "skip", "fail"],
        Meta(
            description="What happens when other bytes are there under an upload's key: overwrite them, skip the upload and leave them, or fail it for good."
        ),
    ] = "overwrite"
    source_roots: Annotated[
        list[str],
        Meta(description="Folders below which file:// sources may lie; none: no file is ever read."),
    ] = []
    source_origins: Annotated[
        list[str],
        Meta(
            description="Web servers that http(s):// sources may come from: https://example.org, https://*.example.org, http://host:8080, https://*; none: nothing is ever fetched."
        ),
    ] = []
    source_networks: Annotated[
        list[str],
        Meta(
            description="Networks that are not public and may be fetched from all the same: 10.1.0.0/16, fd00::/8. Whatever a name resolves to, no other such address is connected to."
        ),
    ] = []
    source_downgrade: Annotated[bool, Meta(description="Whether a redirect may lead from https to http.")] = (
        False
    )
    max_source_bytes: Annotated[
        int,
        Meta(
            ge=1,
            description="Bytes that an http(s):// source may have, told or not; a larger one is refused for good. Default: the largest object of S3.",
        ),
    ] = 5 * 1024**4
    connect_timeout: Annotated[
        Positive, Meta(description="Seconds that connecting to a web server may take, and its TLS handshake.")
    ] = 10.0
    read_timeout: Annotated[
        Positive,
        Meta(
            description="Seconds of silence after which a web server is given up; its headers must all come in them."
        ),
    ] = 30.0
    min_throughput: Annotated[
        float,
        Meta(
            ge=0,
            description="Bytes per second that a web server must send over 30 s of waiting for it, or its upload is tried again later; 0: any.",
        ),
    ] = 1024.0
    source_stores: Annotated[
        list[str],
        Meta(
            description="s3://, gs:// and az:// prefixes below which sources may lie (in the variable: separated by spaces); none: no object is ever read."
        ),
    ] = []
    store_endpoint: Annotated[
        str,
        Meta(
            description="http(s)://host:port of a store that is not its vendor's own (MinIO, Ceph, R2, an emulator), for destinations and sources; empty: the vendor's."
        ),
    ] = ""
    store_region: Annotated[
        str,
        Meta(
            pattern=r"\A[A-Za-z0-9-]{0,64}\Z",
            description="Region of the S3 bucket; empty: AWS_REGION, else us-east-1.",
        ),
    ] = ""
    store_addressing: Annotated[
        Literal["path", "virtual"],
        Meta(description="Where an S3 bucket's name stands in a URL: in the path, or before the host."),
    ] = "path"
    store_allow_http: Annotated[
        bool, Meta(description="Whether store_endpoint may be http:// on another machine than this one.")
    ] = False
    store_anonymous: Annotated[
        bool, Meta(description="Whether requests to stores carry no credentials: for public buckets.")
    ] = False
    store_timeout: Annotated[
        Positive,
        Meta(
            description="Seconds that one request to a store may take; with part_size it is the least throughput of a connection."
        ),
    ] = 120.0
    part_size: Annotated[
        int,
        Meta(
            ge=5 * 1024 * 1024,
            le=5 * 1024**3,
            description="Bytes of one part of a multipart upload, more for objects over 10,000 parts; what is no larger is sent in one request. A worker's buffers hold at most slots x parts_in_flight x part_size.",
        ),
    ] = 8 * 1024 * 1024
    parts_in_flight: Annotated[
        int,
        Meta(
            ge=2,
            le=64,
            description="Parts of one upload that are in memory at once, under way or being read.",
        ),
    ] = 4
    verify: Annotated[
        Literal["checksum", "length", "read"],
        Meta(
            description="How an arrival in an object store is proven: the store's checksum (MD5 in its ETag), where it has none the length over TLS, else the object is read back; only its length; always by reading it back."
        ),
    ] = "checksum"
    upload_timeout: Annotated[
        Positive, Meta(description="Seconds after which one upload is given up and tried again.")
    ] = 900.0
    drain_timeout: Annotated[
        float,
        Meta(
            ge=0,
            le=86400,
            description="Seconds that a draining worker lets its uploads finish before it stops them and puts them back, uncounted, for another; below the grace period of whoever would kill it. 0: as long as they take.",
        ),
    ] = 0.0
    consumer_timeout: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds that RabbitMQ lets a worker hold a message: its own consumer_timeout, told to Upswell because it cannot be asked; uploads must end sooner. 0: no limit.",
        ),
    ] = 1800.0
    upload_rate_limit: Annotated[
        float, Meta(ge=0, description="Bytes per second that one worker uploads at most; 0: no limit.")
    ] = 0.0
    app_rate_limit: Annotated[
        float,
        Meta(
            ge=0,
            description="Bytes per second that all workers of an application upload at most, each upload an equal share; 0: no limit.",
        ),
    ] = 0.0
    delivery_limit: Annotated[
        int, Meta(ge=1, le=1000, description="Attempts at one upload before it is dead-lettered.")
    ] = 5
    retry_backoff: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Seconds before the second attempt; doubled for each further one, with jitter, up to 30 s.",
        ),
    ] = 0.5
    simulate_seconds: Annotated[
        str,
        Meta(
            pattern=r"\A\d+(\.\d+)?(-\d+(\.\d+)?)?\Z",
            description="How long the simulate handler takes: a number, or a range like 30-60.",
        ),
    ] = "30-60"
    status_interval: Annotated[
        Positive, Meta(description="Seconds between two status messages of a worker.")
    ] = 1.0

    # The monitor
    decision_interval: Annotated[Positive, Meta(description="Seconds between two decisions.")] = 2.0
    window: Annotated[
        Positive, Meta(description="Seconds of recent reports that a decision is made from.")
    ] = 60.0
    max_workers_total: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000_000,
            description="Never more workers than this in all applications together, standby_workers among them, minimums first. 0: no limit.",
        ),
    ] = 0
    journal_max_bytes: Annotated[
        int, Meta(ge=1_000_000, description="Size at which the journal forgets its oldest entries.")
    ] = 100_000_000

    # The scaler
    fleet: Annotated[Literal["process", "docker"], Meta(description="What workers run as.")] = "process"
    image: Annotated[
        str,
        Meta(description="Docker image of an application's workers; {app_id} is replaced (per application)."),
    ] = "{app_id}_worker_container/dst2018:0.1"
    worker_variables: Annotated[
        list[Annotated[str, Meta(pattern=r"\A([A-Za-z_][A-Za-z0-9_]*\*?|\*)\Z")]],
        Meta(
            description="Environment variables that started workers get from their scaler, besides their settings and the stores' credentials (AWS_*, AZURE_*, GOOGLE_*): names, or beginnings with * (in the variable: separated by spaces). For what your own handler needs, such as PG*."
        ),
    ] = []
    docker_network: Annotated[Name, Meta(description="Docker network of the workers.")] = "host"
    start_timeout: Annotated[
        Positive,
        Meta(
            description="Seconds within which a started worker must have reported its state, or it counts as crashed."
        ),
    ] = 60.0

    # Output
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Least severe log event that is printed."),
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"], Meta(description="key=value lines or JSON, on standard error.")
    ] = "text"

    # Applications
    apps: Annotated[
        dict[str, dict[str, Any]],
        Meta(
            description="Applications that may be scaled, each with its own settings. One that is not here is observed, never started."
        ),
    ] = {}


PER_APP = frozenset(
    {
        "slo", "policy", "rules_file", "min_workers", "max_workers", "standby_workers", "tolerance", "stabilization_window",
        "slots", "auto_slots", "max_slots", "app_rate_limit", "handler", "destination", "on_conflict", "source_stores", "store_endpoint", "store_region", "store_addressing", "store_allow_http",
        "store_anonymous", "store_timeout", "part_size", "parts_in_flight", "verify", "source_roots", "upload_timeout", "drain_timeout", "upload_rate_limit",
        "source_origins", "source_networks", "source_downgrade", "max_source_bytes", "connect_timeout", "read_timeout",
        "min_throughput", "delivery_limit", "retry_backoff", "simulate_seconds", "status_interval", "image", "worker_variables",
        "max_scale_out_factor", "max_scale_in_share", "bottleneck_check", "priority", "price_per_worker_hour",
    }
)  # fmt: skip
"""The settings that an application's own table may hold."""

ENVIRONMENT = {"broker_url": "AMQPURL"}
"""Settings whose environment variable has a name of its own; the others are UPSWELL_ and their name in capitals."""


LISTS = {
    "source_roots": os.pathsep, "source_stores": " ", "source_origins": ",", "source_networks": ",",
    "worker_variables": " ",
}  # fmt: skip
"""Settings that are lists, and what parts their values in a variable."""


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return ENVIRONMENT.get(name, f"UPSWELL_{name.upper()}")
