"""Best so far of a study that improved with every trial."""

from __future__ import annotations

import numpy as np

from hpo_service.views.progress import STEPS, by_trial
from tests.unit.views.columns_support import columns, definition


def test_many_improvements_are_thinned() -> None:
    found = columns(definition(), [{"value": -float(number)} for number in range(3 * STEPS)])
    numbers, values = by_trial(found)
    assert numbers.size == STEPS
    assert (numbers[0], numbers[-1]) == (0, 3 * STEPS - 1)
    assert np.array_equal(values, -numbers)
