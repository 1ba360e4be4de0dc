"""Every setting: its type, default, unit and purpose, and the commands that read it.

Settings of one fleet, handler, policy, store or broker are declared beside its code; their table is
`[fleets.docker]`, their variable `UPSWELL_FLEETS_DOCKER_IMAGE`.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from upswell.settings.setting import Setting

DECIDES, STARTS, WORKS = ("monitor", "up"), ("scaler", "up"), ("worker", "scaler", "up")
"""Commands that decide, that start workers, and that run workers themselves or through a fleet."""
QUEUES = (
    "publish",
    "dead",
    "purge",
    "cancel",
    "worker",
    "monitor",
    "scaler",
    "up",
    "status",
    "top",
    "doctor",
)
EVERY = "every command"

Positive = Annotated[float, Meta(gt=0, le=1e9)]
Seconds = Annotated[float, Meta(ge=0, le=1e6)]
Workers = Annotated[int, Meta(ge=0, le=100_000)]
Slots = Annotated[int, Meta(ge=1, le=1000)]
Rate = Annotated[float, Meta(ge=0)]
Tables = dict[str, dict[str, Any]]


def _deciding(text: str, **more: Any) -> Setting:
    """Return a setting of each application that decisions depend on; a flag of the commands that decide."""
    return Setting(text, app=True, decides=True, flags=DECIDES, **more)


class Fields(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The declared settings; `Settings` adds what is derived from them."""

    # Where things are
    broker_url: Annotated[
        str,
        Setting(
            "URL of RabbitMQ, amqp(s)://user:password@host:port/vhost, of a cluster with several host:port behind commas; reserved characters in the password are percent-encoded ('/' as %2F). Empty: the embedded broker, a file in state_dir.",
            url=True,
            variable="AMQPURL",
        ),
    ] = ""
    state_dir: Annotated[
        str,
        Setting(
            "Folder for the embedded broker, the journal, the workers' logs and, by default, the stored files.",
            flags=(EVERY,),
            path=True,
        ),
    ] = ""
    upload_queue: Annotated[
        str,
        Meta(pattern=r"\A([A-Za-z0-9]|\{app_id\})([A-Za-z0-9_.-]|\{app_id\}){0,200}\Z"),
        Setting(
            "Queue of an application's upload requests; {app_id} is replaced. Dead letters go to the queue of the same name plus .dead.",
            app=True,
            flags=QUEUES,
            form="letters, digits, '_', '.', '-' and {app_id}",
        ),
    ] = "{app_id}_upload"
    report_queue: Annotated[
        str,
        Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,200}\Z"),
        Setting(
            "Queue of upload reports, shared by all applications. Two installations on one broker need different names. Invalid reports go to the same name plus .dead, scale requests to the same name plus .scaling.",
            flags=("worker", *DECIDES, "scaler", "keda"),
            form="letters, digits, '_', '.' and '-'",
        ),
    ] = "upswell_report"

    # What must hold
    slo: Annotated[
        str,
        Setting(
            'Response-time objective, from publishing to stored: "95% < 30s".',
            app=True,
            flags=DECIDES,
        ),
    ] = "95% < 30s"
    policy: Annotated[
        str,
        _deciding(
            "Policy that decides the number of workers: slo, slo_formula, constant, threshold, elasticity_control, rules (yours, from rules_file), another autoscaler's rule (keda, knative, aws_backlog, dask_adaptive, celery_autoscale, flink, judoscale), or your own package.module:Class."
        ),
    ] = "slo"
    rules_file: Annotated[
        str,
        _deciding(
            'TOML file with your own rules (docs/rules.md). With policy = "rules" they decide alone, otherwise they guard the policy. Empty: no rules.',
            path=True,
        ),
    ] = ""
    min_workers: Annotated[
        Workers,
        Setting("Minimum number of workers.", app=True, decides=True, flags=("scaler", "keda", *DECIDES)),
    ] = 1
    max_workers: Annotated[
        Workers,
        Setting(
            "Maximum number of workers: this caps the cost. Workers told to leave, which still finish their uploads, come on top; with them never more than twice as many run.",
            app=True,
            decides=True,
            flags=("scaler", "keda", *DECIDES),
        ),
    ] = 10
    standby_workers: Annotated[
        Workers | Literal["auto"],
        Setting(
            'Extra workers kept connected but idle. One message activates them; they cost as much as other workers. "auto": as many as slo finds worth their cost in rehearsal.',
            form='a whole number >= 0, or "auto"',
            app=True,
            decides=True,
            flags=("scaler", "keda", *DECIDES),
        ),
    ] = 0
    tolerance: Annotated[
        Annotated[float, Meta(ge=0, lt=1)] | None,
        _deciding(
            "Relative changes up to this size are ignored as noise. Not set: 0.1, or 0 for slo, whose rehearsal weighs each change."
        ),
    ] = None
    stabilization_window: Annotated[
        Annotated[float, Meta(ge=0, le=86400)] | None,
        _deciding(
            "Scale in only to the largest number of workers needed in this many seconds, so that a short lull does not cause restarts. Not set: 60, or 0 for slo, whose rehearsal chooses how long to keep workers."
        ),
    ] = None
    max_scale_out_factor: Annotated[
        float,
        Meta(ge=0, le=1000),
        _deciding(
            "A decision multiplies the number of workers by at most this (2: doubles it), and may always add one. 0: no limit."
        ),
    ] = 0.0
    max_scale_in_share: Annotated[
        float,
        Meta(gt=0, le=1),
        _deciding(
            "A decision drains at most this share of the workers, and may always drain one. 1: no limit."
        ),
    ] = 1.0
    bottleneck_check: Annotated[
        bool,
        _deciding(
            "Whether to stop and undo scaling out when measurements show that more workers bring no more throughput, or when every attempt fails."
        ),
    ] = True
    priority: Annotated[
        int,
        Meta(ge=-1000, le=1000),
        Setting(
            "When max_workers_total is not enough for all, applications with a higher priority get their workers first.",
            app=True,
        ),
    ] = 0
    start_cost: Annotated[
        Seconds | Literal["auto"],
        _deciding(
            'Seconds of a worker that a start costs beyond the time it takes: processor, image, a pod\'s life. The slo policy weighs it against idle workers, so a fleet that starts fast stays calm. "auto": what the newest workers took of a processor until they were ready (the median), and as much again for those who start and stop them; 0.8 before one has told.',
            form='a number of seconds from 0 to 1000000, or "auto"',
        ),
    ] = "auto"
    price_per_worker_hour: Annotated[
        float,
        Meta(ge=0, le=1e6),
        _deciding(
            "Price of one worker per hour, used by status, report and the journal. 0: show worker-hours without a price."
        ),
    ] = 0.0
    currency: Annotated[
        str,
        Meta(pattern=r"\A[A-Z]{3}\Z"),
        Setting(
            "Currency of price_per_worker_hour, shown behind each amount.",
            app=True,
            form="three capital letters, such as EUR",
        ),
    ] = "USD"

    # The worker
    slots: Annotated[
        Slots | Literal["auto"],
        Setting(
            'Uploads that one worker runs concurrently, also its prefetch count. "auto": starts at 4 and grows up to max_slots while throughput grows.',
            app=True,
            decides=True,
            flags=(*WORKS, "monitor"),
            form='a whole number from 1 to 1000, or "auto"',
        ),
    ] = 4
    max_slots: Annotated[
        Slots,
        Setting(
            'Upper limit for slots = "auto"; the parts of that many uploads must fit into memory.',
            app=True,
        ),
    ] = 32
    handler: Annotated[
        str,
        Setting(
            "Handler that processes a request: upload, simulate, or your own package.module:function.",
            app=True,
            flags=(*WORKS, "publish", "upload"),
        ),
    ] = "upload"
    destination: Annotated[
        str,
        Setting(
            "Where uploads are stored: a folder, file:///folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; {app_id} is replaced. Applications that share a place overwrite each other's objects of the same key. Empty: store/{app_id} in state_dir.",
            app=True,
            flags=(*WORKS, "publish", "doctor"),
            path=True,
        ),
    ] = ""
    on_conflict: Annotated[
        Literal["overwrite", "skip", "fail"],
        Setting(
            "What to do when the key already exists with different content: overwrite it, skip the upload, or fail permanently.",
            app=True,
            flags=("upload",),
        ),
    ] = "overwrite"
    source_roots: Annotated[
        list[str],
        Setting(
            "Folders from which file:// sources may be read. Empty: no files are read.",
            app=True,
            flags=(*WORKS, "publish", "doctor"),
            path=True,
            separator=os.pathsep,
        ),
    ] = []
    source_origins: Annotated[
        list[str],
        Setting(
            "Origins from which http(s):// sources may be fetched: https://example.org, https://*.example.org, http://host:8080, https://*. Empty: nothing is fetched.",
            app=True,
            flags=WORKS,
            separator=",",
        ),
    ] = []
    source_networks: Annotated[
        list[str],
        Setting(
            "Private networks from which sources may be fetched: 10.1.0.0/16, fd00::/8. Connections to other private addresses are refused, whatever name resolves to them.",
            app=True,
            flags=WORKS,
            separator=",",
        ),
    ] = []
    source_stores: Annotated[
        list[str],
        Setting(
            "s3://, gs:// and az:// prefixes from which objects may be read (in the variable: separated by spaces). Empty: no objects are read.",
            app=True,
            separator=" ",
        ),
    ] = []
    store_endpoint: Annotated[
        str,
        Setting(
            "http(s)://host:port of an S3, GCS or Azure compatible store (MinIO, Ceph, R2, an emulator), for destinations and sources. Empty: for S3 AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL; otherwise the vendor's own endpoint.",
            app=True,
        ),
    ] = ""
    store_region: Annotated[
        str,
        Meta(pattern=r"\A[A-Za-z0-9-]{0,64}\Z"),
        Setting(
            "Region of the S3 bucket. Empty: AWS_REGION or AWS_DEFAULT_REGION, otherwise us-east-1.",
            app=True,
            form="letters, digits and '-'",
        ),
    ] = ""
    verify: Annotated[
        Literal["checksum", "length", "read"],
        Setting(
            "How an upload to an object store is verified. checksum: the store checks each part (CRC); otherwise its ETag must be the MD5; otherwise the length over TLS; otherwise the object is read back. length: only the length. read: always read back.",
            app=True,
        ),
    ] = "checksum"
    upload_timeout: Annotated[
        Positive,
        Setting(
            "Seconds after which an upload is stopped and retried.", app=True, flags=("worker", "upload")
        ),
    ] = 900.0
    drain_timeout: Annotated[
        float,
        Meta(ge=0, le=86400),
        Setting(
            "Seconds that a draining worker waits for its uploads before it stops and requeues them for another worker, which does not count as an attempt. Choose less than the grace period of whatever stops workers. 0: wait until they finish.",
            app=True,
            flags=("worker",),
        ),
    ] = 0.0
    upload_rate_limit: Annotated[
        Rate,
        Setting(
            "Maximum bytes per second of one worker. 0: no limit.",
            app=True,
            flags=(*WORKS, "upload"),
        ),
    ] = 0.0
    app_rate_limit: Annotated[
        Rate,
        Setting(
            "Maximum bytes per second of all workers of an application together, shared equally among uploads. 0: no limit.",
            app=True,
            flags=("worker",),
        ),
    ] = 0.0
    delivery_limit: Annotated[
        int,
        Meta(ge=1, le=1000),
        Setting("Attempts before an upload is dead-lettered.", app=True, flags=("worker", "upload")),
    ] = 5
    retry_backoff: Annotated[
        float,
        Meta(ge=0, le=3600),
        Setting(
            "Seconds before the second attempt; doubles with each further attempt, with jitter, up to 30 s.",
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
            "Maximum number of workers of all applications together, including standby_workers; the min_workers are served first. 0: no limit.",
            flags=DECIDES,
        ),
    ] = 0
    webhook_url: Annotated[
        str,
        Meta(pattern=r"\A(https?://[A-Za-z0-9.-]+(:\d{1,5})?(/[\x21-\x7e]*)?)?\Z", max_length=2000),
        Setting(
            "URL that the monitor posts a JSON notice to when an alarm comes or goes, uploads are dead-lettered, or the objective is missed (docs/webhook.md). Empty: none.",
            form="an http:// or https:// URL without user and password, or empty",
            secret=True,
        ),
    ] = ""
    webhook_headers: Annotated[
        list[Annotated[str, Meta(pattern=r"\A[A-Za-z0-9-]+:[\x20-\x7e]*\Z")]],
        Setting(
            "Headers of each notice, such as an Authorization (in the variable: one a line).",
            separator="\n",
            form='a list of "Name: value"',
            secret=True,
        ),
    ] = []
    dashboard_token: Annotated[
        str,
        Meta(pattern=r"\A[\x21-\x7e]{0,200}\Z"),
        Setting(
            "Token that whoever changes anything on the dashboard must give, at least 16 characters; behind another address than loopback whoever looks, too. Empty: a new one at each start, which is printed.",
            form="printable ASCII characters without spaces",
            secret=True,
        ),
    ] = ""
    journal_max_bytes: Annotated[
        int, Meta(ge=1_000_000), Setting("Size in bytes at which the journal drops its oldest entries.")
    ] = 100_000_000

    # The scaler
    fleet: Annotated[
        str,
        Setting(
            "How workers run: process, docker, swarm, kubernetes, or your own package.module:Class.",
            flags=(*STARTS, "doctor"),
        ),
    ] = "process"
    worker_variables: Annotated[
        list[Annotated[str, Meta(pattern=r"\A([A-Za-z_][A-Za-z0-9_]*\*?|\*)\Z")]],
        Setting(
            "Environment variables that the scaler passes to workers, in addition to settings and store credentials (AWS_*, AZURE_*, GOOGLE_*): names, or prefixes with * such as PG* (in the variable: separated by spaces).",
            app=True,
            separator=" ",
            form="names of variables, or prefixes with *",
        ),
    ] = []
    start_timeout: Annotated[
        Positive,
        Setting(
            "Seconds within which a started worker must report its state; otherwise it counts as crashed.",
            flags=(*STARTS, "keda"),
        ),
    ] = 60.0

    # KEDA
    keda_listen: Annotated[
        str,
        Meta(pattern=r"\A([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}\Z"),
        Setting(
            "Address that upswell keda answers KEDA at. In a pod: 0.0.0.0:6000.",
            flags=("keda",),
            form="host:port, such as 127.0.0.1:6000 or [::]:6000",
        ),
    ] = "127.0.0.1:6000"
    keda_tls_certificate: Annotated[
        str,
        Setting(
            "File with the certificate (PEM, with its chain) that upswell keda shows to KEDA; read again at each connection. Empty: no TLS.",
            flags=("keda",),
            path=True,
        ),
    ] = ""
    keda_tls_key: Annotated[
        str,
        Setting("File with the key (PEM) of keda_tls_certificate.", flags=("keda",), path=True),
    ] = ""
    keda_tls_client_ca: Annotated[
        str,
        Setting(
            "File with the certificates (PEM) of which one must have signed KEDA's own. Empty: any client is answered.",
            flags=("keda",),
            path=True,
        ),
    ] = ""
    keda_unready_seconds: Annotated[
        float,
        Meta(ge=0, le=600),
        Setting(
            "Seconds from a worker's being idle at rest to its pod's showing as not ready, and so to KEDA's seeing a smaller number. At least the readiness probe's period times its failure threshold, and a second for Kubernetes.",
            flags=("keda",),
        ),
    ] = 4.0

    # Output
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Setting("Lowest severity of log events that are printed.", flags=(EVERY,)),
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"],
        Setting("Format of log events on standard error: key=value lines or JSON.", flags=(EVERY,)),
    ] = "text"

    # Metrics
    metrics: Annotated[
        str,
        Meta(pattern=r"\A((\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):)?\d{1,5}\Z|\A\Z"),
        Setting(
            "Address on which this process serves metrics for Prometheus, health and readiness (docs/metrics.md): host:port, or a port on 127.0.0.1. Empty: none. Workers that the scaler starts get worker_metrics instead.",
            flags=("worker", *DECIDES, "scaler"),
            form="host:port, a port, or empty",
        ),
    ] = ""
    worker_metrics: Annotated[
        str,
        Meta(pattern=r"\A((\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):)?\d{1,5}\Z|\A\Z"),
        Setting(
            "The same for workers that the scaler starts, such as 0.0.0.0:9464 in containers. On one machine only the first worker gets the address; the others say so and work without.",
            app=True,
            form="host:port, a port, or empty",
        ),
    ] = ""
    metrics_apps: Annotated[
        int,
        Meta(ge=0, le=100_000),
        Setting(
            "Applications with metrics of their own, at most: the busiest. The others are summed up as _other. Each has about 45 series."
        ),
    ] = 200

    traces: Annotated[
        str,
        Meta(pattern=r"\A(https?://[A-Za-z0-9.\[\]:-]+/?)?\Z", max_length=500),
        Setting(
            "URL of an OpenTelemetry collector (OTLP over HTTP) that gets a trace of each upload, such as http://127.0.0.1:4318 (docs/metrics.md). Empty: none.",
            flags=("publish", *WORKS),
            form="an http:// or https:// URL without user, password and path, or empty",
        ),
    ] = ""
    traces_share: Annotated[
        float,
        Meta(ge=0, le=1),
        Setting(
            "Share of the uploads that are traced, 0 to 1; those published within a trace of their own follow that one's choice."
        ),
    ] = 1.0

    # Tables
    apps: Annotated[
        Tables,
        Setting(
            "Applications to scale, each with its own settings. Other applications are observed but never scaled."
        ),
    ] = {}
    brokers: Annotated[Tables, Setting("Settings of one broker: [brokers.rabbitmq].")] = {}
    fleets: Annotated[Tables, Setting("Settings of one fleet: [fleets.docker].", app=True)] = {}
    handlers: Annotated[Tables, Setting("Settings of one handler: [handlers.simulate].", app=True)] = {}
    policies: Annotated[
        Tables, Setting("Settings of one policy: [policies.keda].", app=True, decides=True)
    ] = {}
    stores: Annotated[Tables, Setting("Settings of sources and stores: [stores.http].", app=True)] = {}


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
    "scaling_queue": "its name is derived from report_queue",
    "simulate_seconds": "use handlers.simulate.seconds",
}
"""Settings of earlier versions, and their replacements."""
