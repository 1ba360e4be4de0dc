"""From messages to numbers: windows, snapshots, queueing formulas. Pure: no I/O, no clock, no log."""
