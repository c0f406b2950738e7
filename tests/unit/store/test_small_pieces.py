"""Pure pieces: cursors, downsampling, the best trial, values and parameters as columns."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.core import values
from hpo_service.errors import InvalidInput
from hpo_service.store import cursors
from hpo_service.store.batch import reason_of
from hpo_service.store.curves import sample
from hpo_service.store.mapping import joined, load_metrics, metrics_json, param_rows
from hpo_service.store.scoring import Best, columns, jsonable
from hpo_service.store.tx import dump

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@given(st.text(), st.one_of(st.integers(), st.floats(allow_nan=False), st.text()), st.integers())
def test_cursors_come_back(kind: str, key: Any, number: int) -> None:
    if isinstance(key, float) and math.isinf(key):
        key = 0.0
    packed = cursors.pack(kind, (key, number))
    assert cursors.unpack(packed, kind, ((int, float, str), int)) == [key, number]
    with pytest.raises(InvalidInput):
        cursors.unpack(packed, kind + "x", ((int, float, str), int))


@given(st.text(max_size=40))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        cursors.unpack(text, "a kind that nobody guesses", (int,))


@given(st.lists(NUMBERS, max_size=300), st.integers(1, 60))
@settings(max_examples=60)
def test_a_sample_keeps_ends_and_extremes(series: list[float], most: int) -> None:
    data = [values.to_json(v) for v in series]
    picked = sample(data, most)
    assert picked == sorted(set(picked))
    assert len(picked) <= max(most, len(series) if len(series) <= most else most)
    if series and most >= 4:
        assert picked[0] == 0
        assert picked[-1] == len(series) - 1
        finite = [v for v in series[1:-1] if math.isfinite(v)]
        kept = [series[i] for i in picked]
        if finite:
            assert min(finite) in kept


@given(NUMBERS)
def test_values_come_back_from_their_columns(value: float) -> None:
    (number,) = jsonable({"x": value}).values()
    assert repr(joined(*columns(number))) == repr(float(value))
    assert repr(load_metrics(dump(metrics_json({"x": value})))["x"]) == repr(float(value))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 4), st.one_of(st.none(), st.sampled_from([0.1, 0.5, 0.9])), st.sampled_from([1.0, 3.0])
        ),
        max_size=20,
    ),
    st.booleans(),
)
def test_the_best_is_right_or_known_to_be_stale(steps: list[tuple[int, float | None, float]], maximize: bool) -> None:
    best = Best(None, None, None, maximize)
    standing: dict[int, tuple[float | None, float]] = {}
    for trial, value, resource in steps:
        resource = max(resource, standing.get(trial, (None, 0.0))[1])
        standing[trial] = (value, resource)
        best.consider(trial, value, resource)
        ranking = [(-r, -v if maximize else v, t) for t, (v, r) in standing.items() if v is not None]
        right = min(ranking)[2] if ranking else None
        if best.stale:
            return
        assert best.trial == right


def test_parameters_as_rows() -> None:
    params = {"lr": 1e-300, "n": 10**400, "name": "a\x00", "flag": True, "none": None, "i": 3, "odd": math.inf}
    assert param_rows("s", 1, params) == [
        ("s", 1, "lr", 1e-300, None),
        ("s", 1, "n", None, None),
        ("s", 1, "name", None, "a\ufffd"),
        ("s", 1, "flag", None, "true"),
        ("s", 1, "none", None, "null"),
        ("s", 1, "i", 3.0, None),
        ("s", 1, "odd", None, None),
    ]


def test_reasons_begin_with_the_kind_of_failure() -> None:
    assert reason_of(None, "x") == "x"
    assert reason_of("killed", "") == "killed"
    assert reason_of("killed", "signal 9") == "killed: signal 9"
    assert reason_of("killed", "killed: signal 9") == "killed: signal 9"
