"""When uploads come and how long they take: drawn from a distribution, or read from a trace."""
