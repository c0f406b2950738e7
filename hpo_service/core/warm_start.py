"""What a study begins from: past studies, a portfolio of configurations, and results that a prior is made of.

One event, written in the transaction that makes the study, so that everything after it is a function of the log. Here:
the event. Not here: which studies are alike (`likeness`), which configurations are chosen (`portfolio`), where the
trials are read (`store.warm_starts`), and what a sampler makes of it (`samplers.prior`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from hpo_service.core.values import from_json as value_from_json
from hpo_service.core.values import to_json as value_to_json

MOST_STUDIES = 16
MOST_RESULTS = 64
"""Results that are taken of one past study."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A past study: how many results it has, which parameters it shares, and how alike its space is (0 to 1)."""

    study: str
    name: str
    trials: int
    shared: tuple[str, ...]
    likeness: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PastResults:
    """Some results of a past study. `params` hold what it shares, in terms of the new space; `values` are the
    objective's, NaN for a trial that failed. `lengths` (by parameter) and `noise` are those of the process that fits
    them best (`past.fitted`), found once, when the study was made."""

    study: str
    maximize: bool
    params: tuple[Mapping[str, Any], ...]
    values: tuple[float, ...]
    lengths: Mapping[str, float]
    noise: float


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmStarted:
    """`mode`: auto, or named where the definition lists the studies. Without `sources` nothing was found."""

    kind: ClassVar[str] = "warm_started"
    mode: str
    sources: tuple[Source, ...] = ()
    portfolio: tuple[Mapping[str, Any], ...] = ()
    prior: tuple[PastResults, ...] = ()

    @property
    def text(self) -> str:
        """For people: what it begins from."""
        if not self.sources:
            return "nothing: no past study of the project has the same objective and enough parameters in common"
        named = ", ".join(source.name for source in self.sources[:3])
        more = f" and {len(self.sources) - 3} more" if len(self.sources) > 3 else ""
        first = {0: "", 1: "; 1 configuration of theirs is tried first"}.get(
            len(self.portfolio), f"; {len(self.portfolio)} configurations of theirs are tried first"
        )
        count = f"{len(self.sources)} past studies" if len(self.sources) > 1 else "1 past study"
        return f"{count} ({named}{more}){first}"

    def to_json(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "sources": [
                {
                    "study": s.study,
                    "name": s.name,
                    "trials": s.trials,
                    "shared": list(s.shared),
                    "likeness": s.likeness,
                }
                for s in self.sources
            ],
            "portfolio": [dict(params) for params in self.portfolio],
            "prior": [
                {
                    "study": p.study,
                    "maximize": p.maximize,
                    "params": [dict(params) for params in p.params],
                    "values": [value_to_json(value) for value in p.values],
                    "lengths": dict(p.lengths),
                    "noise": p.noise,
                }
                for p in self.prior
            ],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> WarmStarted:
        return cls(
            mode=document["mode"],
            sources=tuple(Source(**{**s, "shared": tuple(s["shared"])}) for s in document["sources"]),
            portfolio=tuple(document["portfolio"]),
            prior=tuple(
                PastResults(
                    **{
                        **p,
                        "params": tuple(p["params"]),
                        "values": tuple(value_from_json(value) for value in p["values"]),
                    }
                )
                for p in document["prior"]
            ),
        )
