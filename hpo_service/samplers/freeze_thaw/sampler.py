"""The sampler of the curve model: the plans that are made from what the log told.

`plan` decides for sampler and scheduler together which trial goes on or whether a new one begins; the scheduler
(`schedulers.thawing`) hands out the first kind, `draw` the configurations of the second. Not here: what the
log told (`memory`), the model and the decision (`planner`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from hpo_service.core.history import History, TrialRecord
from hpo_service.core.roles import Ask, Draw
from hpo_service.core.warm_start import WarmStarted
from hpo_service.samplers.advised import Advice
from hpo_service.samplers.freeze_thaw.looks import first_look
from hpo_service.samplers.freeze_thaw.memory import Memory
from hpo_service.samplers.freeze_thaw.places import Places
from hpo_service.samplers.freeze_thaw.scene import BEGIN, PROMISES, Move, Scene
from hpo_service.samplers.sobol import SobolSampler
from hpo_service.samplers.surrogate_view import IMPROVEMENT, MAX_NEXT, SurrogateView, incumbent, look
from hpo_service.samplers.surrogate_view import Scene as Looked
from hpo_service.samplers.threads import imported

if TYPE_CHECKING:
    from hpo_service.samplers.freeze_thaw.planner import Planner

_Key = tuple[int, int, int, float, float]


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
        self._memory = Memory(self.levels, 1.0 if history.objective.maximize else -1.0)
        self._places: dict[int, Places] = {}  # by version of the space
        self._planner: tuple[tuple[int, int], Planner] | None = None
        self._plan: tuple[_Key, int, list[Move]] | None = None
        self._planned: Sequence[Move] = ()
        self._look: tuple[tuple[int, int], float] | None = None
        self._gain: float | None = None

    # What the log tells

    def started(self, trial: TrialRecord) -> None:
        """A segment is on its way."""
        self._design.started(trial)
        self._memory.started(trial)

    def rested(self, trial: TrialRecord) -> None:
        """A segment came to an end."""
        self._memory.rested(trial)

    def over(self, trial: int) -> None:
        """A paused trial goes on no more."""
        self._memory.over(trial)

    # What is asked

    @property
    def look(self) -> float:
        """The level at which a new trial is judged the first time."""
        key = (len(self._memory.seen), self._memory.upheavals)
        if self._look is None or self._look[0] != key:
            self._look = (key, first_look(self.levels, self._memory.seen))
        return self._look[1]

    def plan(self, slots: int, *, starts: float, resource: float) -> Sequence[Move]:
        """At most `slots` moves, within so many new trials and so much resource."""
        starts = min(starts, self._untried())
        known = self._history
        key = (self._memory.changes, known.next_number, known.space_version, starts, resource)
        if self._plan is None or self._plan[0] != key or self._plan[1] < slots:
            self._plan = (key, slots, self._newest_planner().plan(self._scene(starts, resource), slots))
        self._planned = self._plan[2][:slots]
        return self._planned

    def draw(self, ask: Ask) -> Draw | None:
        """The configuration of the plan's next new trial; one of the initial design where the plan leaves it open."""
        self._gain = None
        if self.spent(ask) is not None:
            return None
        fresh = [move for move in self._planned if move.trial is None]
        place = ask.number - self._history.next_number
        move = fresh[place] if place < len(fresh) else None
        if move is None:
            return None  # what is left is kept for the one that goes to the end
        if move.points is None:
            return self._advice.draw(ask) or self._design.draw(ask)
        places = self._space_places(self._history.space_version)
        for point in move.points:
            params = ask.space.from_unit(places.whole(point))
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

    def view(self, ask: Ask | None, underway: Mapping[int, str]) -> SurrogateView | None:
        """The model with all that was told so far; None where that tells nothing, and while no trial keeps all
        constraints: then the model learns how little they are broken."""
        memory, trials, version = self._memory, self._history.trials, self._history.space_version
        if not memory.lawful:
            return None
        outlook = self._newest_planner().outlook(self._scene(math.inf, math.inf))
        encoding = imported("encoding").Encoding(self._history.space)
        values = {one.trial: memory.sign * one.value if math.isfinite(one.value) else None for one in memory.seen}
        used = tuple(sorted(values.items()))
        best = incumbent(used, trials, encoding, maximize=memory.sign > 0)
        if outlook is None or best is None:
            return None
        chosen = sorted((n for n, why in underway.items() if why.startswith(PROMISES)), reverse=True)
        scene = Looked(
            surrogate="curves",
            acquisition_name=IMPROVEMENT,
            trial=self._history.next_number,
            resource=self.levels[-1],
            used=used,
            of=len(used),
            trials=trials,
            incumbent=best,
            next=tuple(trials[number] for number in chosen[:MAX_NEXT]),
            encoding=encoding,
        )
        drawn = imported("freeze_thaw.outlook")  # SciPy is slow to import
        return look(scene, drawn.CurveModel(outlook, encoding, self._space_places(version), sign=memory.sign))

    def expected_gain(self) -> float | None:
        """Of the configuration that was drawn last."""
        return self._gain

    # Inside

    def _untried(self) -> float:
        """How many configurations a finite space has left; infinite where it cannot be used up."""
        inside = None if self._repeats else self._history.inside(self._history.space_version)
        return math.inf if inside is None else max(0, (self._history.space.cardinality or 0) - inside)

    def _scene(self, starts: float, resource: float) -> Scene:
        warm, memory = self._warm(), self._memory
        return Scene(
            seen=memory.seen,
            paused=memory.paused(),
            running=sorted(memory.running.items()),
            begun=self._history.started + memory.imported,
            first=max(BEGIN, len(warm.portfolio) + 1 if warm else 0),
            look=self.look,
            starts=starts,
            resource=resource,
            stamp=memory.stamp,
            lawful=memory.lawful,
            failed=memory.failed,
            exposed=memory.exposed,
            forgotten=memory.forgotten,
        )

    def _newest_planner(self) -> Planner:
        """One that knows nothing yet, whenever what it knows may be of another space, or of what is judged otherwise
        by now."""
        version = self._history.space_version
        known = (version, self._memory.upheavals)
        if self._planner is None or self._planner[0] != known:
            self._planner = (known, self._made(version))
        return self._planner[1]

    def _made(self, version: int) -> Planner:
        places = self._space_places(version)
        made: Planner = imported("freeze_thaw.planner").Planner(
            self._seed,
            self.levels,
            places.unordered,
            places.cells,
            places.point,
            resumes=self._history.resumes,
            settle=places.settle,
        )
        return made

    def _space_places(self, version: int) -> Places:
        if version not in self._places:
            self._places[version] = Places(self._history, repeats=self._repeats)
        return self._places[version]
