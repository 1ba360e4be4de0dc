from __future__ import annotations

import pytest

from upswell.errors import PermanentUploadError
from upswell.stores.clients.http.connection import CheckedConnection
from upswell.stores.clients.http.limits import Patience
from upswell.stores.clients.http.url import parse_url


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://[::1]:9/x"])
def test_http_client_connects_by_the_check_and_by_nothing_else(url: str) -> None:
    """Its own way would connect to whatever address the name has."""
    connection = CheckedConnection(parse_url(url), [], Patience(1.0, 1.0, 0.0), None)
    with pytest.raises(PermanentUploadError, match="is neither public nor in source_networks"):
        connection.request("GET", "/x")
    assert connection.sock is None
