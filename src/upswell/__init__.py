"""Upload workers that swell and ebb with the work."""

__version__ = "0.2.0"
