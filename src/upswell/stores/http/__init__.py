"""Sources on the web; `source.py` is where to begin reading."""
