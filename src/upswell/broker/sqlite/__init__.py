"""The embedded broker: one SQLite file for the processes of one machine.

`broker.py` keeps the protocol's promises, `thread.py` does the disk's work beside the event loop,
`session.py` is one process's part in the file, `exchange.py` one transaction; `doorbell.py` wakes who
waits, `membership.py` knows who lives.
"""

from upswell.broker.sqlite.broker import SqliteBroker

__all__ = ["SqliteBroker"]
