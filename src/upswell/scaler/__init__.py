"""The scaler: makes the workers that run the workers that are wanted.

`loop.py` looks and acts, `plan.py` says what is missing, `view.py` how a worker is seen, `mail.py` hears
and tells; `requests.py` keeps the newest request, `backoff.py` and `ends.py` deal with crashes, `ledger.py`
with the bill, `lock.py` with a second scaler.
"""

from upswell.scaler.loop import Scaler

__all__ = ["Scaler"]
