"""What `upswell dead` prints of a letter whose every part may be hostile."""

from __future__ import annotations

import json
import re

from hypothesis import example, given
from hypothesis import strategies as st

from upswell.broker import Delivery
from upswell.broker.topology import DIED_AT_HEADER, TRACEBACK_HEADER
from upswell.cli.data.dead import _json, _letter, _line

ANY_TEXT = st.text(st.characters(exclude_categories=()))
HEADERS = st.dictionaries(
    st.sampled_from([DIED_AT_HEADER, TRACEBACK_HEADER, "x-upswell-reason", "x-first-death-reason"])
    | ANY_TEXT,
    ANY_TEXT | st.integers() | st.floats() | st.sampled_from([10**17, 10**400, "nan", "1e400"]),
)
LETTERS = st.builds(
    Delivery,
    body=st.binary(),
    queue=st.just("q.dead"),
    attempt=st.integers(1, 9),
    tag=st.none(),
    message_id=st.none() | ANY_TEXT,
    headers=HEADERS,
)
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


ACROSS_FIELDS = Delivery(
    body=b"", queue="q.dead", attempt=1, tag=None, message_id="://", headers={"x-upswell-reason": "@"}
)


@given(LETTERS)
@example(ACROSS_FIELDS)
def test_no_letter_breaks_the_list_or_steers_the_terminal(delivery: Delivery) -> None:
    for line in (_line(delivery), _json(delivery), *_letter(delivery)):
        assert not CONTROL.search(line)
    json.loads(_json(delivery))


def test_a_letter_shows_when_it_died_in_iso_form_and_its_handlers_traceback_line_by_line() -> None:
    delivery = Delivery(
        body=b'{"uri": "file:///a"}',
        queue="q.dead",
        attempt=1,
        tag=None,
        message_id="r1",
        headers={
            "x-upswell-reason": "ValueError: no",
            DIED_AT_HEADER: "1764137000.25",  # as a float travels on RabbitMQ
            TRACEBACK_HEADER: 'Traceback\n  File "mine.py", line 3',
        },
    )
    assert _line(delivery) == "2025-11-26T06:03:20Z  r1  file:///a  ValueError: no"
    assert list(_letter(delivery)) == [
        "x-upswell-died-at: 2025-11-26T06:03:20Z",
        "x-upswell-reason: ValueError: no",
        "  Traceback",
        '    File "mine.py", line 3',
        '{"uri": "file:///a"}',
    ]
