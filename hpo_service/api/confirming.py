"""Beginning a confirmation, and answering what one has come to, ensembles included."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpo_service import algorithms
from hpo_service.api import predictions
from hpo_service.api.access import Principal
from hpo_service.api.confirmed import ConfirmationAnswer, answer
from hpo_service.api.planning import require_code, require_permission
from hpo_service.api.state import Shared
from hpo_service.core import confirming, ensemble
from hpo_service.core.confirming import Candidate
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.ensemble import Ensemble
from hpo_service.core.states import StudyState, TrialState
from hpo_service.errors import Conflict, FieldProblem, InvalidInput
from hpo_service.store import finding, reading, studies
from hpo_service.store.rows import Remember, StudyRow, TrialRow
from hpo_service.views.confirmation import Confirmed, read
from search_spaces import SpaceError

ONLY_RECIPES = (
    "An ensemble needs what every model predicts for the same rows. Recipes keep that in a confirmation; functions, "
    "recipes with a loss of their own and external workers do not."
)


def begin(
    shared: Shared,
    study: StudyRow,
    caller: Principal,
    *,
    top: int,
    seeds: int,
    trials: Sequence[int],
    remember: Remember | None,
) -> StudyRow:
    """A new study that trains the best `top` trials of `study`, or these `trials`, again with `seeds` new seeds each.
    Raises Conflict where there is nothing to confirm yet, InvalidInput for trials that cannot be."""
    original = parse(study.definition)
    require_permission(original, caller)
    if original.confirms is not None:
        raise Conflict(
            f"study {study.id} is itself a confirmation, of study {original.confirms.study}",
            remedy=f"confirm that one again: hpo confirm {original.confirms.study}; each time the seeds are new",
        )
    rows = _named(shared, study, original, trials) if trials else _best(shared, study, original, top)
    if not rows:
        raise Conflict(
            f"study {study.id} has no trial with a finite value that could be confirmed",
            remedy="wait for one, or see why its trials failed: hpo show",
        )
    _require_whole(rows)
    _require_room(len(rows), seeds)
    candidates = [Candidate(trial=row.number, params=row.params) for row in rows]
    definition = confirming.definition_of(
        original,
        study=study.id,
        candidates=candidates,
        seeds=seeds,
        nth=len(finding.confirming(shared.db, study.id)),
        resource=study.best_resource,
        horizon=_horizon(shared, study, rows),
    )
    algorithms.check(definition)
    require_code(shared.db, shared.settings, definition)
    return studies.create_study(
        shared.db,
        definition,
        created_by=caller.name,
        state=StudyState.RUNNING if definition.trainer.external else StudyState.PREFLIGHT,
        remember=remember,
        confirmed=confirming.configurations(candidates, seeds),
    )


def outcome(shared: Shared, study: StudyRow, *, together: bool) -> ConfirmationAnswer:
    """What the confirmation has come to; `together`: and what an ensemble of its models gains. Raises NotFound for a
    study that confirms none."""
    found = read(shared.db, study)
    if not together:
        return answer(found)
    made, note = ensemble_of(shared, found)
    return answer(found, together=made, note=note)


def ensemble_of(shared: Shared, found: Confirmed) -> tuple[Ensemble | None, str]:
    """The ensemble of the confirmed models, or why there is none; with one, what was left out of it."""
    done = [
        (seed.value, seed.trial)
        for one in found.configurations
        for seed in one.seeds
        if seed.state is TrialState.FINISHED and seed.value is not None and math.isfinite(seed.value)
    ]
    if not done:
        return None, "No model is trained yet."
    order = [trial for _, trial in sorted(done, reverse=found.objective.maximize)]
    library = predictions.library(shared.settings.resolved_storage, found.study.id, order)
    if library is None:
        return None, ONLY_RECIPES
    metric = ensemble.quality(found.objective.metric, library.right.kind)
    notes = []
    if metric != found.objective.metric.removeprefix("val_"):
        notes.append(f"{found.objective.metric} is not known of averaged predictions; measured by {metric}.")
    left_out = len(order) - len(library.models)
    if left_out:
        notes.append(f"{left_out} of {len(order)} models are left out: too large, or of other rows.")
    return ensemble.ensemble(library.models, library.right, metric=metric), " ".join(notes)


def _best(shared: Shared, study: StudyRow, original: StudyDefinition, top: int) -> list[TrialRow]:
    """The best different configurations that lie in the space as it is now."""
    found: dict[str, TrialRow] = {}
    for row in reading.best(shared.db, study.id, limit=4 * top + 20):
        key = _key(original, row)
        if key is not None and key not in found and len(found) < top:
            found[key] = row
    return list(found.values())


def _named(shared: Shared, study: StudyRow, original: StudyDefinition, numbers: Sequence[int]) -> list[TrialRow]:
    unique = list(dict.fromkeys(numbers))
    rows = {row.number: row for row in reading.some(shared.db, study.id, unique)}
    keys: dict[str, int] = {}
    problems = []
    for number in unique:
        key = _key(original, rows[number]) if number in rows else None
        rule = remedy = ""
        if number not in rows:
            rule, remedy = f"study {study.id} has no such trial", "list them with `hpo trials`"
        elif key is None:
            rule, remedy = "the trial lies outside the study's space as it is now", "name another trial"
        elif key in keys:
            rule, remedy = f"trial {keys[key]} has the same configuration", "name one of them"
        else:
            keys[key] = number
        if rule:
            problems.append(FieldProblem(path="trials", rule=rule, value=number, remedy=remedy))
    if problems:
        raise InvalidInput.of(*problems)
    return [rows[number] for number in unique]


def _require_whole(rows: Sequence[TrialRow]) -> None:
    """Raises Conflict for trials whose weights come from others: their configuration alone never made them."""
    forked = [row.number for row in rows if row.parent is not None]
    if forked:
        raise Conflict(
            f"a confirmation trains one configuration from the start, but trial {forked[0]} went on from another one's "
            "weights: its schedule made it",
            remedy="name trials of the first population (`--trials 0,1`), or reproduce it: hpo reproduce",
        )


def _key(original: StudyDefinition, row: TrialRow) -> str | None:
    """Names the configuration; None where it is not of the space."""
    space = original.search_space
    try:
        space.validate_params(row.params)
        return space.config_key(row.params)
    except SpaceError:
        return None


def _horizon(shared: Shared, study: StudyRow, rows: Sequence[TrialRow]) -> float | None:
    best = next((row for row in rows if row.number == study.best_trial), None)
    if best is None and study.best_trial is not None:
        best = reading.trial(shared.db, study.id, study.best_trial)
    return None if best is None else best.horizon


def _require_room(count: int, seeds: int) -> None:
    if count * seeds > confirming.MOST_TRIALS:
        rule = f"a confirmation trains at most {confirming.MOST_TRIALS} models"
        remedy = "confirm fewer trials, or with fewer seeds"
        raise InvalidInput.of(FieldProblem(path="seeds", rule=rule, value=f"{count} × {seeds}", remedy=remedy))
