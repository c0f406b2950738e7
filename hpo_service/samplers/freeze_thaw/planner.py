"""What to train next: which paused trial goes on, or which new configuration is begun.

A pure function of what was observed: the same log gives the same plan, whoever asks and how often. Here: the order in
which the initial design, the last chance, ranks and the model are heard. Not here: what each of them says (`reserve`,
`promotion`, `choice`), proposals (`schedulers.thawing`), configurations by name (`sampler`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hpo_service.core import seeds
from hpo_service.samplers.freeze_thaw.choice import Chooser
from hpo_service.samplers.freeze_thaw.draws import Draws
from hpo_service.samplers.freeze_thaw.evidence import Evidence, Seen
from hpo_service.samplers.freeze_thaw.failures import come_from
from hpo_service.samplers.freeze_thaw.kernel import Floats
from hpo_service.samplers.freeze_thaw.ladder import Ladder
from hpo_service.samplers.freeze_thaw.learning import EXPECTED, CurveLearner, Sight
from hpo_service.samplers.freeze_thaw.outlook import Outlook
from hpo_service.samplers.freeze_thaw.progress import standstill
from hpo_service.samplers.freeze_thaw.promotion import promoted
from hpo_service.samplers.freeze_thaw.reserve import reserve
from hpo_service.samplers.freeze_thaw.scene import Move, Paused, Scene
from hpo_service.samplers.freeze_thaw.turns import Turn, turn

RANKED = "among the best third of those that came so far, by rank alone"
BLAMELESS = 16
"""Trials that failed for no fault of their places, of which so many count as on their way: the newest."""
ALIKE = "nothing tells the trials apart yet, and it is the furthest"


class _Course:
    """A plan in the making: its `moves`, who would be paused and on the way after them, and what would be left of the
    budget; `sight` is what the model says then, `expected` whom it takes as on their way, `idle` for how long nothing
    better came (`progress`)."""

    def __init__(
        self, scene: Scene, evidence: Evidence, sight: Sight | None, expected: list[tuple[Floats, float]], idle: float
    ) -> None:
        self.scene = scene
        self.evidence = evidence
        self.sight = sight
        self.expected = expected
        self.idle = idle
        self.moves: list[Move] = []
        self.paused = list(scene.paused)
        self.underway = list(scene.running)
        self.starts, self.left = scene.starts, scene.resource

    @property
    def designed(self) -> bool:
        """Whether the initial design told something."""
        return len(self.evidence.curves) >= self.scene.first

    @property
    def begun(self) -> int:
        """Configurations that there are."""
        return self.scene.begun + sum(move.trial is None for move in self.moves)

    def take(self, move: Move, price: float) -> None:
        """One more move."""
        self.moves.append(move)
        self.left -= price
        if move.trial is None:
            self.starts -= 1
            self.underway.append((-len(self.moves), move.target))
        else:
            self.paused = [one for one in self.paused if one.trial != move.trial]
            self.underway.append((move.trial, move.target))


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
        self._seed = study_seed
        self._point = point
        self._ladder = Ladder(levels, resumes=resumes)
        self._draws = Draws(cells, settle)
        self._unordered = unordered
        self._learner = CurveLearner(self._ladder.end, unordered, point)
        self._unblaming = CurveLearner(self._ladder.end, unordered, point)
        self._chooser = Chooser(self._ladder, self._draws, self._learner, point)

    def plan(self, scene: Scene, slots: int) -> list[Move]:
        """At most `slots` moves; a shorter plan of the same scene is the beginning of a longer one."""
        seen, learner, blameless = self._heard(scene)
        evidence, ladder = Evidence(seen), self._ladder
        busy = [*blameless, *scene.running[-EXPECTED:]]
        expected = [(self._point(trial), target) for trial, target in busy[-EXPECTED:]]
        sight = learner.sight(seen, evidence, expected)
        idle = standstill(scene.seen, size=evidence.size, end=ladder.end, resumes=ladder.resumes)
        course = _Course(scene, evidence, sight, expected, idle)
        while len(course.moves) < slots:
            move = self._decided(course)
            if move is None:
                break
            course.take(move, self._price(course, move))
            if len(course.moves) < slots:
                self._foresee(course, learner, move)
        return course.moves

    def outlook(self, scene: Scene) -> Outlook | None:
        """What the model expects, given what was seen; None where it tells nothing."""
        seen, learner, _ = self._heard(scene)
        evidence = Evidence(seen)
        sight = learner.sight(seen, evidence, ())
        if sight is None:
            return None
        spread = sight.scale / evidence.size
        return Outlook(posterior=sight.known, evidence=evidence, spread=spread, best=sight.best)

    def _heard(self, scene: Scene) -> tuple[Sequence[Seen], CurveLearner, list[tuple[int, float]]]:
        """What counts of what was seen, who learns from it, and trials that failed for no fault of their places: those
        count as if they were on their way, so that nobody begins beside them for nothing."""
        failed = scene.failed
        if not failed or self._come_from_places(scene):
            return scene.seen, self._learner, []
        seen = [
            one for one in scene.seen
            if one.trial not in failed or math.isfinite(one.value) or one.resource != failed[one.trial].target
        ]  # fmt: skip
        return seen, self._unblaming, [(trial, failed[trial].target) for trial in list(failed)[-BLAMELESS:]]

    def _come_from_places(self, scene: Scene) -> bool:
        points = np.stack([self._point(trial) for trial in scene.exposed])
        failed = [trial in scene.failed for trial in scene.exposed]
        return come_from(points, list(scene.exposed.values()), failed, self._unordered)

    def _decided(self, course: _Course) -> Move | None:
        """The next move; None where nothing can be done, or nothing is worth it."""
        scene, ladder, sight = course.scene, self._ladder, course.sight
        places = [*((one.trial, one.resource) for one in course.paused), *course.underway]
        kept = reserve(places, course.evidence, ladder, left=course.left)
        room = course.left - kept.resource
        afford = [
            one for one in course.paused
            if ladder.step(one.resource) <= (course.left if one.trial == kept.trial else room)
        ]  # fmt: skip
        may_start = course.starts > 0 and scene.look <= room
        if not afford and not may_start:
            return None
        last = next((one for one in afford if one.trial == kept.trial), None)
        if last is not None and room < scene.look:
            return self._to_the_end(last)
        if may_start and (course.begun < scene.first or (sight is None and not (course.designed and afford))):
            return Move(trial=None, target=scene.look, reason="the initial design")
        if sight is None:
            furthest = min(afford, key=lambda one: (-course.evidence.peak(one.trial), -one.resource, one.trial))
            return Move(trial=furthest.trial, target=ladder.above(furthest.resource), reason=ALIKE)
        found = self._judged(course, sight, afford, may_start=may_start)
        return found if found is None or scene.lawful else replace(found, gain=None)

    def _judged(self, course: _Course, sight: Sight, afford: Sequence[Paused], *, may_start: bool) -> Move | None:
        """What the model, ranks or nobody decides."""
        scene, ladder = course.scene, self._ladder
        rng = seeds.rng(self._seed, scene.stamp, seeds.Purpose.THAW, len(course.moves))
        whose = turn(rng, running=len(course.underway), standstill=course.idle) if may_start else Turn.MODEL
        if whose in (Turn.RANKS, Turn.HALVING):
            on = promoted(ladder.levels, course.evidence, afford, scene.forgotten)
            if on is not None:
                return Move(trial=on.trial, target=ladder.above(on.resource), reason=RANKED)
        if whose in (Turn.ANYWHERE, Turn.HALVING):
            return self._chooser.anywhere(rng, scene.look)
        return self._chooser.best(sight, rng, afford, left=course.left, look=scene.look if may_start else None)

    def _to_the_end(self, one: Paused) -> Move:
        """What is left is kept for this trial."""
        ladder = self._ladder
        reason = f"the budget holds just enough to train the best trial to the end, resource {ladder.end:g}"
        return Move(trial=one.trial, target=ladder.above(one.resource) if ladder.resumes else ladder.end, reason=reason)

    def _price(self, course: _Course, move: Move) -> float:
        if move.trial is None:
            return move.target
        return self._ladder.price(next(one.resource for one in course.paused if one.trial == move.trial), move.target)

    def _foresee(self, course: _Course, learner: CurveLearner, move: Move) -> None:
        """The model takes the move as if it had come to what is expected."""
        place = self._point(move.trial) if move.trial is not None else None if move.points is None else move.points[0]
        if course.sight is not None and place is not None:
            course.expected.append((place, move.target))
            course.sight = replace(course.sight, posterior=learner.one_more(course.sight, course.expected))
