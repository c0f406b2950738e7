"""A study of Optuna's, from any of its storages: `read_optuna("sqlite:///old.db", "name")`.

Its distributions become the space. Conditions, which Optuna has only in code, are taken from the trials. Optuna itself
reads the storage, so it must be installed where this runs.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpo_service.errors import InvalidInput, NotFound, Unsupported
from hpo_service.foreign.history import History, OldTrial, Report, State, fitted
from hpo_service.foreign.inference import legal_names, space_of, with_conditions
from search_spaces import BaseParameter, Choice, SearchSpace, SpaceError
from search_spaces.convert.optuna_plain import parameter_of

_STATES: dict[str, State] = {"COMPLETE": "finished", "PRUNED": "stopped", "FAIL": "failed"}


def read_optuna(storage: str, study: str | None = None, *, metrics: Sequence[str] = ()) -> History:
    """All trials that ended, with intermediate values, states, times and attributes.

    `storage`: what `optuna.create_study` takes, such as `sqlite:///old.db`, or the path of a journal file; `study` may
    be left out where there is one; `metrics` names the objectives. Raises InvalidInput, NotFound, and Unsupported
    where Optuna is not installed.
    """
    try:
        import optuna  # on the user's machine, and optional
    except ImportError:
        raise Unsupported("reading a study of Optuna's needs Optuna", remedy="pip install optuna") from None
    with _quiet(optuna):
        opened = _open(optuna, storage)
        found = _study(optuna, opened, storage, study)
        trials = found.get_trials(deepcopy=False)
        directions = [direction.name.lower() for direction in found.directions]
        names = _names(found, len(directions), metrics)
        about = dict(found.user_attrs)
    return _history(found.study_name, trials, list(zip(names, directions, strict=True)), about)


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _open(optuna: Any, storage: str) -> Any:
    file = Path(storage.removeprefix("sqlite:///") if storage.startswith("sqlite:///") else storage)
    if (storage.startswith("sqlite:///") or "://" not in storage) and not file.is_file():
        raise InvalidInput(f"the storage must be there, but there is no file {str(file)[:200]!r}", remedy="check it")
    try:
        if "://" not in storage:
            if file.read_bytes()[:6] == b"SQLite":
                return optuna.storages.get_storage(f"sqlite:///{file}")
            backend = optuna.storages.journal.JournalFileBackend(str(file))
            return optuna.storages.JournalStorage(backend)
        return optuna.storages.get_storage(storage)
    except Exception as error:  # a storage may fail in any way: it is another program's
        first = str(error).strip().splitlines()[:1]
        raise InvalidInput(
            f"Optuna must be able to open the storage, but says: {' '.join(first) or type(error).__name__}",
            remedy="of an older Optuna: `optuna storage upgrade --storage URL`, on a copy",
        ) from error


def _study(optuna: Any, opened: Any, storage: str, name: str | None) -> Any:
    names = sorted(optuna.get_all_study_names(storage=opened))
    if name is None and len(names) == 1:
        name = names[0]
    if name not in names:
        what = "has no study" if name is None else f"has no study {name!r}"
        if name is None and names:
            raise InvalidInput(
                f"{storage} has {len(names)} studies: {', '.join(names[:20])}", remedy="name one: --study NAME"
            )
        raise NotFound(f"{storage} {what}", remedy=f"it has {', '.join(names[:20]) or 'none'}")
    return optuna.load_study(study_name=name, storage=opened)


def _names(study: Any, count: int, given: Sequence[str]) -> list[str]:
    if given:
        if len(given) != count:
            raise InvalidInput(
                f"the study has {count} objectives, but {len(given)} metrics are named", remedy=f"name {count}"
            )
        return list(given)
    own = study.metric_names
    return list(own) if own else ["value"] if count == 1 else [f"value_{number}" for number in range(count)]


def _history(
    name: str, trials: Sequence[Any], objectives: Sequence[tuple[str, str]], about: Mapping[str, Any]
) -> History:
    notes: list[str] = []
    ended = [trial for trial in trials if trial.state.name in _STATES]
    if len(ended) < len(trials):
        notes.append(f"{len(trials) - len(ended)} trials that run or wait are left out")
    if not any(trial.params for trial in ended):
        raise InvalidInput(f"a history has trials with parameters, but {name!r} has none", remedy="give another study")
    steps = [step for trial in ended for step in trial.intermediate_values]
    first = min(steps, default=0)
    if first < 0:
        notes.append(f"steps begin with {first}; here they begin with 0")
    shift = -first if first < 0 else 0
    offset = 1 if first <= 0 else 0  # what has been done after step 0 is 1
    furthest = float(max(steps) + shift + offset) if steps else 1.0
    texts = _texts(ended, notes)
    legal = legal_names([name for trial in ended for name in trial.distributions], notes)
    metric = objectives[0][0]
    old = [
        _trial(
            one,
            [m for m, _ in objectives],
            metric,
            shift=shift,
            offset=offset,
            furthest=furthest,
            texts=texts,
            legal=legal,
        )
        for one in ended
    ]
    _attributes(ended, notes)
    if any(trial.datetime_start for trial in ended):
        notes.append("Optuna's times have no zone: they are taken for this machine's")
    return History(
        source=f"the Optuna study {name!r}",
        name=name,
        objectives=tuple(objectives),
        space=_space(ended, old, texts, legal, notes),
        trials=fitted(old, notes),
        notes=tuple(notes),
        resource=furthest,
        about="\n".join(f"{key}: {_short(value)}" for key, value in about.items()),
    )


def _trial(
    given: Any,
    names: Sequence[str],
    metric: str,
    *,
    shift: int,
    offset: int,
    furthest: float,
    texts: set[str],
    legal: Mapping[str, str],
) -> OldTrial:
    state = _STATES[given.state.name]
    values = given.values if state == "finished" else None
    reports: list[Report] = [
        (step + shift, float(step + shift + offset), {metric: float(value)})
        for step, value in sorted(given.intermediate_values.items())
    ]
    reason = {"stopped": "pruned in Optuna", "failed": _failure(given)}.get(state, "")
    return OldTrial(
        params={legal[name]: _plain(value) if name in texts else value for name, value in given.params.items()},
        state=state,
        reports=reports,
        metrics={} if values is None else dict(zip(names, map(float, values), strict=True)),
        resource=furthest if state == "finished" else None,  # it came to its end
        reason=reason,
        started_at=_utc(given.datetime_start),
        ended_at=_utc(given.datetime_complete),
        notes=_notes(given),
    )


def _failure(given: Any) -> str:
    reason = given.system_attrs.get("fail_reason")
    return str(reason)[:1_000] if reason else "failed in Optuna"


def _notes(given: Any) -> str:
    lines = [f"Optuna trial {given.number}"]
    lines += [f"{key}: {_short(value)}" for key, value in given.user_attrs.items()]
    if "constraints" in given.system_attrs:
        lines.append(f"constraints: {_short(given.system_attrs['constraints'])}")
    return "\n".join(lines)


def _attributes(trials: Sequence[Any], notes: list[str]) -> None:
    count = sum(bool(trial.user_attrs) for trial in trials)
    if count:
        notes.append(f"user attributes of {count} trials stand in their notes")
    if any("constraints" in trial.system_attrs for trial in trials):
        notes.append("constraints stand in the trials' notes; algorithms here do not look at them")


def _space(
    trials: Sequence[Any], old: Sequence[OldTrial], texts: set[str], legal: Mapping[str, str], notes: list[str]
) -> SearchSpace:
    """One parameter of all distributions of a name. Conditions are judged by trials that came to a value."""
    found: dict[str, BaseParameter] = {}
    kinds: dict[str, Any] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            if name in texts:
                continue
            known = kinds.get(name)
            if known is None or known != distribution:
                kinds[name] = distribution if known is None else _wider(name, known, distribution, notes)
    for name, distribution in kinds.items():
        try:
            found[legal[name]] = parameter_of(distribution)
        except SpaceError as error:
            raise InvalidInput(f"{name}: {error}", remedy="give a space of your own: --definition study.yaml") from None
    for name in texts:
        values = {trial.params[legal[name]]: None for trial in old if legal[name] in trial.params}
        found[legal[name]] = Choice(sorted(values))
    judged = [one.params for one in old if one.state != "failed"] or [one.params for one in old]
    ordered = {legal[name]: found[legal[name]] for trial in trials for name in trial.distributions}
    return space_of(with_conditions(ordered, judged, notes))


def _wider(name: str, one: Any, other: Any, notes: list[str]) -> Any:
    """A distribution that holds the values of both."""
    if hasattr(one, "choices") or type(one) is not type(other):
        raise InvalidInput(
            f"{name}: a parameter has one kind of distribution, but trials have {one} and {other}",
            remedy="give a space of your own: --definition study.yaml",
        )
    low, high = min(one.low, other.low), max(one.high, other.high)
    step = one.step if one.step == other.step and (other.low - one.low) % (one.step or 1) == 0 else None
    text = f"space.{name}: its range changed between trials; here it is {low} to {high}"
    if text not in notes:
        notes[:] = [note for note in notes if not note.startswith(f"space.{name}: its range changed")] + [text]
    log = bool(one.log and other.log)
    if type(one).__name__.startswith("Int"):
        return type(one)(low, high, log=log, step=1 if log else step or 1)
    return type(one)(low, high, log=log, step=None if log else step)


def _texts(trials: Sequence[Any], notes: list[str]) -> set[str]:
    """Names of parameters with choices that are no JSON scalars: they become JSON texts."""
    found = {
        name
        for trial in trials
        for name, distribution in trial.distributions.items()
        if any(isinstance(choice, list | tuple | dict) for choice in getattr(distribution, "choices", ()))
    }
    notes += [f"space.{name}: its choices are lists; here they are their JSON texts" for name in sorted(found)]
    return found


def _plain(value: Any) -> str:
    return json.dumps(value, default=str)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 10_000 else text[:9_999] + "…"


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
