"""The sampler and the memory of the curve model: what the log told, and the plans made from it.

`plan` decides for sampler and scheduler together which trial goes on or whether a new one begins; the scheduler
(`schedulers.thawing`) hands out the first kind, `draw` the configurations of the second. Not here: the model and the
decision (`planner`).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpo_service.core import likeness
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.roles import Ask, Draw
from hpo_service.core.states import Origin, TrialState
from hpo_service.core.warm_start import WarmStarted
from hpo_service.samplers.advised import Advice
from hpo_service.samplers.freeze_thaw.evidence import Seen
from hpo_service.samplers.freeze_thaw.kernel import Floats
from hpo_service.samplers.freeze_thaw.scene import BEGIN, Move, Paused, Scene
from hpo_service.samplers.sobol import SobolSampler

if TYPE_CHECKING:
    from hpo_service.samplers.freeze_thaw.planner import Planner

MOST_CELLS = 1_000
"""Ordered parameters with more values than that are continuous to the model."""


class CurveSampler:
    """A `Sampler`. `levels`: where trials pause. `warm` gives what the study began from, once its log told it."""

    def __init__(
        self,
        study_seed: int,
        history: History,
        levels: Sequence[float],
        *,
        repeats: bool,
        warm: Callable[[], WarmStarted | None],
    ) -> None:
        self.levels = tuple(levels)
        self._seed = study_seed
        self._history = history
        self._repeats = repeats
        self._warm = warm
        self._design = SobolSampler(study_seed, history, repeats=repeats)
        self._advice = Advice(study_seed, history, warm)
        self._seen: list[tuple[int, float, float, float]] = []  # trial, resource, value (higher is better), violation
        self._running: dict[int, float] = {}
        self._paused: dict[int, float] = {}
        self._stamp = 0
        self._planners: dict[int, Planner] = {}  # by version of the space
        self._places: dict[int, dict[int, Floats]] = {}
        self._plan: tuple[tuple[int, float, float], list[Move]] | None = None
        self._gain: float | None = None

    # What the log tells

    def started(self, trial: TrialRecord) -> None:
        """A segment is on its way."""
        self._stamp += 1
        self._design.started(trial)
        self._paused.pop(trial.number, None)
        self._running[trial.number] = trial.target

    def rested(self, trial: TrialRecord) -> None:
        """A segment came to an end, and told a value unless somebody stopped it."""
        self._stamp += 1
        self._running.pop(trial.number, None)
        self._paused.pop(trial.number, None)
        if trial.state is TrialState.STOPPED and trial.origin is not Origin.IMPORTED:
            return
        score = trial.value if trial.state is TrialState.STOPPED else trial.score
        sign = 1.0 if self._history.objective.maximize else -1.0
        value = math.nan if score is None or not math.isfinite(score) else sign * score
        reach = min(trial.reach, self.levels[-1])
        if trial.state is TrialState.FAILED or reach <= 0:
            reach = max(self.levels[0], min(trial.target, self.levels[-1]))
        self._seen.append((trial.number, reach, value, trial.violation))
        if trial.state is TrialState.PAUSED and not trial.completed and reach < self.levels[-1]:
            self._paused[trial.number] = trial.resource

    # What is asked

    def plan(self, slots: int, *, starts: float, resource: float) -> Sequence[Move]:
        """At most `slots` moves, within so many new trials and so much resource."""
        key = (self._stamp, starts, resource)
        if self._plan is None or self._plan[0] != key or len(self._plan[1]) < slots:
            self._plan = (key, self._planner().plan(self._scene(starts, resource), slots))
        return self._plan[1][:slots]

    def draw(self, ask: Ask) -> Draw | None:
        """The configuration of the plan's next new trial; one of the initial design where the plan leaves it open."""
        self._gain = None
        if self.spent(ask) is not None:
            return None
        fresh = [move for move in (self._plan[1] if self._plan and self._plan[0][0] == self._stamp else ())
                 if move.trial is None]  # fmt: skip
        place = ask.number - self._history.next_number
        move = fresh[place] if place < len(fresh) else None
        if move is None or move.points is None:
            return self._advice.draw(ask) or self._design.draw(ask)
        for point in move.points:
            params = ask.space.from_unit(self._whole(point, ask))
            if ask.space.is_forbidden(params):
                continue
            key = ask.space.config_key(params)
            if self._repeats or not ask.taken(key):
                self._gain = move.gain
                return Draw(params=params, key=key, reason=move.reason)
        return self._design.draw(ask)

    def spent(self, ask: Ask) -> str | None:
        """A finite space is used up once each of its configurations was tried."""
        return self._design.spent(ask)

    def expected_gain(self) -> float | None:
        """Of the configuration that was drawn last."""
        return self._gain

    # Inside

    def _scene(self, starts: float, resource: float) -> Scene:
        warm, history = self._warm(), self._history
        lawful = any(violation == 0 and math.isfinite(value) for _, _, value, violation in self._seen)
        seen = [Seen(n, r, _judged(value, violation, lawful=lawful)) for n, r, value, violation in self._seen]
        peaks = {one.trial: one.value for one in seen}
        paused = [Paused(trial=n, resource=r) for n, r in sorted(self._paused.items()) if math.isfinite(peaks[n])]
        return Scene(
            seen=seen,
            paused=paused,
            running=sorted(self._running.items()),
            begun=history.started,
            first=max(BEGIN, len(warm.portfolio) + 1 if warm else 0),
            starts=starts,
            resource=resource,
            stamp=self._stamp,
        )

    def _planner(self) -> Planner:
        version = self._history.space_version
        if version not in self._planners:
            space = self._history.space
            names = [name for name in space.names if space.parameters[name].cardinality != 1]
            cells = [_cells(space.parameters[name].cardinality, space.parameters[name]) for name in names]
            columns = [space.names.index(name) for name in names]
            places = self._places.setdefault(version, {})

            def point(trial: int) -> Floats:
                if trial not in places:
                    found = likeness.point(self._history[trial].params, space)[columns]
                    places[trial] = np.where(np.isnan(found), 0.5, found)
                return places[trial]

            module = importlib.import_module("hpo_service.samplers.freeze_thaw.planner")  # SciPy is slow to import
            self._planners[version] = module.Planner(
                self._seed, self.levels, likeness.unordered(space)[columns], np.array(cells, dtype=np.int64), point
            )
        return self._planners[version]

    def _whole(self, point: Floats, ask: Ask) -> Floats:
        """A place with a column for every parameter, those that have one value included."""
        found = np.full(len(ask.space.names), 0.5)
        found[[i for i, name in enumerate(ask.space.names) if ask.space.parameters[name].cardinality != 1]] = point
        return found


def _judged(value: float, violation: float, *, lawful: bool) -> float:
    """What breaks a constraint is as bad as what diverged; while nothing keeps them all, the least broken is best."""
    if lawful:
        return value if violation == 0 else math.nan
    return -violation if math.isfinite(value) and math.isfinite(violation) else math.nan


def _cells(cardinality: int | None, parameter: object) -> int:
    """How many equal cells its axis has; 0 where values lie anywhere, or in cells of unequal width."""
    if cardinality is None or cardinality > MOST_CELLS or getattr(getattr(parameter, "scale", None), "log", False):
        return 0
    return cardinality
