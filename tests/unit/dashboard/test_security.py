"""Who may ask and who may write: each rule of the page's server, one request at a time."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from upswell.dashboard.security import Access, access_for, is_loopback
from upswell.errors import SettingsError

TOKEN = "a-token-of-some-length"
JSON = {"content-type": "application/json"}


def ask(
    access: Access, method: str = "GET", path: str = "/api/overview", **headers: str
) -> tuple[int, str] | None:
    given = {"host": "127.0.0.1:8765", **{name.replace("_", "-"): text for name, text in headers.items()}}
    return access.refusal(method, path, Headers(given))


@pytest.fixture
def local() -> Access:
    return access_for("127.0.0.1", TOKEN, ())


@pytest.fixture
def public() -> Access:
    return access_for("192.0.2.7", TOKEN, ("upswell.example.org",))


def status(refused: tuple[int, str] | None) -> int | None:
    return refused[0] if refused else None


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost", "[::1]:8765", "LOCALHOST:1"])
def test_this_machine_s_own_names_are_served(local: Access, host: str) -> None:
    assert ask(local, host=host) is None


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil:8765"])
def test_another_name_is_refused_even_if_it_leads_here(local: Access, host: str) -> None:
    """Otherwise any page could be made to read ours: its name is rebound to 127.0.0.1."""
    assert status(ask(local, host=host)) == 421


def test_a_page_of_another_origin_is_refused(local: Access) -> None:
    for origin in (
        "https://evil.example",
        "null",
        "http://127.0.0.1:9999",
        "http://[",
        "http://localhost:8765",
    ):
        assert status(ask(local, origin=origin)) == 403, origin
    assert ask(local, origin="http://127.0.0.1:8765") is None


def test_a_proxy_s_name_is_served_and_is_an_origin(public: Access) -> None:
    headers = {"host": "upswell.example.org", "origin": "https://upswell.example.org"}
    assert ask(public, authorization=f"Bearer {TOKEN}", **headers) is None


def test_reading_needs_the_token_where_others_can_reach_it(local: Access, public: Access) -> None:
    assert ask(local) is None
    assert status(ask(public, host="192.0.2.7:8765")) == 401
    assert ask(public, host="192.0.2.7:8765", authorization=f"Bearer {TOKEN}") is None
    assert ask(public, path="/", host="192.0.2.7:8765") is None
    assert ask(public, path="/page/main.js", host="192.0.2.7:8765") is None


@pytest.mark.parametrize(
    "given", ["", TOKEN, "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN} x"]
)
def test_nothing_is_written_without_the_token(local: Access, given: str) -> None:
    refused = ask(
        local, "POST", "/api/apps/photos/drain", authorization=given, content_type="application/json"
    )
    assert status(refused) == 401


def test_writing_needs_json_which_a_foreign_form_cannot_send(local: Access) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        refused = ask(local, "POST", "/api/apps/a/drain", authorization=f"Bearer {TOKEN}", content_type=kind)
        assert status(refused) == 415, kind
    accepted = ask(
        local, "POST", "/api/apps/a/drain", authorization=f"Bearer {TOKEN}", content_type="application/json"
    )
    assert accepted is None


def test_a_question_may_be_asked_by_whoever_may_look(local: Access, public: Access) -> None:
    assert ask(local, "POST", "/api/what-if", content_type="application/json") is None
    refused = ask(public, "POST", "/api/what-if", host="192.0.2.7", content_type="application/json")
    assert status(refused) == 401


def test_a_token_is_made_up_anew_unless_it_is_set() -> None:
    first, second = (access_for("127.0.0.1", "", ()).token for _ in range(2))
    assert first != second
    assert len(first) >= 32


def test_a_token_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(SettingsError, match="at least 16 characters, got 5"):
        access_for("127.0.0.1", "short", ())


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True)]
    + [(text, False) for text in ("0.0.0.0", "::", "192.168.1.2", "example.org", "")],
)
def test_only_loopback_is_this_machine_alone(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected
