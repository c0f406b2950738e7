"""Trials from a table: `read_csv("runs.csv", objective=["loss"], params=["lr", "batch"])`, a row each.

Columns of parameters and objectives are named; `state`, `started_at` and `ended_at` (or `datetime_start`,
`datetime_complete`) are known where they are there, and other columns of numbers become metrics. Numbers are read as
numbers, true and false as truth values, the rest as text. The space is guessed from the values, or given.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpo_service.errors import FieldProblem, InvalidInput
from hpo_service.foreign.history import History, OldTrial, State, fitted
from hpo_service.foreign.inference import inferred, renamed_legally, space_of, with_conditions
from search_spaces.errors import nearest

MAX_ROWS = 1_000_000
STATES: Mapping[str, State | None] = {
    "finished": "finished", "complete": "finished", "completed": "finished", "succeeded": "finished",
    "success": "finished", "done": "finished", "terminated": "finished",
    "stopped": "stopped", "pruned": "stopped", "early_stopped": "stopped", "killed": "stopped",
    "failed": "failed", "fail": "failed", "error": "failed", "crashed": "failed",
    "running": None, "waiting": None, "pending": None, "paused": None,
}  # fmt: skip
_STARTED, _ENDED = ("started_at", "datetime_start", "start_time"), ("ended_at", "datetime_complete", "end_time")
_OTHERS = {"state", "number", "trial", "duration", *_STARTED, *_ENDED}
_PREFIX = "params_"


def read_csv(
    file: str | Path,
    *,
    objective: str | Sequence[str],
    direction: str | Sequence[str] = ("minimize",),
    params: str | Sequence[str] = (),
    name: str | None = None,
) -> History:
    """One finished trial per row; a row whose objective is missing or no number is a failed one. A name by itself is a
    list of one.

    `params` left out: the columns that begin with `params_`, as Optuna's tables have them. Raises InvalidInput naming
    columns and rows that cannot be read.
    """
    path = Path(file)
    objective, params = _listed(objective), _listed(params)
    columns, rows = _rows(path)
    directions = _directions(objective, _listed(direction))
    chosen = _chosen(columns, objective, params)
    notes: list[str] = []
    trials, running = [], 0
    for number, row in enumerate(rows, start=2):
        trial = _trial(number, row, objective, chosen)
        running += trial is None
        if trial is not None:
            trials.append(trial)
    trials = renamed_legally(trials, notes)
    if running:
        notes.append(f"{running} rows that run or wait are left out")
    if not any(trial.params for trial in trials):
        raise InvalidInput(f"{path.name} has no rows with parameters that ended", remedy="check the columns")
    more = [one for one in columns if one not in {*objective, *chosen} | _OTHERS]
    if more:
        notes.append(f"other columns of numbers are kept as metrics: {', '.join(more[:20])}")
    configurations = [trial.params for trial in trials]
    space = space_of(with_conditions(inferred(configurations, notes), configurations, notes))
    return History(
        source=f"the table {path.name!r}",
        name=name or path.stem,
        objectives=tuple(zip(objective, directions, strict=True)),
        space=space,
        trials=fitted(trials, notes),
        notes=tuple(notes),
        resource=1.0,
    )


def _rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="", strict=True)
            columns = [name for name in reader.fieldnames or () if name]
            rows = []
            for row in reader:
                rows.append({key: value or "" for key, value in row.items() if key})
                if len(rows) > MAX_ROWS:
                    raise InvalidInput(f"a table has at most {MAX_ROWS} rows", remedy="split it")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{str(path)[:200]!r} must be a readable CSV file ({error})", remedy="check it") from None
    return columns, rows


def _listed(names: str | Sequence[str]) -> Sequence[str]:
    return [names] if isinstance(names, str) else names


def _directions(objective: Sequence[str], direction: Sequence[str]) -> list[str]:
    if not objective:
        raise InvalidInput.of(FieldProblem(path="objective", rule="a study optimises a column", remedy="name one"))
    found = list(direction) * len(objective) if len(direction) == 1 else list(direction)
    if len(found) != len(objective) or not set(found) <= {"minimize", "maximize"}:
        rule = "direction is minimize or maximize, one or one per objective"
        raise InvalidInput.of(FieldProblem(path="direction", rule=rule, value=list(direction)))
    return found


def _chosen(columns: Sequence[str], objective: Sequence[str], params: Sequence[str]) -> dict[str, str]:
    """Column → the parameter's name."""
    for column in (*objective, *params):
        if column not in columns:
            rule, remedy = "a named column is in the table", nearest(column, columns)
            raise InvalidInput.of(FieldProblem(path="columns", rule=rule, value=column, remedy=remedy))
    if params:
        return {column: column for column in params}
    found = {column: column.removeprefix(_PREFIX) for column in columns if column.startswith(_PREFIX)}
    if not found:
        rule = "the columns of the parameters are named, or begin with params_"
        raise InvalidInput.of(FieldProblem(path="params", rule=rule, remedy="name them: --params lr,batch_size"))
    return found


def _trial(number: int, row: Mapping[str, str], objective: Sequence[str], chosen: Mapping[str, str]) -> OldTrial | None:
    word = row.get("state", "").strip().lower().removeprefix("trialstate.")
    state = STATES.get(word or "finished", "")
    if state == "":
        raise InvalidInput.of(
            FieldProblem(path=f"line {number}", rule="unknown state", value=word, remedy=nearest(word, STATES))
        )
    if state is None:
        return None
    values = {column: _float(row.get(column, "")) for column in objective}
    others = {
        column: value
        for column, text in row.items()
        if column not in {*objective, *chosen} | _OTHERS and (value := _float(text)) is not None
    }
    first = values[objective[0]]
    failed = state == "finished" and first is None
    started, ended = (_moment(row, names, number) for names in (_STARTED, _ENDED))
    return OldTrial(
        params={name: _scalar(row[column]) for column, name in chosen.items() if row[column].strip() != ""},
        state="failed" if failed else state,  # type: ignore[arg-type]  # one of the three
        metrics={**others, **{name: value for name, value in values.items() if value is not None}},
        resource=1.0,
        reason=f"no value of {objective[0]}" if failed else "",
        started_at=started,
        ended_at=ended,
        notes=f"line {number} of the table",
    )


def _scalar(text: str) -> Any:
    """A number, a truth value or the text itself; "NaN" stays text, for a parameter is never that."""
    plain = text.strip()
    if plain.lower() in ("true", "false"):
        return plain.lower() == "true"
    if "_" in plain:
        return plain  # Python would read 64_32 as 6432
    for read in (int, float):
        try:
            number = read(plain)
        except ValueError:
            continue
        return number if math.isfinite(number) and abs(number) < 2**63 else plain
    return plain


def _float(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _moment(row: Mapping[str, str], names: Sequence[str], number: int) -> datetime | None:
    text = next((row[name].strip() for name in names if row.get(name, "").strip()), "")
    if not text:
        return None
    seconds = _float(text)
    try:
        if seconds is not None and math.isfinite(seconds):
            return datetime.fromtimestamp(seconds, UTC)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        remedy = "write 2026-05-01T12:00:00+00:00"
        raise InvalidInput.of(
            FieldProblem(path=f"line {number}", rule="a time is ISO 8601", value=text, remedy=remedy)
        ) from None
