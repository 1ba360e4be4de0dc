"""KEDA's external scaler: the number of workers for a cluster where KEDA starts and stops them.

`loop.py` hears requests and statuses and tells workers; `victims.py` says whom, and the number that KEDA may
see; `service.py` answers KEDA over gRPC; `externalscaler.proto` is KEDA's own interface.
"""

from upswell.keda.loop import KedaScaler

__all__ = ["KedaScaler"]
