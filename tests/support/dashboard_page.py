"""The page as a visitor sees it: `upswell dashboard` in a process of its own, and a Chromium that looks."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from support.system import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, ConsoleMessage, Page

CHROMIUM = "/usr/bin/chromium"
START_SECONDS = 90.0

NOTE_TOASTS = """
window.notedToasts = [];
new MutationObserver((changes) => {
  for (const node of changes.flatMap(({ addedNodes }) => [...addedNodes]))
    if (node.classList?.contains("toast")) window.notedToasts.push(node.textContent);
}).observe(document, { childList: true, subtree: true });
"""
"""A toast is shown for seven seconds: who is held up for longer does not see it."""


def missing() -> str | None:
    """Return why no browser can look, or None when one can."""
    return None if shutil.which(CHROMIUM) else "chromium is not installed (apt-get install chromium)"


class ServedPage(Struct, frozen=True):
    """Where it is; the token follows `#`."""

    url: str
    token: str

    @property
    def with_token(self) -> str:
        """The address for whoever may write."""
        return f"{self.url}#token={self.token}"


@contextmanager
def served_page(environment: dict[str, str], log: Path, *arguments: str) -> Iterator[ServedPage]:
    """Serve the page on a free port, with these variables; end it afterwards."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "upswell", "dashboard", "--port", "0", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield told_page(log, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
            process.wait()


def told_page(log: Path, process: subprocess.Popen[bytes]) -> ServedPage:
    """Return the address that a command has printed."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"(http://\S+/)#token=(\S+)\n", log.read_text("utf-8", "replace"))
        if found:
            return ServedPage(found[1], found[2])
        time.sleep(0.1)
    raise AssertionError(f"no page within {START_SECONDS} s: {log.read_text('utf-8', 'replace')}")


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Debian's Chromium."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where a browser is wanted

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=120_000
        )
        try:
            yield chromium
        finally:
            chromium.close()


@contextmanager
def visit(
    chromium: Browser, address: str, *, width: int = 1280, scheme: str = "light"
) -> Iterator[tuple[Page, list[str]]]:
    """Yield a page at an address, and what its console said in error, and where it asked elsewhere."""
    wrong: list[str] = []
    context = chromium.new_context(
        viewport={"width": width, "height": 900 if width > 600 else 844},
        color_scheme=scheme,  # type: ignore[arg-type] - light or dark
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(90_000)
    page.add_init_script(NOTE_TOASTS)

    def note(said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            wrong.append(f"{said.text} {said.location['url']}")

    page.on("console", note)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    own = address.split("/")[2]
    page.on("request", lambda sent: wrong.append(sent.url) if sent.url.split("/")[2] != own else None)
    page.goto(address)
    try:
        yield page, wrong
    finally:
        context.close()


def toasts(page: Page) -> list[str]:
    """Return the words of all toasts so far, in order."""
    return page.evaluate("notedToasts")


def toast(page: Page, pattern: str, *, after: int = 0) -> str:
    """Return the first toast that matches, of those after so many, once it has come."""

    def matching() -> list[str]:
        return [text for text in toasts(page)[after:] if re.search(pattern, text)]

    wait_until(lambda: matching() != [], 90, lambda: f"{pattern!r} in {toasts(page)}")
    return matching()[0]
