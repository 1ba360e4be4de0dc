"""The harness itself."""

from __future__ import annotations

import re
from pathlib import Path


def test_the_harness_imports_nothing_of_what_it_tests() -> None:
    here = Path(__file__).parent
    modules = [
        *here.glob("*.py"),
        here.parent / "support/rabbitmq_node.py",
        here.parent / "support/tcp_proxy.py",
    ]
    modules.append(here.parent / "support/server_process.py")
    for module in modules:
        assert not re.search(r"^\s*(from|import) upswell\b", module.read_text(), re.MULTILINE), module
