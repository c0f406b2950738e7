"""Trials that ended elsewhere, as the log tells of them: one kind of event, beside those of `events`.

Their reports follow in a `reported` event of the same transaction. What an algorithm makes of them: `core.fold`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from hpo_service.core.states import TrialState
from hpo_service.core.values import from_json as value_from_json
from hpo_service.core.values import to_json as value_to_json


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedTrial:
    """A trial that was over before it came here. `value`: of the first objective by `objective.at`, None where it has
    none; `resource`: how far it was trained there; `others`: of the other objectives and the constraints' metrics, NaN
    where there is none."""

    trial: int
    params: Mapping[str, Any]
    state: TrialState  # finished, stopped or failed
    resource: float
    value: float | None
    reason: str
    others: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialsImported:
    """Trials of another tool, with their ends: algorithms learn from them, budgets do not count them."""

    kind: ClassVar[str] = "trials_imported"
    trials: tuple[ImportedTrial, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "trials": [
                {
                    "trial": t.trial,
                    "params": dict(t.params),
                    "state": t.state.value,
                    "resource": t.resource,
                    "value": None if t.value is None else value_to_json(t.value),
                    "reason": t.reason,
                    **({"others": [value_to_json(value) for value in t.others]} if t.others else {}),
                }
                for t in self.trials
            ]
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TrialsImported:
        return cls(
            trials=tuple(
                ImportedTrial(
                    trial=t["trial"],
                    params=t["params"],
                    state=TrialState(t["state"]),
                    resource=t["resource"],
                    value=None if t["value"] is None else value_from_json(t["value"]),
                    reason=t["reason"],
                    others=tuple(value_from_json(value) for value in t.get("others", ())),
                )
                for t in document["trials"]
            )
        )
