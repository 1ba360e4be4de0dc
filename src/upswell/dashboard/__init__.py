"""The live page: what the loop sees, decides and costs, for people who look, and for those who act.

`serving.py` opens it, `app.py` is its table of routes, `security.py` says who may ask and who may write.
What is shown comes from the journal (`page_journal.py`, `present.py`) and from the broker (`live.py`), and
reaches the page by an event stream (`stream.py`); `actions.py` writes, `what_if.py` replays in a process of
its own, `lecture.py` holds a demo's captions. The page itself is in `page/`: plain ES modules. It imports no
loop: `up` and `demo` open it beside theirs.
"""
