"""The contract suites, for the tests of packages that add a fleet or a handler.

    from upswell.testing import FleetContract, STAND_IN

    class TestMyFleet(FleetContract):
        @pytest.fixture
        def open_fleet(self, tmp_path):
            return lambda: MyFleet(tmp_path, command=[sys.executable, str(STAND_IN)])

Upswell's own fleets and handlers are held to the same classes. pytest is imported nowhere else.
"""

import pytest

pytest.register_assert_rewrite("upswell.testing.fleets", "upswell.testing.handlers")

from upswell.testing.fleets import STAND_IN, FleetContract  # noqa: E402 - after their asserts were registered
from upswell.testing.handlers import HandlerContract  # noqa: E402 - as above

__all__ = ["STAND_IN", "FleetContract", "HandlerContract"]
