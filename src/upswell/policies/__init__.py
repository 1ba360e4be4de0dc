"""The policy seam: from what was seen to how many workers are wanted.

Each policy is a file of its own and one line in `registry.py`. All are pure: no clock, no I/O, no log; the
same snapshots in the same order give the same decisions. The guards (`guards/`) restrain any policy;
`guards/global_limit.py` stands over the decisions for all applications.
"""

from upswell.policies.protocol import ScalingPolicy

__all__ = ["ScalingPolicy"]
