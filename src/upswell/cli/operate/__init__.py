"""Commands for the one who operates it: who works, logs, by hand, restart, stop."""
