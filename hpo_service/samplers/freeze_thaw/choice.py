"""What the model would train: the paused trial, or the new configuration, with the most improvement to expect for an
epoch.

A trial is looked at again after its next step, and goes on to a horizon only where that is then worth it: about as
often as it is likely to improve. Not here: the model (`learning`), and whose decision it is (`turns`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from hpo_service.samplers.freeze_thaw.draws import Draws
from hpo_service.samplers.freeze_thaw.kernel import Floats
from hpo_service.samplers.freeze_thaw.ladder import Ladder
from hpo_service.samplers.freeze_thaw.learning import CurveLearner, Sight
from hpo_service.samplers.freeze_thaw.posterior import improvement
from hpo_service.samplers.freeze_thaw.scene import PROMISES, Move, Paused

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
"""So many new configurations are named, for the first ones may be taken."""


class _Rated(NamedTuple):
    """A paused trial, and what an epoch of it promises, on the model's scale."""

    one: Paused
    rate: float


class Chooser:
    """For one space. `point`: a trial's place."""

    def __init__(self, ladder: Ladder, draws: Draws, learner: CurveLearner, point: Callable[[int], Floats]) -> None:
        self._ladder = ladder
        self._draws = draws
        self._learner = learner
        self._point = point

    def best(
        self, sight: Sight, rng: np.random.Generator, paused: Sequence[Paused], *, left: float, look: float | None
    ) -> Move | None:
        """The move. `look`: how far a new trial goes; None where none may start, and then there is none either where
        no paused one is likely enough to improve."""
        on = self._paused(sight, paused, left=left, must_hope=look is None)
        if look is not None:
            points, rates = self._new(sight, rng, left=left, look=look)
            if on is None or rates[0] > on.rate:
                reason = _promises(float(rates[0]) * sight.scale)
                gain = self._gain(sight, points[:1])
                return Move(trial=None, target=look, points=points, gain=gain, reason=reason)
        if on is None:
            return None
        gain = self._gain(sight, self._point(on.one.trial)[None, :])
        reason = _promises(on.rate * sight.scale)
        return Move(trial=on.one.trial, target=self._ladder.above(on.one.resource), gain=gain, reason=reason)

    def anywhere(self, rng: np.random.Generator, look: float) -> Move:
        """A new configuration that no model chose."""
        points = self._draws.anywhere(rng, CHOICES)
        return Move(trial=None, target=look, points=points, reason="one begins anywhere, whatever the model says")

    def _paused(self, sight: Sight, paused: Sequence[Paused], *, left: float, must_hope: bool) -> _Rated | None:
        ladder, evidence = self._ladder, sight.evidence
        looked = sorted(paused, key=lambda one: (-evidence.peak(one.trial), one.trial))[:GOING_ON]
        pairs = [
            (one, h)
            for one in looked
            for h in ladder.levels
            if h > one.resource and ladder.price(one.resource, h) <= left
        ]
        if not pairs:
            return None
        points = np.stack([self._point(one.trial) for one, _ in pairs])
        moments = self._learner.moments([h for _, h in pairs])
        gains, likely = improvement(*sight.posterior.along(points, moments), sight.best)
        if must_hope and evidence.ended(ladder.end) and float(likely.max()) < HOPE:
            return None
        step = np.array([ladder.step(one.resource) for one, _ in pairs])
        beyond = np.array([ladder.beyond(ladder.above(one.resource), h) for one, h in pairs])
        rates = _rates(gains, likely, step=step, beyond=beyond)
        at = int(np.argmax(rates))
        return _Rated(pairs[at][0], float(rates[at]))

    def _gain(self, sight: Sight, point: Floats) -> float:
        """The improvement to expect of a place (1, d) at the end of training, in the objective's units."""
        gain, _ = improvement(*sight.posterior.at(point, np.ones(1)), sight.best)
        return float(gain[0, 0]) * sight.scale

    def _new(self, sight: Sight, rng: np.random.Generator, *, left: float, look: float) -> tuple[Floats, Floats]:
        """The most promising new configurations (k, d), best first, and their rates."""
        ladder, posterior = self._ladder, sight.posterior
        far = [h for h in ladder.levels if h >= FAR * ladder.end and h <= left] or [min(ladder.end, max(look, left))]
        moments = self._learner.moments(far)
        beyond = np.array([ladder.beyond(look, h) for h in far])

        def rated(points: Floats) -> Floats:
            gain, likely = improvement(*posterior.at(points, moments), sight.best)
            rates = _rates(gain, likely, step=np.full(1, look), beyond=beyond)
            best_rates = np.asarray(rates.max(axis=1), dtype=np.float64)
            return np.where(posterior.apart(points) < APART, CROWDED * best_rates, best_rates)

        bold = rng.random() < BOLD
        around = [self._point(trial) for trial in sight.evidence.order[:BEST]]
        points = self._draws.anywhere(rng, BOLD_DRAWS) if bold else self._draws.mixed(rng, around)
        rates = rated(points)
        for width in () if bold else ROUNDS:
            order, closer = self._draws.closer(rng, points, rates, width)
            points = np.concatenate([points[order], closer])
            rates = np.concatenate([rates[order], rated(closer)])
        found = np.argsort(-rates, kind="stable")[:CHOICES]
        return points[found], rates[found]


def _rates(gain: Floats, likely: Floats, *, step: Floats, beyond: Floats) -> Floats:
    """Improvement per epoch."""
    found: Floats = gain / (step + np.minimum(1.0, likely + CAUTION) * beyond)
    return found


def _promises(rate: float) -> str:
    return f"{PROMISES}: {rate:.2g} better per unit of resource"
