"""A results folder of Ray Tune's: `read_ray_tune("~/ray_results/my-experiment", metric="loss", direction="minimize")`.

Read are `params.json` and `result.json` (else `progress.csv`) of each trial and, of the experiment's state, how trials
ended. What is pickled is never loaded: so the space is guessed from the values, or given.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpo_service.errors import FieldProblem, InvalidInput
from hpo_service.foreign.history import History, OldTrial, Report, State, fitted, is_number
from hpo_service.foreign.inference import inferred, renamed_legally, space_of, with_conditions

MAX_DEPTH = 3
OWN = frozenset(
    {
        "timestamp", "checkpoint_dir_name", "done", "training_iteration", "trial_id", "date", "time_this_iter_s",
        "time_total_s", "pid", "hostname", "node_ip", "config", "time_since_restore", "iterations_since_restore",
        "should_checkpoint", "experiment_tag", "timesteps_total", "episodes_total", "timesteps_since_restore",
        "warmup_time", "experiment_id",
    }
)  # fmt: skip
"""Fields of a result that Ray adds by itself."""


def read_ray_tune(folder: str | Path, *, metric: str, direction: str = "minimize", name: str | None = None) -> History:
    """All trials that ended, with every number that they reported.

    Raises InvalidInput where the folder holds no trials or none reported the metric.
    """
    root = Path(folder).expanduser()
    if direction not in ("minimize", "maximize"):
        rule = "direction is minimize or maximize"
        raise InvalidInput.of(FieldProblem(path="direction", rule=rule, value=direction))
    places = sorted(_trials(root, MAX_DEPTH)) if root.is_dir() else []
    if not places:
        raise InvalidInput(
            f"a results folder holds a folder with params.json for each trial, but {str(root)[:200]!r} holds none",
            remedy="give the experiment's own folder",
        )
    notes: list[str] = []
    states = _states(root, notes)
    read = [one for place in places if (one := _trial(place, states.get(place.name), notes)) is not None]
    if not any(metric in report[2] for one in read for report in one.reports):
        known = sorted({name for one in read for report in one.reports for name in report[2]})
        raise InvalidInput(
            f"no trial reported the metric {metric!r}", remedy=f"reported were {', '.join(known[:20]) or 'none'}"
        )
    furthest = max((report[1] for one in read for report in one.reports), default=0.0)
    trials = renamed_legally([_judged(one, furthest) for one in read], notes)
    if any(one.state == "stopped" for one in trials):
        notes.append(
            f"trials that ended before {furthest:g} iterations are stopped: Ray's records do not say whether a "
            "scheduler stopped them or they ended by themselves"
        )
    configurations = [one.params for one in trials]
    space = space_of(with_conditions(inferred(configurations, notes), configurations, notes))
    return History(
        source=f"the Ray Tune results in {root.name!r}",
        name=name or root.name,
        objectives=((metric, direction),),
        space=space,
        trials=fitted(trials, notes),
        notes=tuple(notes),
        resource=furthest,
    )


def _trials(folder: Path, depth: int) -> Iterator[Path]:
    for place in folder.iterdir():
        if place.is_dir() and not place.is_symlink():
            if (place / "params.json").is_file():
                yield place
            elif depth > 1:
                yield from _trials(place, depth - 1)


def _states(root: Path, notes: list[str]) -> dict[str, dict[str, Any]]:
    """By the trial's folder, what the newest state of the experiment says: status, start_time."""
    files = sorted(root.glob("**/experiment_state-*.json"))
    found: dict[str, dict[str, Any]] = {}
    for file in files:
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
            for entry in document.get("trial_data", ()):
                told, runtime = (json.loads(part) for part in entry)
                where = str(told.get("relative_logdir") or "")
                found[Path(where).name] = {"status": told.get("status"), "start_time": runtime.get("start_time")}
        except (OSError, ValueError, AttributeError, TypeError):
            notes.append(f"{file.name} cannot be read: how trials ended is taken from their own folders")
    return found


def _trial(place: Path, told: Mapping[str, Any] | None, notes: list[str]) -> OldTrial | None:
    """One trial's folder; None where it did not end."""
    try:
        params = _flat(json.loads((place / "params.json").read_text(encoding="utf-8")))
        results = list(_results(place))
    except (OSError, ValueError, TypeError) as error:
        notes.append(f"{place.name}: cannot be read and is left out ({type(error).__name__}: {error})"[:300])
        return None
    error_file = place / "error.txt"
    status = (told or {}).get("status")
    if status in ("RUNNING", "PENDING", "PAUSED") and not error_file.is_file():
        notes.append(f"{place.name}: is {str(status).lower()} and left out")
        return None
    failed = status == "ERROR" or error_file.is_file()
    reason = _last_line(error_file) if failed else ""
    ended = max((t for result in results if (t := _float(result.get("timestamp"))) is not None), default=None)
    began = _float((told or {}).get("start_time"))
    if began is None and ended is not None:
        began = ended - (_float(results[-1].get("time_total_s")) or 0.0)
    return OldTrial(
        params=params,
        state="failed" if failed else "finished",
        reports=_reports(results),
        reason=reason,
        started_at=_moment(began),
        ended_at=_moment(ended),
        notes=f"Ray Tune trial {place.name}",
    )


def _judged(trial: OldTrial, furthest: float) -> OldTrial:
    reached = max((report[1] for report in trial.reports), default=0.0)
    if trial.state == "failed" or reached >= furthest:
        return trial
    state: State = "stopped" if trial.reports else "failed"
    reason = f"ended after {reached:g} of {furthest:g} iterations" if trial.reports else "it reported nothing"
    return replace(trial, state=state, reason=reason)


def _results(place: Path) -> Iterator[dict[str, Any]]:
    lines = place / "result.json"
    if lines.is_file() and lines.stat().st_size:
        for line in lines.read_text(encoding="utf-8").splitlines():
            if line.strip():
                yield json.loads(line)
    elif (place / "progress.csv").is_file():
        with (place / "progress.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield {key: _number(value) for key, value in row.items() if key and value not in (None, "")}


def _reports(results: Sequence[Mapping[str, Any]]) -> list[Report]:
    """Per iteration the last result: a trial that was restored reports some again."""
    found: dict[int, dict[str, float]] = {}
    for place, result in enumerate(results, start=1):
        iteration = int(_float(result.get("training_iteration")) or place)
        metrics = {k: float(v) for k, v in _flat_numbers(result) if k not in OWN}
        if metrics:
            found[iteration] = metrics
    return [(iteration, float(iteration), found[iteration]) for iteration in sorted(found)]


def _flat_numbers(result: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in result.items():
        if is_number(value):
            yield f"{prefix}{name}", value
        elif isinstance(value, Mapping) and name != "config":
            yield from _flat_numbers(value, f"{prefix}{name}/")


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters under names with dots; what is no JSON scalar as its JSON text."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        elif (
            value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
        ):
            found[f"{prefix}{name}"] = value
        else:
            found[f"{prefix}{name}"] = json.dumps(value)
    return found


def _number(text: Any) -> Any:
    try:
        return float(text)
    except (TypeError, ValueError):
        return text


def _float(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def _last_line(file: Path) -> str:
    try:
        lines = [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        return "failed in Ray Tune"
    return lines[-1].strip()[:1_000] if lines else "failed in Ray Tune"


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
