from __future__ import annotations

from upswell.stores.rate_limit import MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, RateLimit


def test_without_a_limit_nothing_waits() -> None:
    limit = RateLimit(0.0)
    assert limit.reserve(10**12) == 0.0
    assert limit.chunk_bytes == MAX_CHUNK_BYTES


def test_all_uploads_together_keep_the_limit() -> None:
    now = 100.0
    limit = RateLimit(1000.0, lambda: now)
    assert [limit.reserve(500) for _ in range(4)] == [0.5, 1.0, 1.5, 2.0]
    now = 101.0
    assert limit.reserve(500) == 1.5


def test_an_idle_time_gives_no_credit() -> None:
    """A burst after a pause would make a slow worker look fast."""
    now = 0.0
    limit = RateLimit(1000.0, lambda: now)
    limit.reserve(1000)
    now = 1000.0
    assert limit.reserve(1000) == 1.0


def test_slow_workers_move_small_chunks() -> None:
    assert RateLimit(1.0).chunk_bytes == MIN_CHUNK_BYTES
    assert RateLimit(2_000_000.0).chunk_bytes == 100_000
    assert RateLimit(1e12).chunk_bytes == MAX_CHUNK_BYTES


def test_a_new_rate_holds_from_now_on_and_what_was_moved_is_counted() -> None:
    limit = RateLimit(1000.0, lambda: 0.0)
    assert limit.reserve(500) == 0.5
    limit.set_rate(100.0)
    assert limit.reserve(50) == 1.0
    limit.set_rate(0.0)
    assert limit.reserve(10**9) == 0.0
    assert limit.moved == 10**9 + 550


def test_uploads_that_wait_for_a_rate_get_equal_shares_of_it() -> None:
    """Each asks again when its chunk is through, as the threads of a worker do."""
    now = 0.0
    limit = RateLimit(1000.0, lambda: now)
    moved = dict.fromkeys(range(4), 0)
    due = {slot: limit.reserve(100) for slot in moved}
    while now < 10.0:
        slot = min(due, key=lambda one: due[one])
        now = due[slot]
        moved[slot] += 100
        due[slot] = now + limit.reserve(100)
    assert max(moved.values()) - min(moved.values()) <= 100
