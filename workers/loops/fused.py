"""The fused loop: trials of equal structure trained as the lanes of one program, each reporting and ending for itself.

A lane that has ended stays in its place until all have, for the width of a program must not change under the others;
or until another trial takes its place, between two epochs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from workers import memory
from workers.errors import AttemptEnd
from workers.loops.lanes import LaneLearner
from workers.loops.progress import EVALUATED_ROWS, PREFLIGHT_BATCHES, Progress, last_epoch, spread
from workers.loops.single import Task
from workers.loops.testing import Outputs, predictions
from workers.trial import Trial

Ended = Callable[[int, BaseException | None], None]
More = Callable[[int], Sequence[tuple[Task, Trial]]]
"""Asked for at most so many further trials, between epochs, while lanes are free."""
_HELD_VALUES = 1 << 24  # predicted numbers that are held at a time


def nobody(_: int) -> Sequence[tuple[Task, Trial]]:
    """No further trials."""
    return ()


def train(tasks: Sequence[Task], trials: Sequence[Trial], *, width: int, ended: Ended, more: More = nobody) -> None:
    """Train `trials` side by side, each on its task, until all have ended; lanes beyond them repeat the first one.

    `more(free)` gives further trials of the same structure, which take free lanes from the next epoch on, numbered
    after those before; what they come to is what they would come to in any launch of this width.

    `ended(lane, error)` is called as soon as a lane has: with None where its epochs are over or it stopped early, with
    the end of its attempt (AttemptEnd), or with what its report or checkpoint raised. What goes wrong in the
    program itself, memory that runs out among it, is raised, and ends none of them.
    """
    launch = _Launch(tasks, trials, width=width, ended=ended)
    launch.resume()
    while launch.alive:
        launch.epoch()
        free = width - len(launch.alive)
        if launch.alive and free > 0:
            launch.fill(more(free))


class _Launch:
    """The trials of one launch, each in its place: learners (one per fold), and of each how far it is and whether it
    still trains."""

    def __init__(self, tasks: Sequence[Task], trials: Sequence[Trial], *, width: int, ended: Ended) -> None:
        self._tasks: list[Task] = []
        self._trials: list[Trial] = []
        self._progress: list[Progress] = []
        self._tell = ended
        self._tested: list[list[dict[str, float]]] | None = None  # of this epoch, by fold and place
        self._outputs: dict[int, list[Outputs]] = {}  # of this epoch, by lane
        self._learners: list[LaneLearner] = []
        self._most = PREFLIGHT_BATCHES if trials[0].preflight else None
        self._said = False  # what came of replaying recorded steps
        self.alive: set[int] = set()
        self._join(tasks, trials)
        self._source = [*range(len(trials)), *([0] * (width - len(trials)))]  # whom a place trains, or is the clone of
        self._place = {lane: lane for lane in range(len(trials))}
        self._build(frozenset(range(width)))

    def _join(self, tasks: Sequence[Task], trials: Sequence[Trial]) -> list[int]:
        """Take the trials in, without places yet; their numbers."""
        first = len(self._trials)
        self._tasks += tasks
        self._trials += trials
        self._progress += [
            Progress(patience=int(task.params["early_stopping"]), last=last_epoch(task.params, trial))
            for task, trial in zip(tasks, trials, strict=True)
        ]
        joined = list(range(first, len(self._trials)))
        self.alive.update(joined)
        return joined

    def _build(self, fresh: frozenset[int]) -> None:
        """Learners of whoever is in the places; those that are not `fresh` come to hold what is loaded into them."""
        progress = [self._progress[lane] for lane in self._source]
        trials = [self._trials[lane] for lane in self._source]
        horizons = [
            trial.resource_horizon if one.last is None else float(one.last)
            for trial, one in zip(trials, progress, strict=True)
        ]
        self._learners = [
            LaneLearner(
                [self._tasks[lane] for lane in self._source],
                fold=fold,
                seeds=[trial.seed for trial in trials],
                horizons=horizons,
                fresh=fresh,
            )
            for fold in range(len(self._tasks[0].data.folds))
        ]

    def fill(self, further: Sequence[tuple[Task, Trial]]) -> None:
        """Put further trials into places whose trials have ended. The program is made anew, as it would be from
        checkpoints; what is not needed any more repeats a trial that is alive."""
        if not further:
            return
        going_on = sorted(self.alive)
        states = {lane: [learner.state_dict(self._place[lane]) for learner in self._learners] for lane in going_on}
        self._learners = []  # their memory, before there are others
        taken = {self._place[lane] for lane in going_on}
        free = [place for place in range(len(self._source)) if place not in taken]
        joined = self._join([task for task, _ in further], [trial for _, trial in further])
        self._place = {lane: self._place[lane] for lane in going_on} | dict(zip(joined, free, strict=False))
        by_place = {place: lane for lane, place in self._place.items()}
        self._source = [by_place.get(place, going_on[0]) for place in range(len(self._source))]
        self._build(frozenset(self._place[lane] for lane in joined))
        for lane, stored in states.items():
            for learner, state in zip(self._learners, stored, strict=True):
                learner.load_state_dict(self._place[lane], state)
        self.resume(joined)

    def resume(self, lanes: Sequence[int] | None = None) -> None:
        """Go on from the checkpoints of those that have one."""
        for lane in sorted(self.alive) if lanes is None else lanes:
            self._guarded(lane, self._load)
            if lane in self.alive and self._progress[lane].over:
                self._end(lane, None)

    def epoch(self) -> None:
        """Train one epoch of every lane, and report those that are alive."""
        began = time.perf_counter()
        numbers = [self._progress[i].epoch + 1 for i in self._source]
        ahead = max(self._progress[lane].ahead(self._trials[lane].resource_target) for lane in self.alive)
        folds = [learner.epoch(numbers, most_batches=self._most, ahead=ahead) for learner in self._learners]
        self._say()
        seconds = (time.perf_counter() - began) / len(self.alive)
        self._tested, self._outputs = None, {}
        for lane in sorted(self.alive):
            metrics = {**spread([fold[self._place[lane]] for fold in folds]), "seconds": seconds}
            self._guarded(lane, partial(self._report, metrics=metrics))

    def _say(self) -> None:
        """Once, in the log of the first trial that still trains, what came of replaying recorded steps."""
        said = [learner.graphs for learner in self._learners]
        if all(said) and not self._said:
            self._said = True
            self._trials[min(self.alive)].log(f"{len(self._source)} lanes: {'; '.join(dict.fromkeys(said))}")

    def _load(self, lane: int) -> None:
        stored = self._trials[lane].load_checkpoint()
        if stored is None:
            return
        self._progress[lane].load(stored)
        for place, source in enumerate(self._source):
            if source == lane:
                for learner, state in zip(self._learners, stored["learners"], strict=True):
                    learner.load_state_dict(place, state)

    def _report(self, lane: int, metrics: dict[str, float]) -> None:
        trial, progress = self._trials[lane], self._progress[lane]
        progress.epoch += 1
        progress.note(metrics["val_loss"])
        if trial.test and (trial.preflight or progress.ends_at(trial.resource_target)):
            metrics |= self._test(lane)
        trial.report(progress.epoch, **metrics)
        if progress.over or trial.should_save:
            trial.save_checkpoint(self._stored(lane))
        if progress.over:
            self._end(lane, None)

    def _test(self, lane: int) -> dict[str, float]:
        """Of the trained model of a confirmation: the metrics of the test rows. Its predictions are kept."""
        trial, task = self._trials[lane], self._tasks[lane]
        if self._tested is None:
            most = EVALUATED_ROWS if trial.preflight else None
            self._tested = [learner.test(most_rows=most) for learner in self._learners]
        if task.loss is None and not trial.preflight:
            trial.keep_predictions(predictions(task.data, self._outputs_of(lane)))
        return spread([fold[self._place[lane]] for fold in self._tested])

    def _outputs_of(self, lane: int) -> list[Outputs]:
        """By fold; worked out for many lanes at once, as far as memory goes, for all networks are run anyway."""
        if lane not in self._outputs:
            fold = self._tasks[lane].data.folds[0]
            rows = len(fold.y_val) + (0 if fold.y_test is None else len(fold.y_test))
            most = max(1, _HELD_VALUES // (rows * max(1, self._tasks[lane].data.classes)))
            together = sorted(one for one in self.alive if one >= lane)[:most]
            places = [self._place[one] for one in together]
            folds = [learner.outputs(places) for learner in self._learners]
            self._outputs = {one: [fold[i] for fold in folds] for i, one in enumerate(together)}
        return self._outputs[lane]

    def _stored(self, lane: int) -> dict[str, Any]:
        """What the plain loop stores, so that either goes on from it."""
        learners = [learner.state_dict(self._place[lane]) for learner in self._learners]
        return {**self._progress[lane].stored(), "learners": learners}

    def _guarded(self, lane: int, act: Callable[[int], None]) -> None:
        """What goes wrong for one lane ends that lane alone; memory that runs out is short for all."""
        try:
            act(lane)
        except (Exception, AttemptEnd) as error:
            if memory.is_out_of_memory(error):
                raise
            self._end(lane, error)

    def _end(self, lane: int, error: BaseException | None) -> None:
        self.alive.discard(lane)
        self._tell(lane, error)
