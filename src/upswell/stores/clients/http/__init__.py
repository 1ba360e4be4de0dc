"""Asking a web server: `client.py` is where to begin reading."""
