"""What each queue of the topology is declared as, and how the server's refusals are read."""

from __future__ import annotations

from upswell.broker import topology
from upswell.broker.rabbitmq.queue_arguments import as_it_is, declaration, weaker
from upswell.broker.topology import Queue


def refusal(name: str, received: str, current: str) -> str:
    """Return a refusal as RabbitMQ 4 words it."""
    return (
        f"PRECONDITION_FAILED - inequivalent arg '{name}' for queue 'q' in vhost '/': "
        f"received {received} but current is {current}"
    )


def test_an_upload_queue_is_a_quorum_queue_that_dead_letters_after_its_attempts() -> None:
    found = declaration(topology.upload_queue("q", delivery_limit=5))
    assert (found.durable, found.exclusive, found.auto_delete) == (True, False, False)
    assert found.arguments == {
        "x-queue-type": "quorum",
        "x-delivery-limit": 4,  # redeliveries: the fifth attempt is the last
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "q.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def test_a_queue_without_a_limit_is_not_given_the_servers() -> None:
    assert declaration(Queue(name="q")).arguments == {"x-queue-type": "quorum", "x-delivery-limit": -1}


def test_bounds_drop_the_oldest_and_times_are_milliseconds() -> None:
    arguments = declaration(Queue(name="q", max_length=10, message_ttl=1.5)).arguments
    assert arguments["x-max-length"] == 10
    assert arguments["x-overflow"] == "drop-head"
    assert arguments["x-message-ttl"] == 1500


def test_an_exclusive_queue_is_classic_and_goes_with_its_connection() -> None:
    found = declaration(topology.status_queue("monitor", "me"))
    assert (found.durable, found.exclusive, found.auto_delete) == (False, True, True)
    assert found.is_classic


def test_a_refusal_names_the_argument_and_what_it_is() -> None:
    wish = declaration(topology.upload_queue("q", delivery_limit=5))
    for name, current, value in (
        ("x-queue-type", "the value 'stream' of type 'longstr'", "stream"),
        ("x-delivery-limit", "the value '7' of type 'signedint'", 7),
        ("x-delivery-limit", "the value '-1' of type 'long'", -1),
        ("x-max-age", "'1D'", "1D"),
    ):
        answer = as_it_is(wish, refusal(name, "the value 'x' of type 'longstr'", current))
        assert answer is not None
        assert answer[0] == name
        assert answer[1].arguments[name] == value


def test_an_argument_that_is_not_there_is_left_out() -> None:
    wish = declaration(topology.upload_queue("q", delivery_limit=5))
    answer = as_it_is(wish, refusal("x-dead-letter-exchange", "the value '' of type 'longstr'", "none"))
    assert answer is not None
    assert "x-dead-letter-exchange" not in answer[1].arguments


def test_a_flag_that_differs_is_taken_over() -> None:
    answer = as_it_is(declaration(Queue(name="q")), refusal("durable", "'true'", "'false'"))
    assert answer is not None
    assert answer[0] == "durable"
    assert not answer[1].durable


def test_any_other_refusal_is_not_understood() -> None:
    assert as_it_is(declaration(Queue(name="q")), "PRECONDITION_FAILED - something new") is None


def test_differences_are_told_in_words() -> None:
    words = weaker(["durable", "x-unheard-of"])
    assert words == "messages do not survive a restart of the server; another x-unheard-of"


def test_where_queues_are_compatible_those_that_others_declare_have_no_arguments() -> None:
    for queue in (topology.upload_queue("q", delivery_limit=3), topology.report_queue("r")):
        asked = declaration(queue, compatible=True)
        assert (asked.durable, asked.exclusive, asked.auto_delete, asked.arguments) == (
            False,
            False,
            False,
            {},
        )
    for queue in (topology.dead_letter_queue("q"), topology.tick_queue("r"), topology.reply_queue("p")):
        assert declaration(queue, compatible=True) == declaration(queue)
