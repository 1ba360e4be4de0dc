"""The fleet seam: where workers run. `process.py` on this machine, `docker.py` in containers."""

from upswell.fleets.protocol import Fleet, FleetWorker, WorkerSpec

__all__ = ["Fleet", "FleetWorker", "WorkerSpec"]
