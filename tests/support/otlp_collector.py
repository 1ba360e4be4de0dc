"""Where traces go in the tests: through a real collector of OpenTelemetry (Rotel) to one that keeps them.

OTLP over HTTP at both joints. What the real one refuses or cannot read does not come through it.
"""

from __future__ import annotations

import gzip
import importlib.util
import threading
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from support.server_process import free_port, running

if TYPE_CHECKING:
    from collections.abc import Generator


class Received(Struct):
    """A span as it came: ids in hexadecimal, `begin` and `end` in nanoseconds since 1970."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    begin: int
    end: int
    failed: bool
    attributes: dict[str, Any]


class Collector:
    """What was received; `url` is where to send."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Received] = []

    def traces(self) -> dict[str, dict[str, Received]]:
        """Return the spans by trace and by the first word of their name; the last of several of one name."""
        found: dict[str, dict[str, Received]] = defaultdict(dict)
        for span in self.spans:
            found[span.trace][span.name.split()[0]] = span
        return found

    def take(self, body: bytes) -> None:
        """Decode one export."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = _plain(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Received(
                            service,
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            span.start_time_unix_nano,
                            span.end_time_unix_nano,
                            span.status.code == 2,
                            _plain(span.attributes),
                        )
                    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def missing() -> str | None:
    """Return what is missing here, if anything."""
    return None if importlib.util.find_spec("rotel") else "rotel, a collector of traces, is not installed"


@contextmanager
def collecting(folder: Path) -> Generator[Collector]:
    """Run both on free ports of this machine, the real one's log in `folder`."""
    with _keeping() as collector:
        takes = f"127.0.0.1:{free_port()}"
        command = [
            str(_program()),
            "start",
            f"--otlp-http-endpoint={takes}",
            f"--otlp-grpc-endpoint=127.0.0.1:{free_port()}",
            "--exporter=otlp",
            "--otlp-exporter-protocol=http",
            f"--otlp-exporter-endpoint={collector.url}",
            "--debug-log=traces",
        ]
        with running(command, url=f"http://{takes}/", log=folder / "collector.log"):
            collector.url = f"http://{takes}"
            yield collector


def _program() -> Path:
    found = importlib.util.find_spec("rotel")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).with_name("rotel-agent")


@contextmanager
def _keeping() -> Generator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            collector.take(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield collector
        server.shutdown()
