"""The publisher: directories, object stores, lists and request files -> UploadRequest -> queue.

`loop.py` publishes, `request_file.py` reads requests, `tree.py` and `items.py` turn what is there into
requests, `stored_record.py` remembers what was stored.
"""

from upswell.publisher.loop import Publisher, each
from upswell.publisher.request_file import read_requests

__all__ = ["Publisher", "each", "read_requests"]
