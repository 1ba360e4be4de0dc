"""The fleet seam: where workers run. `process.py` on this machine, `docker.py` in containers."""

from upswell.fleets.protocol import Fleet, FleetWorker, LogPart, WorkerSpec

__all__ = ["Fleet", "FleetWorker", "LogPart", "WorkerSpec"]
