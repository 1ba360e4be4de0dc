"""One application in a terminal, as time goes by: what `upswell top` and `upswell demo` draw.

history.py   points over time, from the monitor's entries
charts.py    a row of numbers as bars (pure)
picture.py   history, facts, problems and decisions as lines of a given width and height (pure)
keys.py      keys that are pressed, without Enter
"""
