"""Which columns of which trials are sent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hpo_service.views.sample import CELLS, sample
from tests.unit.views.columns_support import columns, definition


@pytest.mark.parametrize("fields", [1, 8, 64])
def test_many_fields_of_many_trials_are_thinned(fields: int) -> None:
    space = {f"p{k}": {"type": "uniform", "low": 0.0, "high": 1.0} for k in range(64)}
    rows: list[dict[str, Any]] = [{"params": dict.fromkeys(space, 0.5), "value": float(k)} for k in range(6_000)]
    held = columns(definition(space=space), rows)
    names = [f"param.{name}" for name in list(space)[:fields]]
    found = sample(held, names, np.ones(held.n, dtype=np.bool_), 5_000)
    assert found["shown"] == min(5_000, CELLS // fields) == found["number"].size
    assert found["of"] == found["matching"] == 6_000
    assert str(f"{found['shown'] // 2:,}") in found["chosen"]
    assert all(column.size == found["shown"] for column in found["columns"].values())
