"""The monitor: from reports, statuses and depths to how many workers each application needs.

`loop.py` decides every few seconds, `intake.py` takes messages in, `depths.py` asks the broker,
`applications.py` knows who is watched; `candidate.py` waits to lead, `epochs.py` numbers the terms.
"""

from upswell.monitor.candidate import MonitorCandidate
from upswell.monitor.loop import Monitor

__all__ = ["Monitor", "MonitorCandidate"]
