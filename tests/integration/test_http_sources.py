"""Sources from a web server that misbehaves in every way we know of: the whole bytes, or an error."""

from __future__ import annotations

import gzip
import hashlib
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from support.bad_http_server import (
    BadHttpServer,
    broken,
    chunked,
    cut,
    endless,
    in_turn,
    raw,
    redirect,
    reset,
    stall,
    status,
    trickle,
    whole,
)
from upswell.errors import PermanentUploadError, TemporaryUploadError
from upswell.settings import Settings
from upswell.stores.clients.http import limits
from upswell.stores.settings import HttpSettings
from upswell.stores.sources.http import HttpSource, http_opener

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.bad_http_server import Behaviour

BODY = bytes(range(256)) * 4096  # 1 MiB
TINY = b"0123456789"


@pytest.fixture
def server() -> Iterator[BadHttpServer]:
    with BadHttpServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between tries, and the window in which a trickle is told, of no length to speak of."""
    monkeypatch.setattr("upswell.stores.sources.http.FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(limits, "WINDOW_SECONDS", 0.2)


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "source_origins": ["http://*:*", "https://*:*"],
        "source_networks": ["127.0.0.0/8"],
        "upload_timeout": 60.0,
    }
    http: dict[str, Any] = {"connect_timeout": 30.0, "read_timeout": 30.0, "min_throughput": 0.0}
    for name, value in changes.items():
        (http if name in HttpSettings.__struct_fields__ else values)[name] = value
    return Settings(**values, stores={"http": http})


def read(source: HttpSource, chunk: int = 100_000) -> bytes:
    buffer = memoryview(bytearray(chunk))
    found = bytearray()
    while count := source.readinto(buffer):
        found += buffer[:count]
    return bytes(found)


def fetch(url: str, **changes: Any) -> bytes:
    """Read one source as a store does: open, read, ask whether it changed."""
    with http_opener(settings(**changes))(url) as source:
        body = read(source)
        source.check_unchanged()
    return body


def serve(server: BadHttpServer, behaviour: Behaviour) -> str:
    server.paths["/x"] = behaviour
    return server.url("/x")


# What a good server sends arrives.


@pytest.mark.parametrize(
    "behaviour",
    [
        whole(BODY),
        whole(BODY, etag='W/"weak"'),
        whole(BODY, etag=None),
        whole(BODY, etag=None, Last_Modified="Tue, 24 Nov 2026 10:00:00 GMT"),
        whole(b""),
        chunked(BODY),
        chunked(BODY, piece=1000, end=b"0\r\nX-Checksum: 1\r\n\r\n"),
        in_turn(redirect("/y"), redirect("/y")),
        in_turn(redirect("y", "301 Moved Permanently"), redirect("y", "308 Permanent Redirect")),
    ],
    ids=["etag", "weak", "no-version", "date", "empty", "chunks", "trailer", "redirect", "relative"],
)
def test_a_source_arrives_as_it_was_sent(server: BadHttpServer, behaviour: Behaviour) -> None:
    server.paths["/y"] = whole(BODY)
    assert fetch(serve(server, behaviour)) in {BODY, b""}
    assert len(server.asked) >= 1


def test_size_and_version_are_known_before_a_byte_is_read(server: BadHttpServer) -> None:
    with http_opener(settings())(serve(server, whole(BODY))) as source:
        assert (source.size, source.version) == (len(BODY), '"1"')
    with http_opener(settings())(serve(server, chunked(BODY))) as source:
        assert (source.size, source.version) == (None, None)


def test_many_sources_share_connections(server: BadHttpServer) -> None:
    opener = http_opener(settings())
    for _ in range(20):
        with opener(serve(server, whole(TINY))) as source:
            assert read(source) == TINY
            source.check_unchanged()
    assert server.connections == 1


def test_sources_that_are_read_at_once_do_not_share_a_connection(server: BadHttpServer) -> None:
    """One that was put back twice would give each upload bytes of the other."""
    opener = http_opener(settings())
    bodies = {f"/{number}": bytes([number]) * 300_000 for number in range(8)}
    server.paths |= {path: whole(body) for path, body in bodies.items()}

    def upload(path: str) -> bool:
        with opener(server.url(path)) as source:
            same = read(source) == bodies[path]
            source.check_unchanged()
        return same

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(upload, list(bodies) * 10))


def test_a_rewound_source_starts_again(server: BadHttpServer) -> None:
    with http_opener(settings())(serve(server, whole(BODY))) as source:
        source.readinto(memoryview(bytearray(1000)))
        source.rewind()
        assert read(source) == BODY


def test_nothing_is_sent_that_tells_who_asks(server: BadHttpServer) -> None:
    """Not even after a redirect that sets a cookie."""
    server.paths["/y"] = whole(TINY)
    fetch(serve(server, status("302 Found", Location="/y", Set_Cookie="a=b")))
    assert set(server.asked[1].headers) == {"host", "user-agent", "accept", "accept-encoding"}
    assert set(server.asked[0].headers) == {"host", "user-agent", "accept", "accept-encoding"}
    assert server.asked[0].headers["accept-encoding"] == "identity"


def test_content_is_stored_as_it_is_sent_and_never_unpacked(server: BadHttpServer) -> None:
    """A bomb of zeros stays as small as it is."""
    packed = gzip.compress(bytes(10_000_000))
    assert fetch(serve(server, whole(packed, Content_Encoding="gzip"))) == packed


# What breaks on the way is mended, or tried again: never stored in part.


@pytest.mark.parametrize("how", [cut, reset, stall, trickle], ids=["cut", "reset", "stall", "trickle"])
@pytest.mark.parametrize("at", [0, 1, 500_000])
def test_a_source_that_breaks_once_is_read_on_from_there(
    server: BadHttpServer, how: Behaviour, at: int
) -> None:
    url = serve(server, broken(BODY, at, how, times=1))
    # The trickle is of 50 bytes a second; what comes after it must not seem slow where this machine pauses.
    impatient = {"stall": {"read_timeout": 10.0}, "trickle": {"min_throughput": 1000}}
    body = fetch(url, **impatient.get(how.__name__, {}))
    assert hashlib.sha256(body).digest() == hashlib.sha256(BODY).digest()
    assert server.asked[1].headers["if-range"] == '"1"'


@pytest.mark.parametrize("how", [cut, reset, stall], ids=["cut", "reset", "stall"])
@pytest.mark.parametrize("etag", ['"1"', 'W/"1"', None], ids=["etag", "weak", "no-version"])
def test_a_source_that_breaks_again_and_again_is_a_temporary_error(
    server: BadHttpServer, how: Behaviour, etag: str | None
) -> None:
    with pytest.raises(TemporaryUploadError):
        fetch(serve(server, broken(BODY, 1000, how, etag=etag)), read_timeout=0.4)


def test_a_signed_address_that_ran_out_when_its_download_breaks_is_asked_for_anew(
    server: BadHttpServer,
) -> None:
    """The 403 is about the address that a redirect led to; the next attempt is led to another."""
    server.paths["/old"] = in_turn(broken(BODY, 500_000, cut), status("403 Forbidden"))
    server.paths["/new"] = whole(BODY)
    url = serve(server, in_turn(redirect("/old"), redirect("/new")))
    with pytest.raises(TemporaryUploadError, match="incomplete source"):
        fetch(url)
    assert fetch(url) == BODY


def test_a_rewound_source_is_asked_for_where_it_was_first(server: BadHttpServer) -> None:
    server.paths["/old"] = in_turn(whole(BODY), status("403 Forbidden"))
    server.paths["/new"] = whole(BODY)
    url = serve(server, in_turn(redirect("/old"), redirect("/new")))
    with http_opener(settings())(url) as source:
        source.readinto(memoryview(bytearray(1000)))
        source.rewind()
        assert read(source) == BODY
        source.check_unchanged()
    assert [exchange.path for exchange in server.asked] == ["/x", "/old", "/x", "/new", "/new"]


def test_a_source_that_changes_while_it_is_broken_is_not_joined_to_its_old_half(
    server: BadHttpServer,
) -> None:
    other = whole(BODY[::-1], etag='"2"')
    with pytest.raises(TemporaryUploadError, match="changed during its upload"):
        fetch(serve(server, in_turn(broken(BODY, 500_000, cut), other)))


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (whole(BODY), whole(BODY, etag='"2"')),
        (whole(BODY), whole(BODY[1:], etag=None)),
        (
            whole(BODY, etag=None, Last_Modified="Tue, 24 Nov 2026 10:00:00 GMT"),
            whole(BODY, etag=None, Last_Modified="Tue, 24 Nov 2026 10:00:01 GMT"),
        ),
    ],
    ids=["etag", "length", "date"],
)
def test_a_source_that_changes_during_its_upload_is_noticed(
    server: BadHttpServer, first: Behaviour, then: Behaviour
) -> None:
    with pytest.raises(TemporaryUploadError, match="changed during its upload"):
        fetch(serve(server, in_turn(first, then)))


def test_a_source_that_is_gone_or_forbidden_afterwards_was_whole_all_the_same(server: BadHttpServer) -> None:
    """A signature that runs out during the upload must not undo it."""
    assert fetch(serve(server, in_turn(whole(BODY), status("403 Forbidden")))) == BODY


@pytest.mark.parametrize(
    "behaviour",
    [
        raw(b"HTTP/1.0 200 OK\r\n\r\n" + BODY),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 10\r\n\r\n0123456789"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n0123456789"),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 10\r\n\r\n0123456789"),
        raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        raw(b""),
        raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 200 + b"\r\n"),
        chunked(BODY, end=b""),
        chunked(BODY, end=b"ffffffff\r\nxx"),
        chunked(BODY, end=b"zz\r\n"),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        endless(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: x\r\n"),
        stall,
    ],
    ids=[
        "no-length", "two-lengths", "negative-length", "odd-encoding", "not-http", "nothing", "long-header",
        "many-headers", "chunks-cut", "chunk-cut", "bad-chunk", "endless-100", "endless-header",
        "endless-trailer", "silence",
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_trusted_is_a_temporary_error_in_bounded_time(
    server: BadHttpServer, behaviour: Behaviour
) -> None:
    began = time.monotonic()
    with pytest.raises(TemporaryUploadError):
        fetch(serve(server, behaviour), read_timeout=0.4, upload_timeout=2.0)
    assert time.monotonic() - began < 60


def test_headers_that_trickle_are_not_waited_for(server: BadHttpServer) -> None:
    def slowly(exchange: Any) -> None:
        exchange.send("HTTP/1.1 200 OK\r\nX: ")
        trickle(exchange)

    with pytest.raises(TemporaryUploadError, match="its headers within read_timeout"):
        fetch(serve(server, slowly), read_timeout=0.4)


def test_a_body_that_trickles_is_given_up_with_the_rate(server: BadHttpServer) -> None:
    with pytest.raises(TemporaryUploadError, match=r"slower than min_throughput \(100000 bytes/s\): \d+"):
        fetch(serve(server, broken(BODY, 10, trickle, etag=None)), min_throughput=100_000)


# What a server says.


@pytest.mark.parametrize("line", ["429 Too Many Requests", "500 Oops", "503 Service Unavailable"])
def test_a_server_that_is_busy_for_a_moment_is_asked_again_at_once(server: BadHttpServer, line: str) -> None:
    assert fetch(serve(server, in_turn(status(line), status(line), whole(TINY)))) == TINY


def test_a_server_that_asks_to_be_left_alone_is_left_alone(server: BadHttpServer) -> None:
    with pytest.raises(TemporaryUploadError) as caught:
        fetch(serve(server, status("503 Service Unavailable", Retry_After=17)))
    assert caught.value.retry_after == 17.0
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "line", ["403 Forbidden", "404 Not Found", "410 Gone", "401 Unauthorized", "204 No Content"]
)
def test_a_source_that_is_not_there_is_a_permanent_error(server: BadHttpServer, line: str) -> None:
    with pytest.raises(PermanentUploadError, match=f"unexpected status {line[:3]}"):
        fetch(serve(server, status(line)) + "?signature=secret")
    assert len(server.asked) == 1


def test_a_server_that_refuses_connections_is_a_temporary_error() -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can listen there meanwhile
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(TemporaryUploadError, match="Connection refused"):
            fetch(f"http://127.0.0.1:{taken.getsockname()[1]}/x")


# How large.


def test_a_source_that_tells_a_length_above_the_limit_is_refused_unread(server: BadHttpServer) -> None:
    with pytest.raises(PermanentUploadError, match=r"exceeds stores.http.max_bytes \(100\): 1048576"):
        fetch(serve(server, whole(BODY)), max_bytes=100)


def test_a_source_that_never_ends_is_refused_at_the_limit(server: BadHttpServer) -> None:
    behaviour = endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\nabcd\r\n")
    with pytest.raises(PermanentUploadError, match=r"exceeds stores.http.max_bytes \(100000\): more"):
        fetch(serve(server, behaviour), max_bytes=100_000)


# Where to.


def test_without_origins_nothing_is_fetched_and_the_error_names_the_setting(server: BadHttpServer) -> None:
    with pytest.raises(PermanentUploadError, match=r"source_origins \(empty: no http source is read"):
        fetch(serve(server, whole(TINY)), source_origins=[])
    assert server.connections == 0


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "0", "localhost", "[::1]",
     "[::ffff:127.0.0.1]", "[::]", "[64:ff9b::7f00:1]", "169.254.169.254", "10.0.0.1", "[fe80::1]"],
)  # fmt: skip
def test_no_way_of_writing_an_inner_address_leads_there(server: BadHttpServer, host: str) -> None:
    serve(server, whole(TINY))
    with pytest.raises(PermanentUploadError, match="is neither public nor in source_networks"):
        fetch(server.url("/x", host), source_networks=[])
    assert server.connections == 0


def resolving_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Let each name resolve to the first list of addresses, then to the second; the last stays."""
    left = list(answers)
    real = socket.getaddrinfo

    def resolve(host: str, port: int, **kinds: Any) -> list[Any]:
        if host.startswith("127."):
            return real(host, port, **kinds)
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [info for address in addresses for info in real(address, port, **kinds)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def test_a_name_that_resolves_to_an_inner_address_is_refused(
    server: BadHttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(server, whole(TINY))
    resolving_to(monkeypatch, ["127.0.0.1"])
    with pytest.raises(
        PermanentUploadError, match=r"of evil\.example is .*: 127\.0\.0\.1, a loopback address"
    ):
        fetch(server.url("/x", "evil.example"), source_networks=[])
    assert server.connections == 0


def test_a_name_that_is_bound_anew_between_two_requests_is_checked_anew(
    server: BadHttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: right when it is first asked for, an inner address when it is read on."""
    url = serve(server, broken(BODY, 1000, cut)).replace("127.0.0.1", "evil.example")
    resolving_to(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    with pytest.raises(PermanentUploadError, match=r": 127\.0\.0\.2, a loopback"):
        fetch(url, source_networks=["127.0.0.1/32"])


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    server: BadHttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is asked for once: a second answer could be another."""
    resolving_to(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    url = serve(server, whole(TINY)).replace("127.0.0.1", "some.example")
    assert fetch(url, source_networks=["127.0.0.1/32"]) == TINY


def test_of_several_addresses_only_those_allowed_are_connected_to(
    server: BadHttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolving_to(monkeypatch, ["10.0.0.1", "127.0.0.1", "169.254.169.254"])
    url = serve(server, whole(TINY)).replace("127.0.0.1", "some.example")
    assert fetch(url) == TINY


def test_this_machines_own_public_address_is_refused(
    server: BadHttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What listens on it may trust this machine; here loopback plays the public address."""
    monkeypatch.setattr("upswell.stores.clients.http.connection.refusal", lambda *_: None)
    with pytest.raises(PermanentUploadError, match="this machine's own address"):
        fetch(serve(server, whole(TINY)), source_networks=[])


def test_proxies_of_the_environment_are_not_used(
    server: BadHttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BadHttpServer() as proxy:
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"]:
            monkeypatch.setenv(name, proxy.url(""))
        assert fetch(serve(server, whole(TINY))) == TINY
        assert proxy.connections == 0


# Redirects.


@pytest.mark.parametrize(
    ("location", "rule"),
    [
        ("http://169.254.169.254/latest/meta-data/", "a link-local address"),
        ("http://[::1]:80/", "a loopback address"),
        ("http://other.example:8080/", "is not from source_origins"),
        ("file:///etc/passwd", "must be an absolute http"),
        ("ftp://example.org/", "must be an absolute http"),
        ("http://user:secret@example.org/", "must not contain a user or password"),
        ("http://\r\nX-Injected: 1", "loop|got"),
    ],
)  # fmt: skip
def test_a_redirect_to_what_is_not_allowed_is_refused(
    server: BadHttpServer, location: str, rule: str
) -> None:
    origins = [f"http://127.0.0.1:{server.port}", "http://169.254.169.254", "http://[::1]"]
    with pytest.raises(PermanentUploadError, match=rule) as caught:
        fetch(serve(server, redirect(location)), source_origins=origins)
    assert "secret" not in str(caught.value)


def test_redirects_in_a_loop_end(server: BadHttpServer) -> None:
    server.paths["/y"] = redirect("/x")
    with pytest.raises(PermanentUploadError, match=r"too many redirects from .*: a loop"):
        fetch(serve(server, redirect("/y")))
    assert len(server.asked) == 2


def test_redirects_without_end_end(server: BadHttpServer) -> None:
    def on(exchange: Any) -> None:
        redirect(f"/x?{exchange.number}")(exchange)

    with pytest.raises(PermanentUploadError, match=r"too many redirects from .*: more than 10"):
        fetch(serve(server, on))
    assert len(server.asked) == 11


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of its own authority, for localhost, in one file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(path), "-out", str(path.with_name("certificate.pem"))],
        check=True, capture_output=True,
    )  # fmt: skip
    with path.open("a") as both:
        both.write(path.with_name("certificate.pem").read_text())
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[BadHttpServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with BadHttpServer(tls=context) as running:
        running.paths["/x"] = whole(BODY)
        yield running


def test_a_source_over_tls_arrives_from_who_it_says(
    tls_server: BadHttpServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    opener = http_opener(settings())
    for _ in range(3):
        with opener(tls_server.url("/x", "localhost")) as source:
            assert read(source) == BODY
            source.check_unchanged()
    assert tls_server.connections == 1


@pytest.mark.parametrize(("host", "trusted"), [("localhost", False), ("127.0.0.1", True)])
def test_a_certificate_that_does_not_hold_is_a_permanent_error(
    tls_server: BadHttpServer, certificate: Path, monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(PermanentUploadError, match="invalid certificate"):
        fetch(tls_server.url("/x", host))


def test_a_server_that_does_not_speak_tls_is_a_temporary_error(server: BadHttpServer) -> None:
    with pytest.raises(TemporaryUploadError):
        fetch(serve(server, whole(TINY)).replace("http:", "https:"), connect_timeout=0.2)


def test_a_handshake_that_hangs_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TemporaryUploadError):
        fetch(f"https://127.0.0.1:{listener.getsockname()[1]}/x", connect_timeout=0.2)


def test_a_redirect_from_https_to_http_is_refused_unless_allowed(
    server: BadHttpServer, tls_server: BadHttpServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls_server.paths["/x"] = redirect(serve(server, whole(TINY)))
    url = tls_server.url("/x", "localhost")
    with pytest.raises(
        PermanentUploadError, match=r"from https to http unless stores\.http\.allow_downgrade"
    ):
        fetch(url)
    assert server.connections == 0
    assert fetch(url, allow_downgrade=True) == TINY
