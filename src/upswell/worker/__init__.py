"""The worker: takes requests from one application's queue and has a handler do them.

`loop.py` is its life (connect, consume, stand by, drain), `uploads.py` what happens to one delivery,
`upload.py` one of them in hand, `outcomes.py` how an attempt ended, `reports.py` who is told;
`capacity.py` says how much it does at once and how fast (`slots.py`, `rate_share.py`), `subscription.py`
fetches no more.
"""

from upswell.worker.loop import Worker, new_worker_id

__all__ = ["Worker", "new_worker_id"]
