"""How trials of a structure are best trained, where the study's log does not say yet: found among earlier measurements,
measured by a worker, or taken from the nearest structure. What was found becomes one event; nothing else decides.

Measuring is bounded: `FLOOR_S` and `SHARE` of the workers' time that the study has taken and, by its mean trial, will
take. Beyond that a structure gets the method of the nearest one that is known.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from hpo_service import algorithms
from hpo_service.controller import orders, widths
from hpo_service.controller.flights import Flights
from hpo_service.controller.tried import Answers, Tried
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.events import MethodChoice, MethodsChosen
from hpo_service.core.launches import BLOCK, FUSED, PLAIN, Group, Methods, structure_key, structure_of
from hpo_service.executors.base import Capacity, Executor, Need
from hpo_service.store import decisions, methods, reading
from hpo_service.store.database import Database
from hpo_service.store.rows import StudyRow
from workers.contract import Calibrate, Calibrated, Narrowed, Outcome

FLOOR_S = 2.0
SHARE = 0.03
MEASURING_S = 1.0
"""Longest measurement of one structure, seconds."""
RULED = 16
"""A deterministic study asks about so many structures, in canonical order; others get the method of the nearest one."""
TRIES = 3
"""How often a structure is measured whose worker was lost."""


def request(definition: StudyDefinition, *, seconds: float = MEASURING_S) -> Calibrate | None:
    """What a preflight of this study asks for; None where its trials can never share a launch."""
    lanes, trainer = definition.resources.lanes, definition.trainer
    if trainer.recipe is None or lanes in ("off", 1) or definition.parallel < 2:
        return None
    most = min(BLOCK, definition.parallel)
    if isinstance(lanes, str):
        return Calibrate(most=most, seconds=seconds)
    return Calibrate(most=min(most, lanes), width=min(most, lanes), seconds=seconds)


def within(event: MethodsChosen, definition: StudyDefinition, capacity: Capacity) -> MethodsChosen:
    """The event with widths that leave work for every place of the cluster."""
    return replace(event, choices=tuple(widths.bounded(c, definition, capacity) for c in event.choices))


def first_event(params: Mapping[str, Any], tried: Tried) -> MethodsChosen | None:
    """What the preflight's answer says of the study: which parameters are lanes, and its own structure's method. None
    where the trainable cannot be fused."""
    if tried.calibrated is None or not tried.calibrated.lanes:
        return None
    choice = _measured(params, tried.calibrated, tried.calibrated.lanes, tried.platform)
    return MethodsChosen(lanes=tried.calibrated.lanes, choices=(choice,))


def cache_key(definition: StudyDefinition, structure: Mapping[str, Any], platform: str) -> str:
    """Names a measurement that serves every study with this trainer, structure, device and bound on the width."""
    asked = request(definition)
    document = {
        "trainer": definition.to_document()["trainer"],
        "structure": dict(structure),
        "platform": platform,
        "resources": [definition.resources.cpu, definition.resources.gpu],
        "width": None if asked is None else [asked.most, asked.width],
        "deterministic": definition.deterministic,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def cached(definition: StudyDefinition, choices: Sequence[MethodChoice]) -> dict[str, dict[str, Any]]:
    """What of the choices is worth keeping for later studies, by key."""
    return {
        cache_key(definition, c.structure, str(c.measured["platform"])): {
            "method": c.method, "width": c.width, "device": c.device, "reason": c.reason, "measured": dict(c.measured),
        }
        for c in choices
        if c.source == "measured" and c.measured.get("platform")
    }  # fmt: skip


class Readiness(Enum):
    """Whether groups of trials can be placed."""

    READY = "ready"
    CHOSEN = "chosen"  # their methods were written just now: group them anew
    WAITING = "waiting"  # for workers that measure


@dataclass
class _Asked:
    """A measurement under way, and how often its worker was lost before."""

    key: str
    params: Mapping[str, Any]
    lost: int = 0


@dataclass
class _Study:
    asked: dict[int, _Asked] = field(default_factory=dict)  # by the order's fence
    again: dict[str, int] = field(default_factory=dict)  # structures whose worker was lost, and how often
    found: dict[str, MethodChoice] = field(default_factory=dict)


@dataclass
class Calibrations:
    """The measurements under way of every study. One study is looked at by one thread at a time."""

    db: Database
    executor: Executor
    flights: Flights
    answers: Answers
    storage_root: Path
    _studies: dict[str, _Study] = field(default_factory=dict)
    _numbers: Any = field(default_factory=itertools.count)

    def forget(self, study_id: str) -> None:
        """Somebody else leads the study, or it is over."""
        self._studies.pop(study_id, None)

    def state(self, row: StudyRow, definition: StudyDefinition, known: Methods, groups: Sequence[Group]) -> Readiness:
        """Whether every group has a method. Where one has none, finding it out is under way afterwards; once all are
        found they are in the log. Raises DecisionMoved when the lease is lost."""
        unknown = sorted((g for g in groups if g.method is None), key=lambda g: -len(g.trials))
        study = self._studies.setdefault(row.id, _Study())
        self._take_answers(row.id, study, known)
        if not unknown:
            return Readiness.READY
        wanted = {structure_key(g.params, known.lanes): g.params for g in unknown}
        for key in set(study.found) - set(wanted):
            if known.of(study.found[key].structure) is not None:
                del study.found[key]
        missing = {key: params for key, params in wanted.items() if key not in study.found}
        self._look_up(definition, study, known, missing)
        if definition.deterministic:
            self._assume(study, known, missing, list(wanted)[max(0, RULED - len(known.choices)) :])
        self._ask(row, definition, study, known, missing)
        if not all(key in study.found for key in wanted):
            return Readiness.WAITING
        self._commit(row, definition, known, study)
        return Readiness.CHOSEN

    def narrow(self, row: StudyRow, known: Methods) -> bool:
        """Write down what launches that ran out of memory made of their structures; True when it wrote."""
        choices: dict[str, MethodChoice] = {}
        for message in self.answers.take_narrowed(row.id):
            params = reading.trial(self.db, row.id, message.key.trial).params
            method, key = known.of(params), structure_key(params, known.lanes)
            width = min(message.width, choices[key].width if key in choices else message.width)
            if method is not None and method.method == FUSED and width < method.width:
                choices[key] = _narrowed(structure_of(params, known.lanes), message, width)
        if choices:
            event = MethodsChosen(lanes=tuple(sorted(known.lanes)), choices=tuple(choices.values()))
            decisions.choose_methods(self.db, row.id, event, epoch=row.epoch)
        return bool(choices)

    def _take_answers(self, study_id: str, study: _Study, known: Methods) -> None:
        for tried in self.answers.take(study_id, orders.CALIBRATION_TRIAL):
            asked = study.asked.pop(tried.key.fence, None)
            if asked is None or tried.ended.outcome in (Outcome.PAUSED, Outcome.CANCELLED):
                continue  # of an earlier lease, or never judged: asked once more where it is still wanted
            if tried.calibrated is not None:
                lanes = tuple(known.lanes)
                found = _measured(asked.params, tried.calibrated, lanes, tried.platform)
                took = {"seconds": max(tried.calibrated.seconds, tried.ended.seconds)}
                study.found[asked.key] = replace(found, measured={**found.measured, **took})
            elif tried.ended.outcome is Outcome.LOST and asked.lost + 1 < TRIES:
                study.again[asked.key] = asked.lost + 1
            else:
                reason = f"it could not be measured: {tried.ended.reason or 'the worker did not say'}"
                study.found[asked.key] = MethodChoice(
                    structure=structure_of(asked.params, known.lanes),
                    method=PLAIN,
                    width=1,
                    device="",
                    reason=reason,
                    source="failed",
                )

    def _look_up(
        self, definition: StudyDefinition, study: _Study, known: Methods, missing: dict[str, Mapping[str, Any]]
    ) -> None:
        """Take what earlier studies measured on a device like this one's."""
        platform = next((str(c.measured["platform"]) for c in known.choices if c.measured.get("platform")), "")
        under_way = {asked.key for asked in study.asked.values()}
        if not platform or not missing:
            return
        keys = {
            cache_key(definition, structure_of(params, known.lanes), platform): key
            for key, params in missing.items()
            if key not in under_way
        }
        for digest, kept in methods.measured_earlier(self.db, keys).items():
            key = keys[digest]
            structure = structure_of(missing.pop(key), known.lanes)
            study.found[key] = MethodChoice(structure=structure, source="earlier", **kept)

    @staticmethod
    def _assume(study: _Study, known: Methods, missing: dict[str, Mapping[str, Any]], beyond: Sequence[str]) -> None:
        """Give those that are not asked about the method of the nearest structure in the log, whatever is found of
        others meanwhile."""
        for key in beyond:
            if key in missing:
                study.found[key] = nearest(structure_of(missing.pop(key), known.lanes), known.choices)

    def _ask(
        self,
        row: StudyRow,
        definition: StudyDefinition,
        study: _Study,
        known: Methods,
        missing: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Send orders for what is missing, at most one for each place that is free; what would take too long is taken
        from the nearest structure."""
        under_way = {asked.key for asked in study.asked.values()}
        resources = definition.resources
        need = Need(study_id=row.id, cpu=resources.cpu, gpu=resources.gpu, runtime=orders.runtime(definition))
        free = self.executor.free_workers(need)
        free = max(free, 0 if under_way else 1)
        choices = [*known.choices, *study.found.values()]
        left = self._allowance(row, definition, choices) - MEASURING_S * len(under_way)
        for key, params in missing.items():
            if key in under_way:
                continue
            if (
                left <= 0 and not study.asked and not definition.deterministic
            ):  # what is under way may take less than was set aside for it
                study.found[key] = nearest(structure_of(params, known.lanes), choices)
            elif (left > 0 or definition.deterministic) and free > 0:
                free, left = free - 1, left - MEASURING_S
                self._send(row, definition, study, _Asked(key=key, params=params, lost=study.again.pop(key, 0)))

    def _allowance(self, row: StudyRow, definition: StudyDefinition, choices: Sequence[MethodChoice]) -> float:
        """How many more seconds may be spent on measuring."""
        charged, ended = self.flights.charged(row.id)
        trials = definition.budget.trials
        to_come = max(0, trials - ended) * charged / ended if trials is not None and ended else 0.0
        spent = sum(float(c.measured.get("seconds", 0.0)) for c in choices if c.source == "measured")
        return max(FLOOR_S, SHARE * (charged + to_come)) - spent

    def _send(self, row: StudyRow, definition: StudyDefinition, study: _Study, asked: _Asked) -> None:
        number = next(self._numbers)
        launch = orders.preflight_launch(
            definition,
            row.id,
            asked.params,
            target=algorithms.segment_target(definition, asked.params),
            number=number,
            storage_root=self.storage_root,
            trial=orders.CALIBRATION_TRIAL,
            calibrate=request(definition),
        )
        study.asked[number] = asked
        self.flights.add((o.key for o in launch.orders), cpu=launch.cpu, gpu=launch.gpu)
        self.executor.launch(launch)

    def _commit(self, row: StudyRow, definition: StudyDefinition, known: Methods, study: _Study) -> None:
        choices = tuple(study.found[key] for key in sorted(study.found))
        event = MethodsChosen(lanes=tuple(sorted(known.lanes)), choices=choices)
        measured = cached(definition, choices)
        event = within(event, definition, self.executor.capacity())
        decisions.choose_methods(self.db, row.id, event, epoch=row.epoch, measured=measured)
        study.found.clear()


def nearest(structure: Mapping[str, Any], choices: Sequence[MethodChoice]) -> MethodChoice:
    """The method of the most similar structure among `choices`: first by how many names differ, then by how many words
    do, then by how far numbers are apart (sum of the logarithms of their ratios)."""
    found = min(choices, key=lambda c: (distance(structure, c.structure), c.source == "assumed"))
    reason = f"as the nearest structure that was measured: {json.dumps(dict(found.structure), sort_keys=True)}"
    return replace(found, structure=structure, reason=reason, source="assumed", measured={})


def distance(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[int, int, float]:
    """How different two structures are; smaller is nearer."""
    words, apart = 0, 0.0
    for name in sorted(a.keys() & b.keys()):  # sums must not hang on the order of a set
        x, y = a[name], b[name]
        if _is_number(x) and _is_number(y):
            apart += abs(math.log(max(abs(x), 1e-9)) - math.log(max(abs(y), 1e-9)))
            apart += math.copysign(1, x) != math.copysign(1, y)
        else:
            words += x != y
    return len(a.keys() ^ b.keys()), words, apart


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _measured(params: Mapping[str, Any], answer: Calibrated, lanes: Sequence[str], platform: str) -> MethodChoice:
    # The study's lanes are its first structure's; one in which fewer can be lanes is trained one by one.
    fused = answer.method == FUSED and answer.width > 1 and bool(answer.lanes) and set(lanes) <= set(answer.lanes)
    measured: dict[str, Any] = {"platform": platform, "seconds": answer.seconds}
    if answer.plain_s is not None:
        measured["plain_s"] = answer.plain_s
    if answer.fused_s:
        measured["fused_s"] = {str(width): seconds for width, seconds in sorted(answer.fused_s.items())}
    return MethodChoice(
        structure=structure_of(params, frozenset(lanes)),
        method=FUSED if fused else PLAIN,
        width=answer.width if fused else 1,
        device=answer.device,
        reason=answer.reason,
        source="measured" if answer.plain_s is not None or answer.fused_s else "set",
        measured=measured,
    )


def _narrowed(structure: Mapping[str, Any], message: Narrowed, width: int) -> MethodChoice:
    return MethodChoice(
        structure=structure,
        method=FUSED if width > 1 else PLAIN,
        width=max(1, width),
        device="",
        reason=message.reason,
        source="out_of_memory",
    )
