"""The number of a term: greater than all that were heard, and no forged one keeps the true monitor out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from upswell.messages import ScaleRequest
from upswell.monitor.epochs import MOST_AHEAD_SECONDS, Epochs
from upswell.scaler.targets import FUTURE_SECONDS, NewestRequests

NOW = 1000.0


def request(epoch: int, at: float = NOW, workers: int = 1) -> ScaleRequest:
    return ScaleRequest(app_id="a1", desired_workers=workers, decided_at=at, reason="", epoch=epoch)


def test_a_term_is_numbered_by_the_time_in_milliseconds() -> None:
    assert Epochs().begin(NOW) == 1_000_000


def test_a_new_leader_takes_the_greatest_epoch_heard_plus_one() -> None:
    """The clock of the machine before was four seconds ahead."""
    epochs = Epochs()
    assert not epochs.heard(request(900_000), NOW) or not epochs.own
    epochs.heard(request(1_004_000), NOW)
    assert epochs.begin(NOW) == 1_004_001


def test_ones_own_requests_are_not_another_monitors() -> None:
    epochs = Epochs()
    epoch = epochs.begin(NOW)
    epochs.sent(NOW)
    epochs.sent(NOW + 2)
    assert not epochs.heard(request(epoch, NOW), NOW)
    assert not epochs.heard(request(epoch, NOW + 2), NOW + 2)
    assert epochs.heard(request(epoch, NOW + 1), NOW + 2), "the same epoch, and not ours"


def test_an_older_leaders_request_counts_for_nothing() -> None:
    epochs = Epochs()
    epochs.begin(NOW)
    assert not epochs.heard(request(999_999), NOW)


@given(st.integers(int((NOW + MOST_AHEAD_SECONDS) * 1000) + 1, 2**63 - 1))
def test_an_absurd_epoch_is_never_taken_up(absurd: int) -> None:
    epochs = Epochs()
    epochs.begin(NOW)
    assert not epochs.heard(request(absurd), NOW)
    assert epochs.begin(NOW) == 1_000_001


@given(st.integers(0, 2**63 - 1))
def test_whatever_epoch_is_forged_the_monitors_next_request_counts(forged: int) -> None:
    epochs, scaler = Epochs(), NewestRequests(interval=2.0)
    epochs.begin(NOW)
    epochs.sent(NOW)
    scaler.offer(request(epochs.own, NOW, workers=1), NOW)
    one = request(forged, NOW + 1, workers=9)
    scaler.offer(one, NOW + 1)
    if epochs.heard(one, NOW + 1):
        epochs.begin(NOW + 1)
    assert scaler.offer(request(epochs.own, NOW + 1.1, workers=2), NOW + 1.1)
    newest = scaler.get("a1")
    assert newest is not None
    assert newest.desired_workers == 2
    assert MOST_AHEAD_SECONDS == FUTURE_SECONDS
