"""What a comparison of studies is on the wire. How one is made stands in `comparing`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from hpo_service.api.schemas import Answer, Study


class BestSoFar(Answer):
    trials: list[int]
    values: list[float]


class Series(Answer):
    """Best so far as it happened: one entry per change, with what the study had spent by then."""

    trial: list[int | None]
    value: list[float | None]
    resource: list[float | None]
    at: list[float] = Field(description="Seconds since 1970.")
    hours: list[float | None] = Field(description="Since the study's first dispatch.")
    spent_resource: list[float]
    cost_microdollars: list[int]
    ended: list[int] = Field(description="Trials that had ended by then.")


class Final(Answer):
    """The best value at the highest resource. The 95 % interval says what the best of so many trials owes to chance; it
    is null for fewer than four, and never reaches beyond the best that was found."""

    value: float
    low: float | None
    high: float | None
    n: int = Field(description="Trials with a value at that resource.")
    resource: float
    trial: int


class Compared(Answer):
    study: Study
    best_so_far: BestSoFar = Field(
        description="The trials that were best by then, and their values; more resource beats less."
    )
    series: Series
    final: Final | None


class Difference(Answer):
    path: str = Field(examples=["algorithm.eta"])
    values: list[Any] = Field(examples=[[3, 4]])


class Group(Answer):
    """Studies that differ only in seed, name, notes, tags and project."""

    label: str
    studies: list[str]


class Test(Answer):
    """Whether a difference could be luck. Of two studies, from their trials at the highest resource; of two groups of
    at least three studies, from their final values."""

    of: str = Field(description="studies or groups.")
    a: str = Field(description="A study's id, or a group's label.")
    b: str
    difference: float | None = Field(default=None, description="a minus b; null where they do not compare.")
    low: float | None = Field(default=None, description="95 % interval of the difference.")
    high: float | None = None
    p: float | None = Field(default=None, description="Two-sided, exact.")
    p_corrected: float | None = Field(default=None, description="For how many there are, after Holm.")
    verdict: str


class Comparison(Answer):
    seq: int
    items: list[Compared]
    differences: list[Difference]
    groups: list[Group]
    tests: list[Test]
