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


def test_numbers_among_texts_have_labels_that_tell_them_apart() -> None:
    rows = [{"params": {"size": size}} for size in ("auto", 2**20, 2**20 + 1, 0.5)]
    found = sample(columns(definition(), rows), ["param.size"], np.ones(4, dtype=np.bool_), 10)
    assert found["fields"][0]["labels"] == ["auto", "0.5", "1048576", "1048577"]
    assert found["columns"]["size"].tolist() == [0.0, 2.0, 3.0, 1.0]
