"""What a rehearsal works out of a few numbers without numpy: the same as numpy does."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.simulator import rehearsal
from upswell.simulator.rehearsal import in_order

seconds = st.floats(0.0, 100.0)


@given(uploads=st.lists(st.tuples(seconds, st.sampled_from((1.0, 2.0, 3.5))), min_size=1, max_size=40))
def test_few_uploads_come_in_the_order_of_many(uploads: list[tuple[float, float]]) -> None:
    """Arrivals within 20 to 60 s; equal ones by their service times."""
    flat = array("d", (value for upload in uploads for value in upload))
    found = in_order(flat, 20.0, 60.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rehearsal, "_FEW", 0)
        by_numpy = in_order(flat, 20.0, 60.0)
    for ours, theirs in zip(found, by_numpy, strict=True):
        np.testing.assert_array_equal(ours, theirs)
