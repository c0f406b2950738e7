"""What to train next: which paused trial goes on, or which new configuration is begun, by what an epoch of it is
expected to bring.

A pure function of what was observed: the same log gives the same plan, whoever asks and how often. The kernel is fitted
anew whenever a fifteenth more was seen, to what had been seen by then; between fits the newest values are taken in with
the kernel that there is. Not here: proposals (`schedulers.thawing`), configurations by name (`sampler`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hpo_service.core import seeds
from hpo_service.samplers.freeze_thaw.draws import Draws
from hpo_service.samplers.freeze_thaw.evidence import Evidence, Seen, spread_of
from hpo_service.samplers.freeze_thaw.fit import fitted, start
from hpo_service.samplers.freeze_thaw.kernel import Floats, Kernel, squares
from hpo_service.samplers.freeze_thaw.outlook import Outlook
from hpo_service.samplers.freeze_thaw.posterior import Posterior, Rows, improvement
from hpo_service.samplers.freeze_thaw.progress import standstill
from hpo_service.samplers.freeze_thaw.promotion import promoted
from hpo_service.samplers.freeze_thaw.reserve import reserve
from hpo_service.samplers.freeze_thaw.scene import BEGIN, PROMISES, Move, Paused, Scene
from hpo_service.samplers.freeze_thaw.turns import Turn, turn

REFIT = 1.07
FITTED = 140
"""Rows of a fit, at most."""
SPAN = 52.0
"""Moments are 1 + log(share of a full training) / log(SPAN)."""
SHORTEST = 1e-3
"""What was seen earlier than at this share of a full training counts as seen there."""
FAR = 0.15
"""A new configuration is judged by what it may come to at a level from this share of a full training on."""
CAUTION = 0.02
"""Added to the probability that a trial which is begun will be worth going on with."""
HOPE = 0.05
"""Once no more trials may start, and one has come to the end: how likely a paused one must be to improve."""
GOING_ON = 25
"""Paused trials that are looked at: those with the best values."""
BEST, ROUNDS = 5, (0.15, 0.05)
"""New configurations that are looked at: anywhere, around so many of the best trials, and then closer and closer around
those that promise most."""
CROWDED, APART = 1e-6, 0.05
"""A new configuration that is not so many length scales away from all that were seen promises that share of what it
would: it would tell and bring nothing."""
BOLD, BOLD_DRAWS = 0.3, 30
"""How often only a few places anywhere are looked at: a process believes most in the cube's corners, and corners are
few."""
CHOICES = 12
EXPECTED = 64
"""Of those on their way, so many are taken as if they had come to what is expected: the newest. More take more time
than they are worth."""
RANKED = "among the best third of those that came so far, by rank alone"
ALIKE = "nothing tells the trials apart yet, and it is the furthest"


class Planner:
    """Plans for one space. `levels`: where trials pause, the last one is the end. `point` gives a trial's place.
    `resumes`: whether a trial goes on where it was, or begins anew for each level, and pays for all of it. `settle`:
    which of some candidates are different configurations that may begin (`places`)."""

    def __init__(
        self,
        study_seed: int,
        levels: Sequence[float],
        unordered: npt.NDArray[np.bool_],
        cells: npt.NDArray[np.int64],
        point: Callable[[int], Floats],
        *,
        resumes: bool = True,
        settle: Callable[[Floats], Floats] | None = None,
    ) -> None:
        self._resumes = resumes
        self._seed = study_seed
        self.levels = tuple(levels)
        self._unordered = unordered
        self._dimension = len(cells)
        self._draws = Draws(cells, settle)
        self._point = point
        self._kernels: dict[int, Kernel] = {}

    def plan(self, scene: Scene, slots: int) -> list[Move]:
        """At most `slots` moves; a shorter plan of the same scene is the beginning of a longer one."""
        moves: list[Move] = []
        paused = list(scene.paused)
        starts, left, known, posterior = scene.starts, scene.resource, None, None
        expected = [(self._point(trial), target) for trial, target in scene.running[-EXPECTED:]]
        evidence = Evidence(scene.seen)
        if evidence.tells:
            known, scale, best = self._posterior(scene, evidence)
            posterior = self._expecting(known, expected) if expected else known
        idle = standstill(scene.seen, size=evidence.size, end=self.levels[-1], resumes=self._resumes)
        underway = list(scene.running)
        flat = posterior is None and len(evidence.curves) >= scene.first  # yet nothing tells them apart
        while len(moves) < slots:
            kept = reserve(
                [*((one.trial, one.resource) for one in paused), *underway],
                evidence, end=self.levels[-1], price=self.price, left=left,
            )  # fmt: skip
            room = left - kept.resource
            afford = [one for one in paused if self._next(one) <= (left if one.trial == kept.trial else room)]
            may_start = starts > 0 and scene.look <= room
            if not afford and not may_start:
                break
            design = scene.begun + sum(move.trial is None for move in moves) < scene.first
            last = next((one for one in afford if one.trial == kept.trial), None)
            if last is not None and room < scene.look:
                moves.append(self._to_the_end(last))
            elif may_start and (design or (posterior is None and not (flat and afford))):
                moves.append(Move(trial=None, target=scene.look, reason="the initial design"))
            elif posterior is None:
                furthest = min(afford, key=lambda one: (-evidence.peak(one.trial), -one.resource, one.trial))
                moves.append(Move(trial=furthest.trial, target=self.above(furthest.resource), reason=ALIKE))
            else:
                rng = seeds.rng(self._seed, scene.stamp, seeds.Purpose.THAW, len(moves))
                whose = turn(rng, running=len(scene.running) + len(moves), standstill=idle) if may_start else Turn.MODEL
                on = None
                if whose in (Turn.RANKS, Turn.HALVING):
                    on = promoted(self.levels, evidence, afford, scene.forgotten)
                found: Move | None
                if on is not None:
                    found = Move(trial=on.trial, target=self.above(on.resource), reason=RANKED)
                elif whose in (Turn.ANYWHERE, Turn.HALVING):
                    found = self._anywhere(rng, scene.look)
                else:
                    found = self._best(
                        posterior, rng, afford, evidence, best=best, scale=scale, left=left,
                        look=scene.look if may_start else None,
                    )  # fmt: skip
                if found is None:
                    break
                moves.append(found if scene.lawful else replace(found, gain=None))
            move = moves[-1]
            underway.append((-len(moves) if move.trial is None else move.trial, move.target))
            if move.trial is None:
                starts, left = starts - 1, left - move.target
                place = None if move.points is None else move.points[0]
            else:
                left -= self.price(next(one.resource for one in paused if one.trial == move.trial), move.target)
                paused = [one for one in paused if one.trial != move.trial]
                place = self._point(move.trial)
            if known is not None and posterior is not None and place is not None and len(moves) < slots:
                expected.append((place, move.target))
                if len(expected) <= EXPECTED:
                    posterior = self._expecting(posterior, expected[-1:])
                else:
                    posterior = self._expecting(known, expected[-EXPECTED:])
        return moves

    def outlook(self, scene: Scene) -> Outlook | None:
        """What the model expects, given what was seen; None where it tells nothing."""
        evidence = Evidence(scene.seen)
        if not evidence.tells:
            return None
        posterior, scale, best = self._posterior(scene, evidence)
        return Outlook(posterior=posterior, evidence=evidence, spread=scale / evidence.size, best=best)

    def _to_the_end(self, one: Paused) -> Move:
        """What is left is kept for this trial."""
        end = self.levels[-1]
        reason = f"the budget holds just enough to train the best trial to the end, resource {end:g}"
        return Move(trial=one.trial, target=self.above(one.resource) if self._resumes else end, reason=reason)

    def _anywhere(self, rng: np.random.Generator, look: float) -> Move:
        points = self._draws.anywhere(rng, CHOICES)
        return Move(trial=None, target=look, points=points, reason="one begins anywhere, whatever the model says")

    def above(self, resource: float) -> float:
        """The next level; the end where there is none."""
        return next((level for level in self.levels if level > resource * (1 + 1e-9)), self.levels[-1])

    def _next(self, one: Paused) -> float:
        """The price of a paused trial's next level."""
        return self.price(one.resource, self.above(one.resource))

    def price(self, begun: float, target: float) -> float:
        """What it takes of the budget to train from `begun` to `target`."""
        return target - begun if self._resumes else target

    def _moments(self, resources: Sequence[float]) -> Floats:
        shares = np.maximum(np.asarray(resources, dtype=np.float64) / self.levels[-1], SHORTEST)
        found: Floats = 1.0 + np.log(shares) / np.log(SPAN)
        return found

    def _rows(self, seen: Sequence[Seen], evidence: Evidence) -> tuple[Rows, float]:
        values = evidence.scaled(np.array([one.value for one in seen]))
        spread = max(float(values.std()), 1e-3)
        points = np.stack([self._point(one.trial) for one in seen])
        return Rows(points=points, s=self._moments([one.resource for one in seen]), values=values / spread), spread

    def _posterior(self, scene: Scene, evidence: Evidence) -> tuple[Posterior, float, float]:
        """The process given what was seen, the objective's units per unit of it, and the best value on its scale."""
        rows, spread = self._rows(evidence.rows(end=self.levels[-1]), evidence)
        posterior = Posterior(self._kernel(scene.seen), rows, self._unordered)
        return posterior, spread * evidence.size, 1.0 / spread

    def _kernel(self, seen: Sequence[Seen]) -> Kernel:
        """Fitted to what had been seen when the last fit was due; where that told nothing, where a fit begins."""
        due = BEGIN
        while due * REFIT + 1 <= len(seen):
            due = int(due * REFIT + 1)
        due = min(due, len(seen))
        if due not in self._kernels:
            self._kernels = {due: self._fit(Evidence(seen[:due]))}
        return self._kernels[due]

    def _fit(self, evidence: Evidence) -> Kernel:
        if not evidence.tells:
            return Kernel.of(start(self._dimension))
        rows, _ = self._rows(spread_of(evidence.rows(end=self.levels[-1]), FITTED), evidence)
        return fitted(squares(rows.points, rows.points, self._unordered), rows.s, rows.values)

    def _expecting(self, posterior: Posterior, expected: Sequence[tuple[Floats, float]]) -> Posterior:
        points = np.stack([place for place, _ in expected])
        return posterior.and_also(points, self._moments([target for _, target in expected]))

    def _best(
        self,
        posterior: Posterior,
        rng: np.random.Generator,
        paused: Sequence[Paused],
        evidence: Evidence,
        *,
        best: float,
        scale: float,
        left: float,
        look: float | None,
    ) -> Move | None:
        """The paused trial, or the new configuration, with the most improvement to expect for an epoch. None where none
        may start (`look` is None) and no paused one is likely enough to improve."""
        promise, pick = -1.0, None
        looked = sorted(paused, key=lambda one: (-evidence.peak(one.trial), one.trial))[:GOING_ON]
        pairs = [
            (one, h) for one in looked for h in self.levels if h > one.resource and self.price(one.resource, h) <= left
        ]
        if pairs:
            points = np.stack([self._point(one.trial) for one, _ in pairs])
            gains, likely = improvement(*posterior.along(points, self._moments([h for _, h in pairs])), best)
            if look is None and evidence.ended(self.levels[-1]) and float(likely.max()) < HOPE:
                return None
            rates = self._rates(
                gains,
                likely,
                step=np.array([self.price(one.resource, self.above(one.resource)) for one, _ in pairs]),
                beyond=np.array([self._beyond(self.above(one.resource), h) for one, h in pairs]),
            )
            at = int(np.argmax(rates))
            promise, pick = float(rates[at]), pairs[at]
        if look is not None:
            points, rates = self._new(posterior, rng, evidence, best=best, left=left, look=look)
            if pick is None or rates[0] > promise:
                gain, _ = improvement(*posterior.at(points[:1], np.ones(1)), best)
                return Move(
                    trial=None, target=look, points=points, gain=float(gain[0, 0]) * scale,
                    reason=_promises(float(rates[0]) * scale),
                )  # fmt: skip
        if pick is None:
            return None
        return self._on(posterior, pick[0], best=best, scale=scale, reason=_promises(promise * scale))

    def _on(self, posterior: Posterior, one: Paused, *, best: float, scale: float, reason: str) -> Move:
        """A paused trial goes on to the next level."""
        gain, _ = improvement(*posterior.at(self._point(one.trial)[None, :], np.ones(1)), best)
        return Move(trial=one.trial, target=self.above(one.resource), gain=float(gain[0, 0]) * scale, reason=reason)

    def _beyond(self, level: float, horizon: float) -> float:
        """The price from the next level to the horizon."""
        return self.price(level, horizon) if horizon > level else 0.0

    def _rates(self, gain: Floats, likely: Floats, *, step: Floats, beyond: Floats) -> Floats:
        """Improvement per epoch. A trial is looked at again after its next step, and goes on to the horizon only where
        that is then worth it: about as often as it is likely to improve."""
        found: Floats = gain / (step + np.minimum(1.0, likely + CAUTION) * beyond)
        return found

    def _new(
        self, posterior: Posterior, rng: np.random.Generator, evidence: Evidence, *,
        best: float, left: float, look: float,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """The most promising new configurations (k, d), best first, and their rates."""
        last = self.levels[-1]
        horizons = np.array([h for h in self.levels if h >= FAR * last and h <= left] or [min(last, max(look, left))])
        moments = self._moments(list(horizons))
        beyond = np.array([self._beyond(look, float(h)) for h in horizons])

        def rated(points: Floats) -> Floats:
            gain, likely = improvement(*posterior.at(points, moments), best)
            rates = self._rates(gain, likely, step=np.full(1, look), beyond=beyond)
            best_rates = np.asarray(rates.max(axis=1), dtype=np.float64)
            return np.where(posterior.apart(points) < APART, CROWDED * best_rates, best_rates)

        bold = rng.random() < BOLD
        around = [self._point(trial) for trial in evidence.order[:BEST]]
        points = self._draws.anywhere(rng, BOLD_DRAWS) if bold else self._draws.mixed(rng, around)
        rates = rated(points)
        for width in () if bold else ROUNDS:
            order, closer = self._draws.closer(rng, points, rates, width)
            points = np.concatenate([points[order], closer])
            rates = np.concatenate([rates[order], rated(closer)])
        found = np.argsort(-rates, kind="stable")[:CHOICES]
        return points[found], rates[found]


def _promises(rate: float) -> str:
    return f"{PROMISES}: {rate:.2g} better per unit of resource"
