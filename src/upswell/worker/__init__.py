"""The worker: takes requests from one application's queue and has a handler do them.

`loop.py` is its life (connect, consume, stand by, drain), `uploads.py` runs what is delivered, `upload.py` is
one of those; `acknowledge.py` reports how it ended and acknowledges, with the messages of `outcomes.py`.
`capacity.py` says how much is done at once and how fast (`slots.py`, `rate_share.py`), and `subscription.py`
fetches no more than that.
"""

from upswell.worker.loop import Worker, new_worker_id

__all__ = ["Worker", "new_worker_id"]
