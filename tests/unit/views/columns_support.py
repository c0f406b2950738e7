"""Columns made from plain rows, for tests of analyses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.values import split, to_json
from hpo_service.store import bulk
from hpo_service.views.columns import StudyColumns

DEFAULTS: dict[str, Any] = {
    "state": "finished", "origin": "sampled", "bracket": None, "rung": None, "target": 10.0, "resource": 10.0,
    "seconds": 1.0, "cost_microdollars": 0, "created_at": 0, "started_at": None, "ended_at": None, "attempts": 1,
    "losses": 0, "retry_of": None, "params": {}, "metrics": {}, "violation": None, "parent_resource": None,
}  # fmt: skip
SPACE: dict[str, Any] = {
    "lr": {"type": "loguniform", "low": 1e-5, "high": 1.0, "default": 1e-3},
    "layers": {"type": "integer", "low": 1, "high": 8, "default": 3},
    "optimizer": {"type": "choice", "values": ["sgd", "adam", "lion"], "default": "sgd"},
    "momentum": {"type": "uniform", "low": 0.0, "high": 1.0, "default": 0.9, "when": {"optimizer": "sgd"}},
    "beta": {"type": "uniform", "low": 0.8, "high": 1.0, "default": 0.9, "when": {"optimizer": ["adam", "lion"]}},
}


def definition(**more: Any) -> StudyDefinition:
    return parse(
        {
            "name": "views",
            "objective": {"metric": "loss"},
            "space": SPACE,
            "algorithm": {"name": "random", "max_resource": 10},
            "trainer": {"external": True},
            "budget": {"trials": 60},
            **more,
        }
    )


def columns(study: StudyDefinition, rows: Sequence[Mapping[str, Any]]) -> StudyColumns:
    """Columns of the rows; `value` is of the first objective, `metrics` hold all of them."""
    made = []
    for number, given in enumerate(rows):
        row = {**DEFAULTS, **given, "number": number}
        value = row.get("value")
        kind, stored = (None, None) if value is None else split(float(value))
        failed = row["state"] == "failed"
        row |= {
            "value_kind": kind and kind.value,
            "value": stored,
            "sort_value": None if failed else stored,
            "params": json.dumps(row["params"]),
            "metrics": json.dumps({name: to_json(float(v)) for name, v in row["metrics"].items()}),
        }
        made.append(tuple(row[name] for name in bulk.FIELDS))
    found = StudyColumns("s", study)
    found.take(list(zip(*made, strict=True)) if made else [[] for _ in bulk.FIELDS])
    found.seq = 1
    assert found.n == len(rows)
    assert math.isfinite(found.n)
    return found
