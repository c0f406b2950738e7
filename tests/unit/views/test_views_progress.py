"""Best so far of a study that improved with every trial."""

from __future__ import annotations

import numpy as np

from hpo_service.views.progress import STEPS, by_trial, spent
from tests.unit.views.columns_support import columns, definition


def test_many_improvements_are_thinned() -> None:
    found = columns(definition(), [{"value": -float(number)} for number in range(3 * STEPS)])
    numbers, values = by_trial(found)
    assert numbers.size == STEPS
    assert (numbers[0], numbers[-1]) == (0, 3 * STEPS - 1)
    assert np.array_equal(values, -numbers)


def test_what_was_taken_over_with_weights_is_not_spent_again() -> None:
    rows = [{"resource": 4.0}, {"resource": 6.0, "parent_resource": 4.0}]
    resource, _ = spent(columns(definition(), rows))
    assert sorted(resource) == [4.0, 6.0]
