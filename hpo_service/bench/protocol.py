"""What is run for a comparison: which method on which problem with which seed, for how many workers and how long.

1 FTE is one full training. One worker gets 32 FTE, of four each 8 of wall time, of sixteen each 4; results are read at
1, 2, 4, … FTE. Knows names only: it loads no problem and runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hpo_service.bench.runs import Key

BUDGETS: Mapping[int, float] = {1: 32.0, 4: 8.0, 16: 4.0}
"""FTE by the number of workers, each of them busy for so long."""
TOGETHER = ("lcbench", "taskset")
"""Collections that are judged together: the surrogate of the one rewards corners of its space more than reality does,
and what was tuned on one alone did worse on the other."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How much is run where nothing else is asked for. `tasks` by collection; all of those that it does not name."""

    seeds: int
    workers: tuple[int, ...]
    methods: tuple[str, ...]
    tasks: Mapping[str, tuple[str, ...]]


PROFILES: Mapping[str, Profile] = {
    "quick": Profile(
        seeds=3,
        workers=(1,),
        methods=(
            "auto", "random", "tpe", "gp", "asha", "hyperband", "optuna-tpe", "optuna-gp", "optuna-tpe-hyperband",
            "asha-resume",
        ),
        tasks={
            "lcbench": ("7593", "167181", "168330"),
            "taskset": ("imdb_patch128_LSTM128_bs64", "imdb_patch32_GRU64_avg_bs128"),
        },
    ),
    "full": Profile(seeds=20, workers=(1, 4, 16), methods=("all",), tasks={}),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One run that is asked for; `title` is the problem's, `collection/name`, and so is `identity`."""

    method: str
    title: str
    variant: str
    seed: int
    workers: int
    budget: float
    identity: str = ""

    @property
    def key(self) -> Key:
        """As `Run.key`."""
        collection, _, name = self.title.partition("/")
        return self.method, collection, name, self.identity, self.variant, self.seed, self.workers, self.budget


def budget_of(workers: int) -> float:
    """FTE for so many workers; those without a budget of their own share 64 FTE, at most 32 each and at least 2."""
    return BUDGETS.get(workers, min(32.0, max(2.0, 64.0 / workers)))


def cells(
    *,
    methods: Sequence[str],
    titles: Sequence[str],
    seeds: int,
    workers: Sequence[int],
    variants: Sequence[str] = ("",),
    budget: float | None = None,
    identity: Callable[[str, str], str] = lambda title, variant: "",
) -> Iterator[Cell]:
    """Everything to run, seed after seed: what is interrupted has compared all methods on all tasks so far. `identity`
    tells that of a title's variant."""
    for count in workers:
        for seed in range(seeds):
            for variant in variants:
                for title in titles:
                    for method in methods:
                        yield Cell(
                            method=method,
                            title=title,
                            variant=variant,
                            seed=seed,
                            workers=count,
                            budget=budget_of(count) if budget is None else budget,
                            identity=identity(title, variant),
                        )
