"""The embedded broker: one SQLite file for the processes of one machine.

`broker.py` keeps the protocol's promises, `thread.py` does the disk's work beside the event loop,
`connection.py` is one process's part in the file, `transaction.py` one transaction; `wakeup.py` wakes who
waits, `presence.py` knows who lives.
"""

from upswell.broker.sqlite.broker import SqliteBroker

__all__ = ["SqliteBroker"]
