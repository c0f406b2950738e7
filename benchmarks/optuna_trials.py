"""In Optuna's own Python, as a child process: copies our study's trials into a database of Optuna's.

Imports nothing but Optuna and the standard library. Studies and tables are Optuna's making; rows go in by bulk SQL,
for its own verbs would take hours.
"""

from __future__ import annotations

import importlib
import itertools
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from benchmarks import children

BATCH = 20_000


def answer(how: str, **request: Any) -> dict[str, Any]:
    """`{"how": "probe"}`: its versions; `{"how": "copy", …}`: copies."""
    if how == "copy":
        return copy(**request)
    try:
        import optuna

        dashboard = importlib.import_module("optuna_dashboard")
    except ImportError as error:
        return {"missing": str(error)}
    return {"optuna": optuna.__version__, "dashboard": dashboard.__version__}


def copy(source: str, study: str, metric: str, space: dict[str, Any], target: str) -> dict[str, Any]:
    """All finished trials of the study with their parameters and the metric's reports; the rest still run."""
    import optuna

    began = time.perf_counter()
    storage = f"sqlite:///{target}"
    made = optuna.create_study(storage=storage, direction="maximize", study_name="benchmark")
    kinds = {name: _distribution(one) for name, one in space.items()}
    texts = {name: optuna.distributions.distribution_to_json(one) for name, one in kinds.items()}
    ours = sqlite3.connect(f"file:{source}?mode=ro", uri=True)
    theirs = sqlite3.connect(target)
    trials = ours.execute(
        "SELECT number, state, params, value, created_at, ended_at FROM trials WHERE study_id = ?", (study,)
    ).fetchall()
    _many(theirs, "trials (trial_id, number, study_id, state, datetime_start, datetime_complete)", (
        (n + 1, n, made._study_id, "COMPLETE" if state == "finished" else "RUNNING", _time(start), _time(end))
        for n, state, _, _, start, end in trials
    ))  # fmt: skip
    _many(theirs, "trial_params (trial_id, param_name, param_value, distribution_json)", (
        (n + 1, name, kinds[name].to_internal_repr(value), texts[name])
        for n, _, params, *_ in trials for name, value in json.loads(params).items()
    ))  # fmt: skip
    _many(theirs, "trial_values (trial_id, objective, value, value_type)", (
        (n + 1, 0, value, "FINITE") for n, state, _, value, *_ in trials if state == "finished"
    ))  # fmt: skip
    values = "SELECT trial + 1, step, json_extract(metrics, '$.' || ?), 'FINITE' FROM reports WHERE study_id = ?"
    reports = ours.execute(values, (metric, study))
    columns = "trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)"
    count = _many(theirs, columns, reports)
    theirs.commit()
    theirs.close()
    running = [n for n, state, *_ in trials if state != "finished"]
    return {"trials": len(trials), "reports": count, "running": running, "seconds": time.perf_counter() - began}


def _distribution(one: dict[str, Any]) -> Any:
    from optuna import distributions

    kind = one["type"]
    if kind == "choice":
        return distributions.CategoricalDistribution(one["values"])
    if kind in ("integer", "power_of_two"):
        return distributions.IntDistribution(one["low"], one["high"])
    return distributions.FloatDistribution(one["low"], one["high"], log=kind == "loguniform")


def _many(theirs: sqlite3.Connection, into: str, rows: Iterable[tuple[Any, ...]]) -> int:
    count = 0
    for batch in _batches(iter(rows)):
        theirs.executemany(f"INSERT INTO {into} VALUES ({', '.join('?' * len(batch[0]))})", batch)
        count += len(batch)
    return count


def _batches(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    while batch := list(itertools.islice(rows, BATCH)):
        yield batch


def _time(micros: int | None) -> str | None:
    return None if micros is None else datetime.fromtimestamp(micros / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


if __name__ == "__main__":
    children.serve(answer)
