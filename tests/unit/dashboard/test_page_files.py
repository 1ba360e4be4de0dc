"""The files of the page: all at once, from memory, and nothing twice."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

from starlette.requests import Request

from upswell.dashboard.app import PAGE, PageFile
from upswell.dashboard.serving import PageAddress, _listen

if TYPE_CHECKING:
    from pathlib import Path


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


def test_every_module_is_asked_for_at_once() -> None:
    """Without that a browser learns of a module only from the one that imports it, level by level."""
    index = (PAGE / "index.html").read_text("utf-8")
    ahead = re.findall(r'<link rel="modulepreload" href="page/(\S+)">', index)
    assert sorted([*ahead, "main.js", "theme.js"]) == sorted(path.name for path in PAGE.glob("*.js"))


def test_a_file_that_the_browser_has_is_not_sent_again(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    file = PageFile(tmp_path / "a.js")
    first = file.answer(request())
    assert (first.status_code, first.body, first.headers["content-type"]) == (
        200,
        b"1",
        "text/javascript; charset=utf-8",
    )
    again = file.answer(request(if_none_match=first.headers["etag"]))
    assert (again.status_code, again.body) == (304, b"")
    assert file.answer(request(if_none_match='"other"')).status_code == 200
    (tmp_path / "a.js").write_text("2")
    assert PageFile(tmp_path / "a.js").answer(request()).headers["etag"] != first.headers["etag"]


def test_what_is_sent_after_the_headers_does_not_wait() -> None:
    """Nagle's delay is off only where the socket names its protocol."""
    with _listen(PageAddress("127.0.0.1", 0, "", ())) as listening:
        assert listening.proto == socket.IPPROTO_TCP
