"""What a confirmation is on the wire, and how one is made of the view. How one is begun stands in `confirming`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from hpo_service.api.schemas import Answer
from hpo_service.core import ensemble as ensembles
from hpo_service.core.confirmation import Against, Kind, Spread
from hpo_service.core.ensemble import Ensemble, Result
from hpo_service.core.states import StudyState, TrialState
from hpo_service.views.confirmation import Configuration, Confirmed


class SpreadAnswer(Answer):
    """Over seeds: mean, sample standard deviation, the mean's 95 % interval (Student's; null for fewer than two)."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None


class SearchedAnswer(Answer):
    """What the search saw. `compares`: it was trained as far there as here."""

    value: float
    resource: float
    compares: bool


class SeedAnswer(Answer):
    trial: int = Field(description="Its number in the confirmation.")
    state: TrialState
    value: float | None


class AgainstAnswer(Answer):
    """The winner against this configuration: its mean minus this one's. Welch's t-test, two-sided; corrected after Holm
    for how many others there are; null for fewer than three seeds."""

    difference: float
    low: float | None = Field(description="95 % interval of the difference.")
    high: float | None
    p: float | None
    p_corrected: float | None
    ahead: bool = Field(description="Whether the winner's mean is the better one.")


class ConfigurationAnswer(Answer):
    trial: int = Field(description="The trial of the search that is confirmed.")
    params: dict[str, Any]
    searched: SearchedAnswer | None
    seeds: list[SeedAnswer]
    failed: int
    open: int
    spread: SpreadAnswer | None
    optimism: float | None = Field(
        description="By how much the search's value is better than the mean of new seeds; null where they do not "
        "compare, negative where it is worse."
    )
    others: dict[str, SpreadAnswer] = Field(description="The other objectives.")
    test: dict[str, SpreadAnswer] = Field(description="Whatever was measured on test rows.")
    cost_microdollars: float | None = Field(description="Of one seed.")
    seconds: float | None = Field(description="Of one seed.")
    against: AgainstAnswer | None = Field(description="Null for the winner itself.")


class MemberAnswer(Answer):
    trial: int = Field(description="In the confirmation.")
    weight: float


class ResultAnswer(Answer):
    members: list[MemberAnswer]
    val: float
    test: float | None


class EnsembleAnswer(Answer):
    """Averaged predictions of the confirmed models: of all of them, and of those that forward selection took (Caruana
    et al. 2004), beside the single model that is best on the validation rows."""

    metric: str = Field(examples=["accuracy"])
    direction: Literal["maximize", "minimize"]
    single: ResultAnswer
    uniform: ResultAnswer
    greedy: ResultAnswer
    gain_of: Literal["uniform", "greedy"] = Field(description="The one that is better on the validation rows.")
    gain: float = Field(description="Over the single model; positive: better.")
    low: float | None = Field(description="95 % interval of the gain; null for rmse and r2.")
    high: float | None
    rows: int
    tested: bool = Field(description="Whether the gain is of test rows; else of the rows that chose the ensemble.")
    words: str


class ConfirmationAnswer(Answer):
    """Is the winner real? The first configuration is the search's winner."""

    seq: int
    study: str
    name: str
    state: StudyState
    confirms: str
    confirms_name: str | None = Field(description="Null where that study is gone.")
    metric: str
    direction: Literal["maximize", "minimize"]
    resource: float | None = Field(description="How far each is trained; null where its parameters or trainable say.")
    seeds: int
    trials: int
    done: int
    kind: Kind = Field(
        description="open: no value yet; untold: too few seeds; alone: nothing to compare with; real; noise; luck."
    )
    verdict: str
    test_verdict: str = Field(description="What the test rows say of the winner; empty without them.")
    notes: list[str]
    within: list[int] = Field(description="Trials that the winner cannot be told from.")
    better: list[int] = Field(description="Trials that are better than the winner.")
    cheapest: int | None = Field(description="Of the winner and those, where there are any.")
    detectable: float | None = Field(description="The difference that so many seeds would show four times in five.")
    configurations: list[ConfigurationAnswer]
    ensemble: EnsembleAnswer | None = Field(default=None, description="With ?ensemble=1.")
    ensemble_note: str = Field(default="", description="Why there is none, or what was left out of it.")


class ConfirmationLink(Answer):
    """A confirmation of a study, in short."""

    study: str
    name: str
    state: StudyState
    created_at: datetime
    top: int
    seeds: int
    trials: int
    done: int
    kind: Kind
    verdict: str
    test_verdict: str


def answer(found: Confirmed, *, together: Ensemble | None = None, note: str = "") -> ConfirmationAnswer:
    """The wire form."""
    row, verdict = found.study, found.verdict
    return ConfirmationAnswer(
        seq=row.last_seq,
        study=row.id,
        name=row.name,
        state=row.state,
        confirms=found.confirms.study,
        confirms_name=found.search_name,
        metric=found.objective.metric,
        direction=found.objective.direction,
        resource=found.resource,
        seeds=found.confirms.seeds,
        trials=_all(found),
        done=_done(found),
        kind=verdict.kind,
        verdict=verdict.words,
        test_verdict=found.test_words,
        notes=list(verdict.notes),
        within=list(verdict.within),
        better=list(verdict.better),
        cheapest=verdict.cheapest,
        detectable=verdict.detectable,
        configurations=[_configuration(one) for one in found.configurations],
        ensemble=None if together is None else _ensemble(together, found.objective.metric),
        ensemble_note=note,
    )


def link(found: Confirmed) -> ConfirmationLink:
    """The short form."""
    row = found.study
    return ConfirmationLink(
        study=row.id,
        name=row.name,
        state=row.state,
        created_at=row.created_at,
        top=len(found.configurations),
        seeds=found.confirms.seeds,
        trials=_all(found),
        done=_done(found),
        kind=found.verdict.kind,
        verdict=found.verdict.words,
        test_verdict=found.test_words,
    )


def _all(found: Confirmed) -> int:
    return len(found.configurations) * found.confirms.seeds


def _done(found: Confirmed) -> int:
    return sum(one.spread.n for one in found.configurations if one.spread is not None)


def _configuration(one: Configuration) -> ConfigurationAnswer:
    searched = one.searched
    return ConfigurationAnswer(
        trial=one.trial,
        params=dict(one.params),
        searched=None
        if searched is None
        else SearchedAnswer(value=searched.value, resource=searched.resource, compares=searched.compares),
        seeds=[SeedAnswer(trial=seed.trial, state=seed.state, value=seed.value) for seed in one.seeds],
        failed=one.failed,
        open=one.open,
        spread=None if one.spread is None else _spread(one.spread),
        optimism=one.optimism,
        others=_spreads(one.others),
        test=_spreads(one.test),
        cost_microdollars=one.cost_microdollars,
        seconds=one.seconds,
        against=None if one.against is None else _against(one.against),
    )


def _spreads(found: Mapping[str, Spread]) -> dict[str, SpreadAnswer]:
    return {name: _spread(one) for name, one in found.items()}


def _spread(one: Spread) -> SpreadAnswer:
    return SpreadAnswer(n=one.n, mean=one.mean, sd=one.sd, low=one.low, high=one.high)


def _against(one: Against) -> AgainstAnswer:
    return AgainstAnswer(
        difference=one.difference, low=one.low, high=one.high, p=one.p, p_corrected=one.corrected, ahead=one.ahead
    )


def _ensemble(found: Ensemble, objective: str) -> EnsembleAnswer:
    return EnsembleAnswer(
        metric=found.metric,
        direction="maximize" if found.maximize else "minimize",
        single=_result(found.single),
        uniform=_result(found.uniform),
        greedy=_result(found.greedy),
        gain_of="greedy" if found.gain_of == "greedy" else "uniform",
        gain=found.gain,
        low=found.low,
        high=found.high,
        rows=found.rows,
        tested=found.tested,
        words=ensembles.words(found, objective),
    )


def _result(one: Result) -> ResultAnswer:
    members = [MemberAnswer(trial=trial, weight=weight) for trial, weight in one.members]
    return ResultAnswer(members=members, val=one.val, test=one.test)
