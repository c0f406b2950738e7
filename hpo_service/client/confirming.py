"""Is the winner real? Confirmations begun and looked at, and the report of a study. Results and operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import Field

from hpo_service.client.protocol import Program, Request, Save, address, query, send
from hpo_service.client.results import Result, StudySnapshot, items_of
from hpo_service.client.study_operations import StudyBase
from hpo_service.errors import InvalidInput

Numbers = Iterable[int]
REPORT_FORMATS = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md"}


class Spread(Result):
    """Over seeds: mean, sample standard deviation and the mean's 95 % interval (None for fewer than two)."""

    n: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None


class Searched(Result):
    """What the search saw; `compares`: it was trained as far there."""

    value: float
    resource: float = 0.0
    compares: bool = True


class Seed(Result):
    """One training with a new seed; `trial` is its number in the confirmation."""

    trial: int
    state: str
    value: float | None = None


class Against(Result):
    """The winner against a configuration: its mean minus that one's; p after Welch, `p_corrected` after Holm."""

    difference: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_corrected: float | None = None
    ahead: bool = False


class Configuration(Result):
    """One of those that are confirmed; `trial` is its number in the search."""

    trial: int
    params: Mapping[str, Any] = Field(default_factory=dict)
    searched: Searched | None = None
    seeds: tuple[Seed, ...] = ()
    failed: int = 0
    open: int = 0
    spread: Spread | None = None
    optimism: float | None = None
    others: Mapping[str, Spread] = Field(default_factory=dict)
    test: Mapping[str, Spread] = Field(default_factory=dict)
    cost_microdollars: float | None = None
    seconds: float | None = None
    against: Against | None = None


class Member(Result):
    """A model of an ensemble; `trial` is its number in the confirmation."""

    trial: int
    weight: float


class Predicted(Result):
    """One way to predict, measured on validation and test rows."""

    members: tuple[Member, ...] = ()
    val: float
    test: float | None = None


class Ensemble(Result):
    """What the confirmed models gain together over the best single one."""

    metric: str
    direction: str
    single: Predicted
    uniform: Predicted
    greedy: Predicted
    gain_of: str
    gain: float
    low: float | None = None
    high: float | None = None
    rows: int = 0
    tested: bool = False
    words: str = ""


class Confirmation(Result):
    """What a confirmation has come to; the first configuration is the search's winner. `kind` is open, untold, alone,
    real, noise or luck; `verdict` says it in a sentence."""

    study: str
    name: str
    state: str
    confirms: str
    confirms_name: str | None = None
    metric: str
    direction: str
    resource: float | None = None
    seeds: int
    trials: int
    done: int
    kind: str
    verdict: str
    test_verdict: str = ""
    notes: tuple[str, ...] = ()
    within: tuple[int, ...] = ()
    better: tuple[int, ...] = ()
    cheapest: int | None = None
    detectable: float | None = None
    configurations: tuple[Configuration, ...] = ()
    ensemble: Ensemble | None = None
    ensemble_note: str = ""


class ConfirmationLink(Result):
    """A confirmation of a study, in short; `study` is its id."""

    study: str
    name: str
    state: str
    created_at: datetime | None = None
    top: int
    seeds: int
    trials: int
    done: int
    kind: str
    verdict: str
    test_verdict: str = ""


def confirm(study: StudyBase, *, top: int = 5, seeds: int = 5, trials: Numbers | None = None) -> Program[StudySnapshot]:
    """Begins a study that trains the best `top` trials, or these `trials`, again with `seeds` new seeds each."""
    body = {"top": top, "seeds": seeds, "trials": list(trials or ())}
    return StudySnapshot.parse((yield from study._core.post(address("studies", study.id, "confirmations"), body)))


def confirmation(study: StudyBase, *, ensemble: bool = False) -> Program[Confirmation]:
    """What this confirmation has come to; with `ensemble`, what its models gain together. Raises `NotFound` for a study
    that confirms none."""
    asked = query(ensemble="true" if ensemble else None)
    return Confirmation.parse((yield from study._core.get(address("studies", study.id, "confirmation"), asked)))


def confirmations(study: StudyBase) -> Program[list[ConfirmationLink]]:
    """The confirmations of this study, oldest first, each with its verdict."""
    found = yield from study._core.get(address("studies", study.id, "confirmations"))
    return items_of(ConfirmationLink.parse)(found)


def report(study: StudyBase, path: str | Path | BinaryIO, format: str | None = None) -> Program[None]:
    """Writes the study's report as one page, html or md, to a path (whole or not at all) or a binary file object.

    The format follows the path's suffix unless given.
    """
    suffix = Path(path).suffix.lower() if isinstance(path, str | Path) else ""
    format = format or REPORT_FORMATS.get(suffix)
    if format not in REPORT_FORMATS.values():
        raise InvalidInput(
            f"a report's format is html or md, but got {format or suffix!r}",
            remedy="give format= or a path that ends in .html or .md",
        )
    asked = Request(method="GET", path=address("studies", study.id, f"report.{format}"))
    yield from send(Save.to(asked, path), study._core.policy)
