"""What the server's answers become: frozen, typed values. NaN and infinities are floats again.

Unknown fields of a newer server are left out; fields that an older one lacks have defaults. Not here: handles that can
do something (`study`, `trial`), and how answers are asked for (`operations`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from hpo_service.client.protocol import plain
from hpo_service.errors import HpoError

R = TypeVar("R", bound="Result")
Definition = Annotated[Mapping[str, Any], BeforeValidator(lambda given: {} if given is None else given)]

ENDED_STATES = frozenset({"finished", "stopped", "failed"})
MICRO = 1_000_000


class Result(BaseModel):
    """A frozen part of an answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        """The value as the REST contract writes it: times as text, special floats as words."""
        found: dict[str, Any] = plain(self.model_dump(mode="json"))
        return found

    @classmethod
    def parse(cls, document: Any) -> Self:
        """The value of a JSON answer; raises `HpoError` where server and client do not understand each other."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise HpoError(
                f"the server's answer is not a {cls.__name__} ({place}: {first['msg']})",
                remedy="install the same version of hpo-service on both sides",
            ) from None


class Best(Result):
    """The best trial of a study, among those at the highest resource reached. Where the study has constraints, of those
    that keep all of them; where none does (`feasible` is not True), the one that breaks them least."""

    trial: int
    value: float | None
    resource: float | None = None
    params: Mapping[str, Any] = Field(default_factory=dict)
    feasible: bool | None = None  # None: without constraints, and where it is not known
    breaks: str = ""  # which constraints by how much, in words


class Rate(Result):
    """What a study does in an hour, measured over its last minutes (`seconds`)."""

    trials_per_hour: float
    resource_per_hour: float
    seconds: float = 0.0


class BudgetRow(Result):
    """One bound of a study's budget; None where only the algorithm knows what is used, and of `patience: auto`."""

    name: str
    used: float | None = None
    limit: float | None = None
    unit: str = ""


class Sparkline(Result):
    """Best so far at whatever resource, in a few points: when the study's best changed, in hours since the first
    dispatch, and the best value that led by then, which never becomes worse."""

    hours: tuple[float, ...] = ()
    value: tuple[float, ...] = ()


class Chosen(Result):
    """What `algorithm: auto` picked when the study was made, and why; `text` says both."""

    method: str
    reason: str = ""
    text: str = ""


class WarmSource(Result):
    """A past study that a study began from."""

    study: str
    name: str = ""
    trials: int = 0
    shared: tuple[str, ...] = ()
    likeness: float = 0.0


class WarmStart(Result):
    """What a study began from: past studies, and configurations of theirs that are tried after the defaults."""

    mode: str
    text: str = ""
    sources: tuple[WarmSource, ...] = ()
    portfolio: tuple[Mapping[str, Any], ...] = ()


class StudySnapshot(Result):
    """A study as it stood when the server answered."""

    id: str
    name: str
    state: str
    project: str = "default"
    created_by: str = ""
    created_at: datetime | None = None
    reason: str = ""
    ending_reason: str = ""
    definition: Definition = Field(default_factory=dict)
    definition_version: int = 1
    space_version: int = 1
    space_digest: str = ""
    priority: float = 1.0
    parallel: int = 1
    tags: tuple[str, ...] = ()
    notes: str = ""
    external: bool = False
    last_seq: int = 0
    counts: Mapping[str, int] = Field(default_factory=dict)
    trials: int = 0
    best: Best | None = None
    resource: float = 0.0
    cost_microdollars: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    budget: tuple[BudgetRow, ...] = ()
    rate: Rate | None = None
    time_left_s: float | None = None  # what is left of the budget at that rate; None where that cannot be foreseen
    decision_reason: str | None = None  # None in lists, as are the next two
    last_report_at: datetime | None = None
    notes_html: str | None = None
    sparkline: Sparkline | None = None  # in lists, where it was asked for
    chosen: Chosen | None = None  # what `auto` picked; None in lists, as is the next one
    warm_start: WarmStart | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens unless somebody acts."""
        return self.state in ENDED_STATES

    @property
    def cost_dollars(self) -> float:
        return self.cost_microdollars / MICRO

    @property
    def objective(self) -> Mapping[str, Any]:
        """The first objective of the definition: `metric`, `direction`; empty where the definition was left out."""
        found = self.definition.get("objective") or {}
        return found[0] if isinstance(found, Sequence) else found

    @property
    def metric(self) -> str:
        """The name of the first objective's metric; "" where the definition was left out."""
        return str(self.objective.get("metric", ""))

    @property
    def maximize(self) -> bool:
        return self.objective.get("direction") == "maximize"


class Attempt(Result):
    """One placement of a trial on a worker, for one segment."""

    trial: int
    fence: int
    state: str
    outcome: str | None = None
    failure: str | None = None
    reason: str = ""
    traceback: str = ""
    launch: str = ""
    lane: int = 0
    width: int = 1
    method: str = ""
    worker_id: str | None = None
    node: str | None = None
    device: str | None = None
    client_id: str | None = None
    from_resource: float = 0.0
    target: float | None = None
    resumed_from: float | None = None
    resource: float = 0.0
    seconds: float = 0.0
    cost_microdollars: int = 0
    peak_memory_bytes: int | None = None
    gpu_peak_memory_bytes: int | None = None
    gpu_utilisation: float | None = None
    opened_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class TrialSnapshot(Result):
    """A trial as it stood when the server answered; `attempt_rows` only where one trial was asked for."""

    study_id: str
    number: int
    state: str
    reason: str = ""
    origin: str = "sampled"
    params: Mapping[str, Any] = Field(default_factory=dict)
    space_version: int = 1
    retry_of: int | None = None
    parent: int | None = None
    parent_resource: float | None = None
    bracket: int | None = None
    rung: int | None = None
    fence: int = 0
    target: float | None = None
    horizon: float | None = None
    resource: float = 0.0
    step: int | None = None
    value: float | None = None
    values: Mapping[str, float | None] = Field(default_factory=dict)
    attempts: int = 0
    losses: int = 0
    cost_microdollars: int = 0
    seconds: float = 0.0
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    tags: tuple[str, ...] = ()
    notes: str = ""
    feasible: bool | None = None  # whether it keeps all constraints; None: there are none, or it is not known
    violations: Mapping[str, float | None] = Field(default_factory=dict)  # by constrained metric; above 0: broken
    breaks: str = ""  # which constraints by how much, in words
    notes_html: str | None = None  # None in lists
    attempt_rows: tuple[Attempt, ...] = ()

    def to_record(self) -> dict[str, Any]:
        """One flat row: `param.NAME` and `metric.NAME` beside the trial's own fields."""
        out = {"study_id", "params", "values", "attempt_rows", "tags", "notes_html", "violations", "breaks"}
        own = self.model_dump(exclude=out if self.violations else out | {"feasible"})
        own["tags"] = ",".join(self.tags)
        own |= {f"param.{name}": value for name, value in self.params.items()}
        return own | {f"metric.{name}": value for name, value in self.values.items()}


class Report(Result):
    """Metric values of one trial at one step."""

    step: int
    resource: float
    fence: int = 0
    metrics: Mapping[str, float | None]
    at: datetime | None = None


class Log(Result):
    """A piece of an attempt's output; ask again with `after=next` for what came since."""

    text: str
    next: int = 0
    fence: int | None = None


class Rung(Result):
    """A resource level where trials are compared: how many entered it and were promoted, and which."""

    bracket: int | None = None
    rung: int
    resource: float
    size: int | None = None  # how many trials belong here; None where the algorithm does not fix it
    entered: int = 0
    promoted: int = 0
    trials: tuple[int, ...] = ()  # those that entered, best first where they are ranked
    promoted_trials: tuple[int, ...] = ()
    values: tuple[float | None, ...] = ()  # of `trials`, at this rung

    @property
    def full(self) -> bool:
        """Whether every trial that belongs here has entered."""
        return self.size is not None and self.entered >= self.size

    @property
    def complete(self) -> bool:
        """Whether it is full and every trial's value is in, or was waited for no longer: some were promoted."""
        missing = self.entered - sum(value is not None for value in self.values)
        return self.full and (missing <= 0 or self.promoted > 0)

    def best(self, *, maximize: bool) -> float | None:
        """The best finite value of the rung."""
        finite = [value for value in self.values if value is not None and math.isfinite(value)]
        return (max if maximize else min)(finite) if finite else None


class View(Result):
    """What a progress display shows of a study at one moment."""

    study: StudySnapshot
    rungs: tuple[Rung, ...] = ()
    running: tuple[TrialSnapshot, ...] = ()
    url: str = ""


class Curve(Result):
    """One trial's values over its resource."""

    number: int
    state: str = ""
    bracket: int | None = None
    resource: tuple[float, ...] = ()
    value: tuple[float | None, ...] = ()


class Curves(Result):
    """Curves of `shown` of `of` trials, thinned to at most `max_points` each."""

    metric: str
    trials: tuple[Curve, ...] = ()
    shown: int = 0
    of: int = 0


class Difference(Result):
    """A place where the definitions of compared studies differ; values in the order of the studies."""

    path: str
    values: tuple[Any, ...]


class BestSoFar(Result):
    """The trials that improved on all before them, and their values."""

    trials: tuple[int, ...] = ()
    values: tuple[float | None, ...] = ()


class Series(Result):
    """Best so far as it happened: one entry per change, with what the study had spent by then."""

    trial: tuple[int | None, ...] = ()
    value: tuple[float | None, ...] = ()
    resource: tuple[float | None, ...] = ()
    at: tuple[float, ...] = ()  # seconds since 1970
    hours: tuple[float | None, ...] = ()  # since the first dispatch
    spent_resource: tuple[float, ...] = ()
    cost_microdollars: tuple[int, ...] = ()
    ended: tuple[int, ...] = ()  # trials that had ended


class Final(Result):
    """A study's best value with the 95 % interval that chance allows; None for fewer than four trials."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    resource: float | None = None
    trial: int | None = None


class Compared(Result):
    """One of the compared studies."""

    study: StudySnapshot
    best_so_far: BestSoFar = BestSoFar()
    series: Series = Series()
    final: Final | None = None


class StudyGroup(Result):
    """Studies that differ only in seed, name, notes, tags and project."""

    label: str
    studies: tuple[str, ...] = ()


class Verdict(Result):
    """Whether a difference of two studies, or of two groups of them (`of`), could be luck."""

    of: str = "studies"
    a: str
    b: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_corrected: float | None = None
    verdict: str = ""


class Comparison(Result):
    """Studies side by side."""

    items: tuple[Compared, ...]
    differences: tuple[Difference, ...] = ()
    groups: tuple[StudyGroup, ...] = ()
    tests: tuple[Verdict, ...] = ()


class Plan(Result):
    """What a definition would run; numbers that it leaves open are None."""

    brackets: tuple[Any, ...] = ()
    trials: int | None = None
    total_resource: float | None = None
    notes: tuple[str, ...] = ()


class Validation(Result):
    """A definition that the server would accept: normalised, with its plan and an estimate of its cost."""

    valid: bool
    definition: Mapping[str, Any] = Field(default_factory=dict)
    plan: Plan = Plan()
    estimate: Mapping[str, Any] = Field(default_factory=dict)
    space_digest: str = ""


class Notice(Result):
    """Something happened in a study: its newest sequence number."""

    study: str
    seq: int


class Event(Result):
    """One entry of a study's event log."""

    seq: int
    kind: str
    at: datetime | None = None
    epoch: int | None = None
    payload: Mapping[str, Any] = Field(default_factory=dict)


class Worker(Result):
    """A warm worker as the controller last saw it."""

    id: str
    node: str = ""
    state: str = ""
    device: str = ""
    cpu: float = 0.0
    gpu: float = 0.0
    detail: Mapping[str, Any] = Field(default_factory=dict)
    seen_at: datetime | None = None


class Check(Result):
    """One line of `hpo doctor`: what was looked at, what was found, what to do."""

    name: str
    ok: bool
    detail: str = ""
    remedy: str = ""


class Assignment(Result):
    """A trial given to this client: train it from `from_resource` to `target`."""

    trial: int
    fence: int
    params: Mapping[str, Any]
    seed: int = 0
    from_resource: float = 0.0
    target: float | None = None  # None: as far as the client likes
    horizon: float | None = None
    checkpoint: Any = None


class Page(Result):
    """One page of raw items."""

    items: tuple[Any, ...]
    next_cursor: str | None = None
    total: int | None = None


def items_of(kind: Callable[[Any], R]) -> Callable[[Any], list[R]]:
    """Reads `{"items": [...]}`."""
    return lambda document: [kind(one) for one in Page.parse(document).items]
