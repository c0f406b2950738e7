"""How trials of a structure are best trained on this device, found by trying: one by one, or as how many lanes.

What is measured, on made-up copies of the preflight's own trial (its model, data and batches, fold 0): the time of an
epoch, its drawing of batches and its validation included, divided by its steps and by the trials trained in it. Where
a whole epoch takes long, two shorter ones say what a step costs and what an epoch costs beside its steps; the longer
takes at least twice as long as the shorter. A warm-up does not count (on a GPU a program settles in it on whether it
replays recorded steps), and what is quickly measured is measured again until that finds nothing less. On a CPU with one
computing thread figures are processor time, which other processes disturb least; else they are wall time.

The width is the smallest whose throughput is within 10 % of the best one's, and trials are fused only where that is 1.1
times as fast as training them one by one: what it costs to put lanes together and to share caches with other workers is
not measured. Answers are kept for the life of the process; what a study chose is in its log.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from workers import memory, recipes, trainables
from workers.contract import FUSED, PLAIN, Calibrate, Calibrated, WorkOrder
from workers.loops.alone import learner_of
from workers.loops.lane_networks import steps_of
from workers.loops.lanes import LaneLearner
from workers.loops.progress import EVALUATED_ROWS
from workers.loops.recorded_steps import SETTLING_STEPS
from workers.loops.single import Task
from workers.streams import Streams
from workers.tracebacks import summary

CPU_WIDTHS = (16, 4)  # few lanes are tried only where many are not worth it: what they lose to caches, few may not
GPU_WIDTHS = (8, 32, 128, 512)
RULED_GPU_WIDTH = 32
WORTH_IT = 1.1  # how many times as fast the lanes must be
NEARLY_BEST = 0.9  # of the best throughput: the smallest such width is taken
_MOST_OF_MEMORY = 0.8
_CHEAP_S = 0.03  # what takes less is measured again until that finds nothing less
_SAME = 0.95
_WHOLE_S = 0.1  # epochs that are surely shorter are measured as they are
_EPOCHS = 3
_TRIES = 3  # a width takes so many times an epoch of one step of all its trials, or less
_REMEMBERED = 256
_TRIED_ROWS = 4
_answers: OrderedDict[str, Calibrated] = OrderedDict()


def calibrate(order: WorkOrder, prepared: trainables.Prepared, *, device: str) -> Calibrated:
    """The answer to `order.calibrate`. Never raises for what goes wrong while measuring: such trials are not fused."""
    asked = order.calibrate
    assert asked is not None
    began = time.monotonic()
    lanes = trainables.lane_names(order) if prepared.task is not None else ()
    blank = Calibrated(key=order.key, lanes=lanes, method=PLAIN, width=1, device=_device_name(device), reason="")
    if prepared.task is None:
        return replace(blank, reason="a function is trained one by one: only recipes have lanes")
    name = _name(order, prepared, asked, blank.device)
    known = _answers.get(name)
    if known is not None:
        return replace(known, key=order.key, seconds=0.0)
    try:
        rows = prepared.task.data.folds[0].x_train[:_TRIED_ROWS].cpu()
        wrong = recipes.not_lanes(str(order.trainer.recipe), {**order.trainer.params, **order.params}, rows)
        blank = replace(blank, lanes=tuple(lane for lane in lanes if lane not in wrong))
        trials = _Trials(prepared.task, order)
        ruled = order.deterministic and asked.width is None
        found = _ruled(blank, trials, asked, device=device) if ruled else _found(blank, trials, asked, device=device)
        if wrong:
            found = replace(found, reason=f"{found.reason}; {', '.join(wrong)} cannot be lanes: see docs/recipes.md")
    except Exception as error:
        found = replace(blank, reason=f"its trials cannot be lanes: {summary(error)}")
    if device.startswith("cuda"):
        torch.cuda.empty_cache()  # of the networks that were tried
    found = replace(found, seconds=time.monotonic() - began)
    _answers[name] = found
    while len(_answers) > _REMEMBERED:
        _answers.popitem(last=False)
    return found


def _name(order: WorkOrder, prepared: trainables.Prepared, asked: Calibrate, device: str) -> str:
    structure = trainables.structure_of(order)
    parts = [dict(prepared.code), structure, device, torch.get_num_threads(), asked.most, asked.width]
    parts.append(order.deterministic)
    return json.dumps(parts, sort_keys=True, default=repr)


def _ruled(blank: Calibrated, trials: _Trials, asked: Calibrate, *, device: str) -> Calibrated:
    """Without a clock, for no two measurements are the same: what is best as a rule."""
    gpu = device.startswith("cuda")
    width = min(asked.most, RULED_GPU_WIDTH if gpu else CPU_WIDTHS[0])
    if width < 2 or not (gpu or trials.by_hand()):
        return replace(blank, reason="deterministic: not measured, and on a CPU such trials are trained one by one")
    trials.lanes(2)(1)  # whether they can be lanes at all
    return replace(blank, method=FUSED, width=width, reason=f"deterministic: not measured, {width} lanes by rule")


def _found(blank: Calibrated, trials: _Trials, asked: Calibrate, *, device: str) -> Calibrated:
    if asked.width is not None:
        if asked.width == 1:
            return replace(blank, reason="one lane was asked for")
        trials.lanes(2)(1)  # whether they can be lanes at all
        return replace(blank, method=FUSED, width=asked.width, reason=f"{asked.width} lanes were asked for")
    if asked.most < 2:
        return replace(blank, reason="at most one lane is allowed")
    clock = _clock(device)
    measured = _Measured(until=time.monotonic() + asked.seconds)
    measured.plain, measured.one = _step_seconds(trials.plain(), trials, clock, until=measured.until)
    _measure_widths(measured, trials, asked.most, clock, device=device)
    return _chosen(blank, measured)


@dataclass
class _Measured:
    """Seconds per step and trial."""

    until: float
    plain: float = 0.0
    one: float = 0.0  # an epoch of one step, plainly, its validation included
    fused: dict[int, float] = field(default_factory=dict)
    graphs: dict[int, str] = field(default_factory=dict)  # what came of replaying recorded steps, by width
    stopped: str = ""


class _Trials:
    """Copies of one trial: alone, or as lanes. What they return trains (at most so many batches of) an epoch."""

    def __init__(self, task: Task, order: WorkOrder) -> None:
        self._task, self._order = task, order
        self._horizon = order.horizon if order.horizon < float("inf") else 1.0
        rows = task.data.folds[0]
        size = min(int(task.params["batch_size"]), len(rows.x_train))
        self.steps = max(1, -(-len(rows.x_train) // size))
        self.unseen = max(1.0, len(rows.x_val) / EVALUATED_ROWS)  # how much longer a whole validation takes

    def by_hand(self) -> bool:
        """Whether its network is one whose lanes are batched matrix products."""
        streams = Streams(self._order.seed, fold=0, device=self._task.device)
        return steps_of(self._task.build(self._task.data.folds[0], streams.initialisation())) is not None

    def plain(self) -> Callable[[int | None], object]:
        """One trial."""
        learner = learner_of(self._task, fold=0, seed=self._order.seed, horizon=self._horizon)
        return lambda most: learner.epoch(1, most_batches=most)

    def lanes(self, width: int) -> Callable[[int | None], object]:
        """`width` trials that differ in their seeds."""
        learner = self.together(width)
        return lambda most: learner.epoch([1] * width, most_batches=most)

    def together(self, width: int) -> LaneLearner:
        """Their program."""
        seeds = [self._order.seed + lane for lane in range(width)]
        return LaneLearner([self._task] * width, fold=0, seeds=seeds, horizons=[self._horizon] * width)

    def ahead(self, most: int | None) -> int:
        """How many epochs of at most `most` batches come to the steps of such a trial, at most, after the first one."""
        each = self.steps if most is None else min(most, self.steps)
        return max(0, -(-self.steps * int(self._horizon) // each) - 1)


def _measure_widths(
    measured: _Measured, trials: _Trials, most: int, clock: Callable[[], float], *, device: str
) -> None:
    for width in _widths(most, device=device):
        before = measured.fused[max(measured.fused)] if measured.fused else measured.plain
        if time.monotonic() + _TRIES * measured.one * width > measured.until:
            measured.stopped = f"; {width} lanes were not tried for lack of time"
            continue
        if not _fits(width, max(measured.fused, default=0), device):
            measured.stopped = f"; {width} lanes do not fit into memory"
            return
        try:
            each, measured.graphs[width] = _together_seconds(trials, width, clock, until=measured.until)
        except Exception as error:
            if not measured.fused and not memory.is_out_of_memory(error):
                raise
            measured.stopped = f"; {width} lanes fail: {summary(error)}"
            return
        measured.fused[width] = each / width
        worth_it = measured.fused[width] * WORTH_IT <= measured.plain
        if worth_it if device == "cpu" else measured.fused[width] > before:
            return  # on a CPU there is little more to gain; on a GPU more lanes will not do what these did not


def _together_seconds(trials: _Trials, width: int, clock: Callable[[], float], *, until: float) -> tuple[float, str]:
    """Seconds per step of `width` lanes, and what came of replaying recorded steps. That is settled before anything
    counts, as it is early in a launch."""
    learner = trials.together(width)

    def train(most: int | None) -> None:
        learner.epoch([1] * width, most_batches=most, ahead=trials.ahead(most))

    enough = (time.monotonic() + until) / 2  # the rest is for measuring
    while learner.settling and time.monotonic() < enough:
        train(SETTLING_STEPS // 4)
    return _step_seconds(train, trials, clock, until=until)[0], learner.graphs


def _widths(most: int, *, device: str) -> list[int]:
    """What is tried, in this order."""
    if device == "cpu":
        return list(dict.fromkeys(min(width, most) for width in CPU_WIDTHS))
    return [width for width in GPU_WIDTHS if width <= most] or [most]


def _fits(width: int, tried: int, device: str) -> bool:
    """Whether `width` lanes should fit on a GPU, by the peak memory that `tried` lanes took."""
    if device == "cpu" or not tried:
        return True
    free, _ = torch.cuda.mem_get_info()
    held = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return torch.cuda.max_memory_allocated() * width / tried <= _MOST_OF_MEMORY * (free + held)


def _step_seconds(
    train: Callable[[int | None], object], trials: _Trials, clock: Callable[[], float], *, until: float
) -> tuple[float, float]:
    """Of all who are trained: seconds per step (an epoch's, divided by its steps), and of an epoch of one step."""
    train(1)  # the first steps load and allocate what later ones find ready
    one = _timed(train, 1, clock)
    if one * trials.steps <= _WHOLE_S:
        return _least(train, clock, until=until) / trials.steps, one
    steps, long = 1, one
    while steps < trials.steps and long < 2 * one and (steps == 1 or time.monotonic() < until):
        steps = min(trials.steps, 4 * steps)
        long = _timed(train, _shortened(steps, trials), clock)
    while long < _CHEAP_S and time.monotonic() < until:
        one, again = min(one, _timed(train, 1, clock)), _timed(train, _shortened(steps, trials), clock)
        if again > _SAME * long:
            break
        long = again
    if steps == trials.steps:
        return long / steps, one
    step = max(0.0, long - one) / (steps - 1)
    return step + max(0.0, one - step) * trials.unseen / trials.steps, one


def _least(train: Callable[[int | None], object], clock: Callable[[], float], *, until: float) -> float:
    """Seconds of a whole epoch: the least of a few, for whatever disturbs one makes it longer."""
    least = _timed(train, None, clock)
    for _ in range(_EPOCHS - 1):
        if time.monotonic() > until:
            break
        again = _timed(train, None, clock)
        least, settled = min(least, again), _SAME * least <= again <= least / _SAME
        if settled:
            break
    return least


def _shortened(steps: int, trials: _Trials) -> int | None:
    return None if steps == trials.steps else steps


def _timed(train: Callable[[int | None], object], most: int | None, clock: Callable[[], float]) -> float:
    began = clock()
    train(most)
    return clock() - began


def _chosen(blank: Calibrated, measured: _Measured) -> Calibrated:
    plain, fused = measured.plain, measured.fused
    answer = replace(blank, plain_s=plain, fused_s=dict(fused))
    if not fused:
        return replace(answer, reason=f"nothing was measured{measured.stopped}")
    best = min(fused.values())
    width = min(w for w, each in fused.items() if each * NEARLY_BEST <= best)
    gain = plain / fused[width]
    said = f"{width} lanes are {gain:.2g} times as fast as one by one{measured.stopped}"
    graphs = f"; {measured.graphs[width]}" if measured.graphs.get(width) else ""
    if gain < WORTH_IT:
        return replace(answer, reason=f"{said}: that is not worth it{graphs}")
    return replace(answer, method=FUSED, width=width, reason=f"{said}{graphs}")


def _clock(device: str) -> Callable[[], float]:
    """Processor time where there is one computing thread, else wall time (an epoch ends with its values, so
    the device has finished)."""
    return time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(0) if device.startswith("cuda") else "cpu"


def forget() -> None:
    """Measure afresh from now on."""
    _answers.clear()
