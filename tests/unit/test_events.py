"""Log events: every one in the code stands in the table and on the page, and no secret gets out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from upswell import events

ROOT = Path(__file__).parents[2]
CALL = re.compile(r"(?:log|_log|logger)\.(?:debug|info|warning|error|exception)\(\s*\"(?P<event>[^\"]+)\"")


def events_in_code() -> set[str]:
    files = (ROOT / "src").rglob("*.py")
    return {match["event"] for file in files for match in CALL.finditer(file.read_text("utf-8"))}


def test_every_event_in_the_code_stands_in_the_table_and_no_other() -> None:
    assert events_in_code() == set(events.EVENTS)


def test_the_page_of_log_events_shows_the_table() -> None:
    """`docs/log-events.md` is what an engineer greps; run scripts/write_docs after a change."""
    page = (ROOT / "docs/log-events.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", page, re.MULTILINE))
    assert rows == events.EVENTS


def test_no_value_of_an_event_lets_a_secret_out() -> None:
    """Whoever writes the event: a string, an exception, or the event's own name."""
    script = (
        "from upswell import events; events.configure(); "
        "log = events.get_logger(url='amqp://u:hunter2@h'); "
        "log.info('x', error=ValueError('amqp://u:hunter2@h'), deep={'urls': ['amqp://u:hunter2@h']})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "hunter2" not in done.stderr
    assert "***" in done.stderr
    assert done.stdout == ""
