"""Every setting: its type, default, unit and reason, and who reads it.

What belongs to one fleet, handler, policy, store or broker stands in its own Struct, beside its code; its table is
`[fleets.docker]`, its variable `UPSWELL_FLEETS_DOCKER_IMAGE`.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from upswell.settings.setting import Setting

DECIDES, STARTS, WORKS = ("monitor", "up"), ("scaler", "up"), ("worker", "scaler", "up")
"""Commands that decide, that start workers, and those in which or through which workers run."""
QUEUES = ("publish", "dead", "worker", "monitor", "scaler", "up", "status", "doctor")
EVERY = "every command"

Positive = Annotated[float, Meta(gt=0, le=1e9)]
Workers = Annotated[int, Meta(ge=0, le=100_000)]
Slots = Annotated[int, Meta(ge=1, le=1000)]
Rate = Annotated[float, Meta(ge=0)]
Tables = dict[str, dict[str, Any]]


class Fields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings as they are declared; `Settings` adds what follows from them."""

    # Where things are
    broker_url: Annotated[
        str,
        Setting(
            "amqp(s)://user:password@host:port/vhost of RabbitMQ; empty: the embedded broker, a file in state_dir.",
            variable="AMQPURL",
        ),
    ] = ""
    state_dir: Annotated[
        str,
        Setting(
            "Folder of the embedded broker, the journal, the workers' logs and, by default, the store.",
            flags=(EVERY,),
            path=True,
        ),
    ] = ""
    upload_queue: Annotated[
        str,
        Meta(pattern=r"\A([A-Za-z0-9]|\{app_id\})([A-Za-z0-9_.-]|\{app_id\}){0,200}\Z"),
        Setting(
            "Queue of an application's upload requests; {app_id} is replaced. Its dead letters go to the queue of that name and .dead.",
            app=True,
            flags=QUEUES,
            form="letters, digits, '_', '.', '-' and {app_id}",
        ),
    ] = "{app_id}_upload"
    report_queue: Annotated[
        str,
        Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,200}\Z"),
        Setting(
            "Queue of upload reports, one for all applications. Two installations on one broker need two; invalid reports go to the queue of that name and .dead, scale requests to .scaling.",
            flags=("worker", *DECIDES, "scaler"),
            form="letters, digits, '_', '.' and '-'",
        ),
    ] = "upswell_report"

    # What must hold
    slo: Annotated[
        str,
        Setting(
            'The response time that must hold, from published to stored: "95% < 30s".',
            app=True,
            flags=DECIDES,
        ),
    ] = "95% < 30s"
    policy: Annotated[
        str,
        Setting(
            "What decides the number of workers: slo, slo_formula, constant, threshold, elasticity_control, rules (your own, in rules_file), a peer's rule (keda, knative, aws_backlog, dask_adaptive, celery_autoscale, flink, judoscale), or your own package.module:Class.",
            app=True,
            decides=True,
            flags=DECIDES,
        ),
    ] = "slo"
    rules_file: Annotated[
        str,
        Setting(
            'TOML file of your own rules (docs/rules.md): with policy = "rules" they alone decide, else they guard the policy; empty: none.',
            app=True,
            decides=True,
            flags=DECIDES,
            path=True,
        ),
    ] = ""
    min_workers: Annotated[
        Workers,
        Setting("Never fewer workers than this.", app=True, decides=True, flags=("scaler", *DECIDES)),
    ] = 1
    max_workers: Annotated[
        Workers,
        Setting(
            "Never more workers than this: the upper bound of the bill.",
            app=True,
            decides=True,
            flags=("scaler", *DECIDES),
        ),
    ] = 10
    standby_workers: Annotated[
        Workers,
        Setting(
            "Workers kept connected and idle beyond those desired; one message activates them, and they cost as much as the others.",
            app=True,
            decides=True,
            flags=("scaler", *DECIDES),
        ),
    ] = 0
    tolerance: Annotated[
        Annotated[float, Meta(ge=0, lt=1)] | None,
        Setting(
            "Smaller relative changes are not made: they would be noise. Not set: 0.1, and 0 for slo, whose rehearsal weighs each change.",
            app=True,
            decides=True,
            flags=DECIDES,
        ),
    ] = None
    stabilization_window: Annotated[
        Annotated[float, Meta(ge=0, le=86400)] | None,
        Setting(
            "Seconds for which the largest recent number of workers is kept before workers are drained, so that a short lull costs no restart. Not set: 60, and 0 for slo, whose rehearsal finds how long to keep them.",
            app=True,
            decides=True,
            flags=DECIDES,
        ),
    ] = None
    max_scale_out_factor: Annotated[
        float,
        Meta(ge=0, le=1000),
        Setting(
            "One decision multiplies the workers by at most this (2: doubles them), and may always add one; 0: no limit.",
            app=True,
            decides=True,
            flags=DECIDES,
        ),
    ] = 0.0
    max_scale_in_share: Annotated[
        float,
        Meta(gt=0, le=1),
        Setting(
            "One decision drains at most this share of the workers, and may always drain one; 1: no limit.",
            app=True,
            decides=True,
            flags=DECIDES,
        ),
    ] = 1.0
    bottleneck_check: Annotated[
        bool,
        Setting(
            "Whether scaling out stops, and goes back, where more workers were measured to bring no more throughput, or every attempt fails.",
            app=True,
            decides=True,
            flags=DECIDES,
        ),
    ] = True
    priority: Annotated[
        int,
        Meta(ge=-1000, le=1000),
        Setting(
            "Where max_workers_total is short, applications of higher priority get their workers first.",
            app=True,
        ),
    ] = 0
    price_per_worker_hour: Annotated[
        float,
        Meta(ge=0, le=1e6),
        Setting(
            "Price of one worker for an hour, in your currency, for status and journal; 0: worker-hours are shown without a price.",
            app=True,
            decides=True,
            flags=DECIDES,
        ),
    ] = 0.0

    # The worker
    slots: Annotated[
        Slots | Literal["auto"],
        Setting(
            'Uploads that one worker runs at once, and its prefetch count; "auto": from 4 up to max_slots, as long as more slots bring more throughput.',
            app=True,
            decides=True,
            flags=(*WORKS, "monitor"),
            form='a whole number from 1 to 1000, or "auto"',
        ),
    ] = 4
    max_slots: Annotated[
        Slots,
        Setting(
            'The most slots that slots = "auto" may find; the parts of that many uploads must fit into memory.',
            app=True,
        ),
    ] = 32
    handler: Annotated[
        str,
        Setting(
            "What a worker does with a request: upload, simulate, or your own package.module:function.",
            app=True,
            flags=(*WORKS, "publish", "upload"),
        ),
    ] = "upload"
    destination: Annotated[
        str,
        Setting(
            "Where uploads go: a folder, file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; empty: store/ in state_dir.",
            app=True,
            flags=(*WORKS, "publish", "doctor"),
            path=True,
        ),
    ] = ""
    on_conflict: Annotated[
        Literal["overwrite", "skip", "fail"],
        Setting(
            "What happens where an upload's key already holds other bytes: overwrite them, skip the upload and keep them, or fail it for good.",
            app=True,
            flags=("upload",),
        ),
    ] = "overwrite"
    source_roots: Annotated[
        list[str],
        Setting(
            "Folders that file:// sources must be in; none: no file is ever read.",
            app=True,
            flags=(*WORKS, "publish", "doctor"),
            path=True,
            separator=os.pathsep,
        ),
    ] = []
    source_origins: Annotated[
        list[str],
        Setting(
            "Web servers that http(s):// sources may come from: https://example.org, https://*.example.org, http://host:8080, https://*; none: nothing is ever fetched.",
            app=True,
            flags=WORKS,
            separator=",",
        ),
    ] = []
    source_networks: Annotated[
        list[str],
        Setting(
            "Private networks that may be fetched from nevertheless: 10.1.0.0/16, fd00::/8. Whatever a name resolves to, no other private address is connected to.",
            app=True,
            flags=WORKS,
            separator=",",
        ),
    ] = []
    source_stores: Annotated[
        list[str],
        Setting(
            "s3://, gs:// and az:// prefixes that object sources must be below (in the variable: separated by spaces); none: no object is ever read.",
            app=True,
            separator=" ",
        ),
    ] = []
    store_endpoint: Annotated[
        str,
        Setting(
            "http(s)://host:port of a store other than its vendor's own (MinIO, Ceph, R2, an emulator), for destinations and sources; empty: the vendor's.",
            app=True,
        ),
    ] = ""
    store_region: Annotated[
        str,
        Meta(pattern=r"\A[A-Za-z0-9-]{0,64}\Z"),
        Setting(
            "Region of the S3 bucket; empty: AWS_REGION, else us-east-1.",
            app=True,
            form="letters, digits and '-'",
        ),
    ] = ""
    verify: Annotated[
        Literal["checksum", "length", "read"],
        Setting(
            "How an upload into an object store is verified: the store checks every part (CRC), else its ETag is the MD5, where it is none the length over TLS, else the object is read back; only its length; always by reading it back.",
            app=True,
        ),
    ] = "checksum"
    upload_timeout: Annotated[
        Positive,
        Setting(
            "Seconds after which one upload is stopped and tried again.", app=True, flags=("worker", "upload")
        ),
    ] = 900.0
    drain_timeout: Annotated[
        float,
        Meta(ge=0, le=86400),
        Setting(
            "Seconds that a draining worker lets its uploads finish before it stops them and puts them back for another worker, not counted as an attempt; shorter than the grace period of whatever would kill it. 0: as long as they take.",
            app=True,
            flags=("worker",),
        ),
    ] = 0.0
    upload_rate_limit: Annotated[
        Rate,
        Setting(
            "The most bytes per second that one worker uploads; 0: no limit.",
            app=True,
            flags=(*WORKS, "upload"),
        ),
    ] = 0.0
    app_rate_limit: Annotated[
        Rate,
        Setting(
            "The most bytes per second that all workers of an application upload together, in equal shares per upload; 0: no limit.",
            app=True,
            flags=("worker",),
        ),
    ] = 0.0
    delivery_limit: Annotated[
        int,
        Meta(ge=1, le=1000),
        Setting("Attempts at one upload before it is dead-lettered.", app=True, flags=("worker", "upload")),
    ] = 5
    retry_backoff: Annotated[
        float,
        Meta(ge=0, le=3600),
        Setting(
            "Seconds before the second attempt; doubled for each further one, with jitter, up to 30 s.",
            app=True,
            flags=("worker",),
        ),
    ] = 0.5
    status_interval: Annotated[
        Positive, Setting("Seconds between two status messages of a worker.", app=True)
    ] = 1.0

    # The monitor
    decision_interval: Annotated[
        Positive, Setting("Seconds between two decisions.", decides=True, flags=DECIDES)
    ] = 2.0
    window: Annotated[
        Positive,
        Setting("Seconds of recent reports that a decision is based on.", decides=True, flags=DECIDES),
    ] = 60.0
    max_workers_total: Annotated[
        int,
        Meta(ge=0, le=10_000_000),
        Setting(
            "Never more workers than this in all applications together, standby_workers included; minimums come first. 0: no limit.",
            flags=DECIDES,
        ),
    ] = 0
    journal_max_bytes: Annotated[
        int, Meta(ge=1_000_000), Setting("Size at which the journal drops its oldest entries.")
    ] = 100_000_000

    # The scaler
    fleet: Annotated[
        str,
        Setting(
            "What workers run as: process, docker, or your own package.module:Class.",
            flags=(*STARTS, "doctor"),
        ),
    ] = "process"
    worker_variables: Annotated[
        list[Annotated[str, Meta(pattern=r"\A([A-Za-z_][A-Za-z0-9_]*\*?|\*)\Z")]],
        Setting(
            "Environment variables that workers get from their scaler, besides their settings and the stores' credentials (AWS_*, AZURE_*, GOOGLE_*): names, or beginnings with * (in the variable: separated by spaces). For what your own handler needs, such as PG*.",
            app=True,
            separator=" ",
            form="names of variables, or beginnings with *",
        ),
    ] = []
    start_timeout: Annotated[
        Positive,
        Setting(
            "Seconds in which a started worker must report its state, or it counts as crashed.", flags=STARTS
        ),
    ] = 60.0

    # Output
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Setting("Least severe log event that is printed.", flags=(EVERY,)),
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"], Setting("key=value lines or JSON, on standard error.", flags=(EVERY,))
    ] = "text"

    # Tables
    apps: Annotated[
        Tables,
        Setting(
            "Applications that may be scaled, each with its own settings. Any other is observed, and never started."
        ),
    ] = {}
    brokers: Annotated[Tables, Setting("What belongs to one broker: [brokers.rabbitmq].")] = {}
    fleets: Annotated[Tables, Setting("What belongs to one fleet: [fleets.docker].", app=True)] = {}
    handlers: Annotated[Tables, Setting("What belongs to one handler: [handlers.simulate].", app=True)] = {}
    policies: Annotated[
        Tables, Setting("What belongs to one policy: [policies.keda].", app=True, decides=True)
    ] = {}
    stores: Annotated[Tables, Setting("What belongs to sources and stores: [stores.http].", app=True)] = {}


REMOVED = {
    "connect_timeout": "use stores.http.connect_timeout",
    "consumer_timeout": "use brokers.rabbitmq.consumer_timeout",
    "management_url": "use brokers.rabbitmq.management_url",
    "max_source_bytes": "use stores.http.max_bytes",
    "min_throughput": "use stores.http.min_throughput",
    "part_size": "use stores.objects.part_size",
    "parts_in_flight": "use stores.objects.parts_in_flight",
    "read_timeout": "use stores.http.read_timeout",
    "source_downgrade": "use stores.http.allow_downgrade",
    "store_addressing": "use stores.objects.addressing",
    "store_allow_http": "use stores.objects.allow_http",
    "store_anonymous": "use stores.objects.anonymous",
    "store_timeout": "use stores.objects.timeout",
    "auto_slots": 'use slots = "auto"',
    "docker_network": "use fleets.docker.network",
    "image": "use fleets.docker.image",
    "scaling_queue": "its name follows report_queue",
    "simulate_seconds": "use handlers.simulate.seconds",
}
"""Settings of earlier versions, and what replaces each."""
