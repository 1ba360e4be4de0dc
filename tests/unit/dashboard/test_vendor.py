"""The page refuses another uPlot than the one that it was made with."""

from __future__ import annotations

import base64
import hashlib

from upswell.dashboard.app import PAGE
from upswell.dashboard.vendor import vendor_files


def test_the_page_states_the_hash_of_each_file_of_uplot() -> None:
    text = (PAGE / "index.html").read_text()
    for name, path in vendor_files().items():
        digest = base64.b64encode(hashlib.sha384(path.read_bytes()).digest()).decode()
        tag = text[text.index(f"vendor/{name}") :].partition(">")[0]
        assert f'integrity="sha384-{digest}"' in tag, name
