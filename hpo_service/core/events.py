"""The event log's vocabulary: one envelope, twelve kinds of payload, all frozen.

Every state change of a study is an event with a per-study sequence number, written in the transaction that
changes the tables. Algorithms fold them (see `core.algorithm`); `observe` must ignore kinds that it does not know.
Non-finite numbers travel as "NaN", "Infinity", "-Infinity" (`core.values`), unlimited targets as null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from hpo_service.core import proposals as proposals_module
from hpo_service.core.imported import TrialsImported as TrialsImported
from hpo_service.core.proposals import Proposal
from hpo_service.core.states import Origin, StudyState
from hpo_service.core.values import from_json as value_from_json
from hpo_service.core.values import to_json as value_to_json
from hpo_service.core.warm_start import WarmStarted as WarmStarted

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyCreated:
    """`chosen`: what `algorithm: auto` picked and why (`core.auto.Choice`: method, reason, text); empty for others."""

    kind: ClassVar[str] = "study_created"
    definition: Mapping[str, Any]
    chosen: Mapping[str, str] = field(default_factory=dict)

    @property
    def picked(self) -> str | None:
        """The method that `auto` picked."""
        return self.chosen.get("method")

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = {"definition": dict(self.definition)}
        return document | ({"chosen": dict(self.chosen)} if self.chosen else {})

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> StudyCreated:
        return cls(definition=document["definition"], chosen=document.get("chosen", {}))


@dataclass(frozen=True, kw_only=True, slots=True)
class DefinitionChanged:
    """The whole new definition; `space_version` counts up when the space was narrowed or widened. `reason` says why
    where the service changed it by itself; empty for what a user changed."""

    kind: ClassVar[str] = "definition_changed"
    definition: Mapping[str, Any]
    space_version: int
    changed: tuple[str, ...]  # paths: "budget.trials", "space"
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "definition": dict(self.definition),
            "space_version": self.space_version,
            "changed": list(self.changed),
            "reason": self.reason,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> DefinitionChanged:
        return cls(
            definition=document["definition"],
            space_version=document["space_version"],
            changed=tuple(document["changed"]),
            reason=document.get("reason", ""),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyStateChanged:
    kind: ClassVar[str] = "study_state_changed"
    state: StudyState
    reason: str

    def to_json(self) -> dict[str, Any]:
        return {"state": self.state.value, "reason": self.reason}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> StudyStateChanged:
        return cls(state=StudyState(document["state"]), reason=document["reason"])


@dataclass(frozen=True, kw_only=True, slots=True)
class EndingDeclared:
    """Hours or dollars, which a fold cannot see, are used up: nothing more is started or continued.

    An empty reason takes an earlier declaration back (the budget was raised).
    """

    kind: ClassVar[str] = "ending_declared"
    reason: str

    def to_json(self) -> dict[str, Any]:
        return {"reason": self.reason}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> EndingDeclared:
        return cls(reason=document["reason"])


@dataclass(frozen=True, kw_only=True, slots=True)
class EnqueuedTrial:
    trial: int
    params: Mapping[str, Any]
    origin: Origin = Origin.ENQUEUED
    retry_of: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialsEnqueued:
    """Configurations given by hand (or retries): they exist as waiting trials until the algorithm starts them."""

    kind: ClassVar[str] = "trials_enqueued"
    trials: tuple[EnqueuedTrial, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "trials": [
                {"trial": t.trial, "params": dict(t.params), "origin": t.origin.value, "retry_of": t.retry_of}
                for t in self.trials
            ]
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TrialsEnqueued:
        return cls(
            trials=tuple(
                EnqueuedTrial(
                    trial=t["trial"],
                    params=t["params"],
                    origin=Origin(t["origin"]),
                    retry_of=t.get("retry_of"),
                )
                for t in document["trials"]
            )
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """Committed proposals. They were computed from the log up to `observed_seq`, by `algorithm_version`."""

    kind: ClassVar[str] = "decided"
    decision: int
    observed_seq: int
    algorithm: str
    algorithm_version: int
    proposals: tuple[Proposal, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "decision": self.decision,
            "observed_seq": self.observed_seq,
            "algorithm": self.algorithm,
            "algorithm_version": self.algorithm_version,
            "proposals": [proposals_module.to_json(p) for p in self.proposals],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Decided:
        return cls(
            decision=document["decision"],
            observed_seq=document["observed_seq"],
            algorithm=document["algorithm"],
            algorithm_version=document["algorithm_version"],
            proposals=tuple(proposals_module.from_json(p) for p in document["proposals"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptChange:
    """An attempt that was opened again after an interruption, or taken up by a worker."""

    trial: int
    fence: int
    target: float
    from_resource: float
    worker: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptsReopened:
    """Interrupted trials placed again under a new fence, with the same target. No decision: algorithms ignore it."""

    kind: ClassVar[str] = "attempts_reopened"
    attempts: tuple[AttemptChange, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "attempts": [
                {
                    "trial": a.trial,
                    "fence": a.fence,
                    "target": None if a.target == proposals_module.UNLIMITED else a.target,
                    "from_resource": a.from_resource,
                    "worker": a.worker,
                }
                for a in self.attempts
            ]
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> AttemptsReopened:
        return cls(
            attempts=tuple(
                AttemptChange(
                    trial=a["trial"],
                    fence=a["fence"],
                    target=proposals_module.UNLIMITED if a["target"] is None else a["target"],
                    from_resource=a["from_resource"],
                    worker=a.get("worker"),
                )
                for a in document["attempts"]
            )
        )


class ReportRow(NamedTuple):
    """What folds need of one report; all metrics are rows in the store.

    `values`: one per objective and then one per constraint, in the definition's order; NaN where there is none. The
    first is the report's own value. The others are what the trial has come to with this report, by the rule of each
    (`at` of an objective; the newest one of any other metric), so that the newest report of a trial tells of it all.
    """

    trial: int
    fence: int
    step: int
    resource: float
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reported:
    """One event per batch; in the log it holds only the number of rows, whose values the store joins when loading."""

    kind: ClassVar[str] = "reported"
    reports: tuple[ReportRow, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "reports": [
                [r.trial, r.fence, r.step, r.resource, [value_to_json(v) for v in r.values]] for r in self.reports
            ]
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Reported:
        return cls(
            reports=tuple(
                ReportRow(trial=t, fence=f, step=s, resource=r, values=tuple(value_from_json(v) for v in values))
                for t, f, s, r, values in document["reports"]
            )
        )


class EndedAttempt(NamedTuple):
    """`trial_state` is what the trial became: paused (the algorithm decides), waiting (goes on), failed or stopped."""

    trial: int
    fence: int
    outcome: str  # workers.contract.Outcome
    trial_state: str
    resource: float
    reason: str = ""
    cost_microdollars: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptsEnded:
    kind: ClassVar[str] = "attempts_ended"
    attempts: tuple[EndedAttempt, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "attempts": [
                [a.trial, a.fence, a.outcome, a.trial_state, a.resource, a.reason, a.cost_microdollars]
                for a in self.attempts
            ]
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> AttemptsEnded:
        return cls(
            attempts=tuple(
                EndedAttempt(trial=t, fence=f, outcome=o, trial_state=s, resource=r, reason=why, cost_microdollars=cost)
                for t, f, o, s, r, why, cost in document["attempts"]
            )
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodChoice:
    """How trials of one structure are trained from now on: `method` plain or fused, at most `width` lanes a launch.

    `structure` holds the parameters that are no lanes. `measured` is what the choice was made by (seconds per step and
    trial), empty where nothing was measured; `source` says whether it was measured now, earlier, or set."""

    structure: Mapping[str, Any]
    method: str
    width: int
    device: str
    reason: str
    source: str = "measured"
    measured: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodsChosen:
    """Methods of some structures. `lanes` names the parameters in which trials of one launch may differ."""

    kind: ClassVar[str] = "methods_chosen"
    lanes: tuple[str, ...]
    choices: tuple[MethodChoice, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "lanes": list(self.lanes),
            "choices": [
                {
                    "structure": dict(c.structure),
                    "method": c.method,
                    "width": c.width,
                    "device": c.device,
                    "reason": c.reason,
                    "source": c.source,
                    "measured": dict(c.measured),
                }
                for c in self.choices
            ],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> MethodsChosen:
        return cls(
            lanes=tuple(document["lanes"]), choices=tuple(MethodChoice(**choice) for choice in document["choices"])
        )


Payload = (
    StudyCreated
    | DefinitionChanged
    | StudyStateChanged
    | EndingDeclared
    | TrialsEnqueued
    | Decided
    | AttemptsReopened
    | Reported
    | AttemptsEnded
    | MethodsChosen
    | TrialsImported
    | WarmStarted
)
PAYLOADS: Mapping[str, type[Payload]] = {
    kind.kind: kind
    for kind in (
        StudyCreated,
        DefinitionChanged,
        StudyStateChanged,
        EndingDeclared,
        TrialsEnqueued,
        Decided,
        AttemptsReopened,
        Reported,
        AttemptsEnded,
        MethodsChosen,
        TrialsImported,
        WarmStarted,
    )
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """The envelope. `seq` counts from 1 within the study without gaps; `epoch` is the writer's lease epoch or 0."""

    study_id: str
    seq: int
    payload: Payload
    at: datetime  # UTC, the database's clock
    epoch: int = 0
    schema_version: int = field(default=SCHEMA_VERSION)
