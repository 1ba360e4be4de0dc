"""The contract suites, for the tests of packages that add a policy, a fleet, a handler or a store.

    import pytest
    from upswell.testing import STAND_IN, FleetContract, PolicyContract

    @pytest.mark.parametrize("policy", ["mypackage.module:MyPolicy"])
    class TestMyPolicy(PolicyContract):
        pass

    class TestMyFleet(FleetContract):
        @pytest.fixture
        def open_fleet(self, tmp_path):
            return lambda: MyFleet(tmp_path, command=[sys.executable, str(STAND_IN)])

Upswell's own are held to the same classes. They need the extra `testing`: pytest and hypothesis,
which are imported nowhere else.
"""

import pytest

pytest.register_assert_rewrite(
    "upswell.testing.fleets",
    "upswell.testing.handlers",
    "upswell.testing.policies",
    "upswell.testing.stores",
)

from upswell.testing.fleets import STAND_IN, FleetContract  # noqa: E402 - after their asserts were registered
from upswell.testing.handlers import HandlerContract  # noqa: E402 - as above
from upswell.testing.policies import PolicyContract  # noqa: E402 - as above
from upswell.testing.stores import StoreContract, WritersContract  # noqa: E402 - as above

__all__ = [
    "STAND_IN",
    "FleetContract",
    "HandlerContract",
    "PolicyContract",
    "StoreContract",
    "WritersContract",
]
