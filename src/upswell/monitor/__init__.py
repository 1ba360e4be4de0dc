"""The monitor: from reports, statuses and depths to how many workers each application needs.

`loop.py` decides every few seconds, `intake.py` takes messages in, `depths.py` asks the broker,
`applications.py` knows who is watched.
"""

from upswell.monitor.loop import Monitor

__all__ = ["Monitor"]
