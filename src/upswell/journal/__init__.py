"""The flight recorder: snapshots, decisions and reports, in one bounded SQLite file.

`recorder.py` writes and reads it, `writer.py` is its file and the thread that writes.
"""

from upswell.journal.recorder import Entry, Journal, JournalReader, JournalReport

__all__ = ["Entry", "Journal", "JournalReader", "JournalReport"]
