"""Rung and bracket arithmetic: how many trials are trained how far. Pure numbers, from the papers.

Successive halving: Jamieson & Talwalkar 2016, section 3. Hyperband: Li et al. 2018 (JMLR 18), Algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from hpo_service.core.algorithm_specs import MedianSpec, PbtSpec, SuccessiveHalvingSpec

TOLERANCE = 1e-9
"""Relative; levels are quotients of floats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BracketPlan:
    """A bracket before it runs: `trials` enter at `levels[0]`, and of every eta one goes on to the next level."""

    label: str
    levels: tuple[float, ...]
    trials: int
    eta: int
    keep: int = 1
    anew: bool = False  # whether each rung begins from zero

    def sizes(self, entrants: int | None = None) -> tuple[int, ...]:
        """Trials per rung when `entrants` (default: all) enter: floor(n·eta^-i), at least `keep`."""
        n = self.trials if entrants is None else entrants
        if n <= 0:
            return tuple(0 for _ in self.levels)
        return tuple(min(n, max(self.keep, n // self.eta**i)) for i in range(len(self.levels)))

    def cost(self, entrants: int | None = None) -> float:
        """Resource of all rungs together; each rung goes on from the one below, unless it begins `anew`."""
        total, below = 0.0, 0.0
        for size, level in zip(self.sizes(entrants), self.levels, strict=True):
            total += size * (level - below)
            below = 0.0 if self.anew else level
        return total

    def entrants_for(self, resource: float) -> int:
        """The most trials with which all rungs together fit into `resource`."""
        if self.cost() <= resource * (1 + TOLERANCE):
            return self.trials
        low, high = 0, self.trials
        while high - low > 1:
            middle = (low + high) // 2
            if self.cost(middle) <= resource * (1 + TOLERANCE):
                low = middle
            else:
                high = middle
        return low


def rung_count(min_resource: float, max_resource: float, eta: int) -> int:
    """How many levels max·eta^-i are not below min: 1 + floor(log_eta(max/min)), without logarithms."""
    count = 1
    while max_resource / eta**count >= min_resource * (1 - TOLERANCE):
        count += 1
    return count


def exact(level: float) -> float:
    """The level, as a whole number where it is one up to rounding."""
    whole = round(level)
    return float(whole) if abs(level - whole) <= TOLERANCE * max(1.0, abs(level)) else level


def levels_up(min_resource: float, max_resource: float, eta: int) -> tuple[float, ...]:
    """min, min·eta, min·eta², … up to max; the last one is max itself."""
    count = rung_count(min_resource, max_resource, eta)
    return (*(exact(min_resource * eta**i) for i in range(count - 1)), exact(max_resource))


def levels_down(max_resource: float, eta: int, s: int) -> tuple[float, ...]:
    """R·eta^-s, …, R·eta^-1, R."""
    return tuple(exact(max_resource / eta ** (s - i)) for i in range(s + 1))


def hyperband_round(
    min_resource: float, max_resource: float, eta: int, *, anew: bool = False
) -> tuple[BracketPlan, ...]:
    """The brackets s = s_max … 0: n = ceil((s_max + 1) / (s + 1) · eta^s) trials from R·eta^-s on.

    Here R is measured in units of `min_resource`, so that no trial gets less than that.
    """
    s_max = rung_count(min_resource, max_resource, eta) - 1
    return tuple(
        BracketPlan(
            label=f"s={s}",
            levels=levels_down(max_resource, eta, s),
            trials=-(-(s_max + 1) * eta**s // (s + 1)),
            eta=eta,
            anew=anew,
        )
        for s in range(s_max, -1, -1)
    )


def halving(spec: SuccessiveHalvingSpec) -> BracketPlan:
    """The one bracket of successive halving."""
    return BracketPlan(
        label="successive halving",
        levels=levels_up(spec.min_resource, spec.max_resource, spec.eta),
        trials=spec.trials,
        eta=spec.eta,
        keep=min(spec.keep, spec.trials),
        anew=spec.fidelity != "epochs",
    )


def judgements(spec: MedianSpec) -> tuple[float, ...]:
    """The resource levels at which trials are judged; the last one is `max_resource`, where they finish."""
    levels, k = [], 0
    while (level := spec.grace_resource + k * spec.interval) < spec.max_resource * (1 - TOLERANCE):
        levels.append(exact(level))
        k += 1
    return (*levels, exact(spec.max_resource))


def exchanges(spec: PbtSpec) -> tuple[float, ...]:
    """Where a population exchanges: at multiples of the interval; at the last level, `max_resource`, it finishes."""
    levels, k = [], 1
    while (level := k * spec.interval) < spec.max_resource * (1 - TOLERANCE):
        levels.append(exact(level))
        k += 1
    return (*levels, exact(spec.max_resource))


@dataclass(frozen=True)
class HyperbandTable:
    """Hyperband's brackets, round after round."""

    brackets: tuple[BracketPlan, ...]

    def plan(self, index: int, *, entered: int) -> BracketPlan | None:
        """Bracket number `index`; `entered` trials are in earlier ones."""
        return self.brackets[index % len(self.brackets)]


@dataclass(frozen=True)
class HalvingTable:
    """One bracket of successive halving; a second one takes what a budget had kept out of the first."""

    whole: BracketPlan

    def plan(self, index: int, *, entered: int) -> BracketPlan | None:
        """Bracket number `index`; `entered` trials are in earlier ones."""
        rest = self.whole.trials - entered
        if rest <= 0:
            return None
        if rest == self.whole.trials:
            return self.whole
        whole = self.whole
        return BracketPlan(
            label=whole.label,
            levels=whole.levels,
            trials=rest,
            eta=whole.eta,
            keep=min(whole.keep, rest),
            anew=whole.anew,
        )
