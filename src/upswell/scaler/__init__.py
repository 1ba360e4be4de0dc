"""The scaler: starts and drains workers until those that run are those that are desired.

`loop.py` observes and acts; `plan.py` says what is missing; `phases.py` how far each worker is; `targets.py`
keeps the newest request; `messaging.py` receives and sends; `exits.py` handles crashes;
`orders.py` is what operators want; `costs.py` counts.
"""

from upswell.scaler.loop import Scaler

__all__ = ["Scaler"]
