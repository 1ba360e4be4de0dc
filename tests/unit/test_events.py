"""Log events: every one in the code stands in the table and on the page, and no secret gets out."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from upswell import events

if TYPE_CHECKING:
    import pytest

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


def ran(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)


def test_a_program_that_imports_upswell_gets_its_events_from_the_logger_upswell() -> None:
    done = ran(
        "import logging; logging.basicConfig(level='INFO', format='%(name)s %(levelname)s %(message)s'); "
        "from upswell import events; log = events.get_logger(connection='c1'); "
        "log.info('broker.connected', attempt=1); log.debug('x'); "
        "log.warning('broker.connection_lost', error=OSError('amqp://u:hunter2@h is gone'))"
    )
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "upswell INFO broker.connected connection=c1 attempt=1",
        'upswell WARNING broker.connection_lost connection=c1 error="OSError: amqp://***@h is gone"',
    ]


def test_without_any_configuration_warnings_go_to_standard_error_and_nothing_to_standard_output() -> None:
    done = ran("from upswell import events; log = events.get_logger(); log.info('a'); log.warning('b', n=1)")
    assert (done.stdout, done.stderr) == ("", "b n=1\n")


def test_the_structlog_of_the_program_around_is_neither_read_nor_changed() -> None:
    done = ran(
        "import structlog; structlog.configure(processors=[structlog.processors.JSONRenderer()]); "
        "before = structlog.get_config()['processors'][:]; "
        "from upswell import events; log = events.get_logger(); log.warning('a'); "
        "events.configure(); log.warning('b'); "
        "assert structlog.get_config()['processors'] == before; structlog.get_logger().info('theirs')"
    )
    assert done.stdout == '{"event": "theirs"}\n'
    assert done.stderr.splitlines()[0] == "a"
    assert done.stderr.splitlines()[1].endswith("level=warning event=b")


def test_a_logger_made_early_follows_every_later_configuration(caplog: pytest.LogCaptureFixture) -> None:
    log = events.get_logger(n=1)
    log.warning("first")
    with events.capture() as found:
        log.warning("second", m=2)
        log.error("third", m=3)
    log.error("fourth")
    assert caplog.messages == ["first n=1", "fourth n=1"]
    assert found == [
        {"event": "second", "n": 1, "m": 2, "log_level": "warning"},
        {"event": "third", "n": 1, "m": 3, "log_level": "error"},
    ]


def test_a_logger_knows_which_levels_are_read(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is dear to say need not be made for nobody."""
    log = events.get_logger()

    def read() -> list[str]:
        levels = ("DEBUG", "INFO", "WARNING", "ERROR")
        return [level for level in levels if log.is_enabled_for(logging.getLevelNamesMapping()[level])]

    caplog.set_level("ERROR", logger="upswell")
    assert read() == ["ERROR"]
    with events.capture():
        assert read() == ["DEBUG", "INFO", "WARNING", "ERROR"]
    try:
        events.configure(level="info")
        assert read() == ["INFO", "WARNING", "ERROR"]
    finally:
        events.use_logging()
    assert read() == ["ERROR"]


def test_a_traceback_stays_on_its_line(caplog: pytest.LogCaptureFixture) -> None:
    error = ValueError("https://host/a?signature=hunter2")
    events.get_logger().error("monitor.round_failed", exc_info=error)
    (line,) = caplog.messages
    assert line.startswith('monitor.round_failed exception="')
    assert "hunter2" not in line
    assert "\n" not in line
