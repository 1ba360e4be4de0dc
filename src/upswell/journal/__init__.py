"""The flight recorder: snapshots, decisions and reports, in one bounded SQLite file.

`rows.py` says what it holds, `schema.py` in which tables and how an older file is taken along, `recorder.py`
records and reads, `writer.py` is the thread that writes. `kept.py` keeps what was set by hand, in a file of
its own. `points.py` condenses rounds for charts.
"""

from upswell.journal.kept import KeptByApp
from upswell.journal.recorder import Journal, JournalReader
from upswell.journal.rows import ChoiceRow, FailureRow, JournalEntry, ReportRow

__all__ = ["ChoiceRow", "FailureRow", "Journal", "JournalEntry", "JournalReader", "KeptByApp", "ReportRow"]
