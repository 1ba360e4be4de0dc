"""The handler seam: what a worker does with a request.

`upload.py` stores it, `simulate.py` only takes time; `--handler package.module:function` names your own.
`load.py` turns the setting into a handler.
"""

from upswell.handlers.protocol import Handler, Stored

__all__ = ["Handler", "Stored"]
