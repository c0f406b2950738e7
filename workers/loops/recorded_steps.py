"""Training steps that are recorded once and replayed, where that pays: how it is tried, checked and measured.

Every step is a real one, whatever is tried meanwhile. The first few of a learner run where recordings are made, on
inputs copied into memory that stays, as is all else that a step reads and writes; the next ones are called, and timed.
If what is still to come is worth it by their time, a step is recorded. The recording's first replay is undone and
compared, to the bit, with the same step called; further replays are timed, and where they are hardly faster, or
anything goes wrong, steps are called as before. Kernels and their order are the same either way, so results are.

Inputs are copied for each step (rows, masks, targets, the optimiser's numbers; the outputs on the way back) rather than
picked on the device by a counter: a handful of copies take the host less time than the step takes the device, each is
a kernel that a counter would need as well, and there is no second place that knows which step it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial

import torch
from torch import Tensor

from workers.loops.graphs import Recorder, Recording, Waits, first_cause
from workers.loops.lane_optimisers import Now
from workers.loops.lane_step import LaneStep
from workers.models.parts import Masks
from workers.tracebacks import summary

WARMING_STEPS = 3  # what torch's own helper takes before it records
TIMED_STEPS = 8
SETTLING_STEPS = WARMING_STEPS + 1 + TIMED_STEPS + 1 + TIMED_STEPS
"""After so many, at most, a learner has settled on how it takes its steps."""
FASTER = 1.05  # replays must be so many times as fast
CLEARLY = 5.0  # times what recording costs is what steps to come must take: then it pays if replays save a fifth
FIRST_GUESS_S = 0.02  # what recording costs, before one was made in this process
_AS_NEAR = 10.0  # times as far from the called step as from another replay may a replay be, where replays differ


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """One step's inputs: rows, masks, prepared targets, and which step of the optimiser's plan it is."""

    x: Tensor
    masks: Masks
    target: Tensor
    index: int


class _Phase(Enum):
    WARMING = "warming"
    LOADING = "loading"
    TIMING_CALLS = "timing calls"
    RECORDING = "recording"
    TIMING_REPLAYS = "timing replays"
    CALLING = "calling"
    REPLAYING = "replaying"


class RecordedSteps:
    """Takes the steps of one learner. Batches of `rows` rows are recorded, those of another size (an epoch's last) are
    called. `state` is all that a step changes and a later one reads."""

    def __init__(self, step: LaneStep, *, rows: int, state: Sequence[Tensor], recorder: Recorder) -> None:
        self._step, self._rows, self._state, self._recorder = step, rows, list(state), recorder
        self._phase, self._left = _Phase.WARMING, WARMING_STEPS
        self._calls = self._replays = 0.0  # seconds of TIMED_STEPS
        self._fixed: _Fixed | None = None
        self._recording: Recording | None = None
        self.said = ""
        """What it came to, in words, once that is known."""

    @property
    def rows(self) -> int:
        """Of the batches that are recorded."""
        return self._rows

    def take(self, given: Sequence[Given], to_come: int) -> Iterator[Tensor]:
        """Train on batches of equal size; yields each one's outputs, valid until the next. `to_come` says how many
        steps on batches of `rows` rows are planned, these included."""
        if given and given[0].x.shape[1] != self._rows:
            yield from map(self._called, given)
            return
        done = 0
        while done < len(given):
            left = len(given) - done
            part = given[done : done + (min(left, self._left) if self._left else left)]
            yield from self._took(part, to_come - done)
            done += len(part)

    def _took(self, part: Sequence[Given], to_come: int) -> Iterator[Tensor]:
        match self._phase:
            case _Phase.WARMING:
                yield from self._warming(part)
            case _Phase.LOADING:  # what was allocated aside is no use here: the first call allocates anew
                yield self._called(part[0])
                self._go(_Phase.TIMING_CALLS, TIMED_STEPS)
            case _Phase.TIMING_CALLS:
                began = self._recorder.now()
                yield from map(self._called, part)
                self._calls += self._recorder.now() - began
                if self._counted(part):
                    self._consider(to_come - len(part))
            case _Phase.RECORDING:
                yield self._recorded(part[0])
            case _Phase.TIMING_REPLAYS:
                began = self._recorder.now()
                yield from map(self._replayed, part)
                self._replays += self._recorder.now() - began
                if self._counted(part):
                    self._compare()
            case _Phase.CALLING:
                yield from map(self._called, part)
            case _Phase.REPLAYING:
                yield from map(self._replayed, part)

    def _go(self, phase: _Phase, steps: int = 0) -> None:
        self._phase, self._left = phase, steps

    def _counted(self, part: Sequence[Given]) -> bool:
        """Whether the phase is over with these steps."""
        self._left -= len(part)
        return not self._left

    def _settle_for_calls(self, why: str) -> None:
        self._recording = self._fixed = None
        self._go(_Phase.CALLING)
        self.said = f"no CUDA graph: {why}"

    # Taking steps

    def _called(self, given: Given) -> Tensor:
        return self._step(given.x, given.masks, given.target, self._step.optimiser.now(given.index))

    def _on_fixed(self, fixed: _Fixed) -> Tensor:
        return self._step(fixed.x, fixed.masks, fixed.target, fixed.now)

    def _replayed(self, given: Given) -> Tensor:
        assert self._fixed is not None
        assert self._recording is not None
        self._fixed.fill(given, self._step.optimiser.numbers(given.index))
        self._recording.replay()
        return self._recording.out

    def _warming(self, part: Sequence[Given]) -> Iterator[Tensor]:
        optimiser = self._step.optimiser
        for given in part:
            if self._phase is not _Phase.WARMING:
                yield self._called(given)
                continue
            numbers = optimiser.numbers(given.index)
            fixed = self._fixed = self._fixed or _Fixed(given, numbers, optimiser.named)
            with self._recorder.aside(), Waits() as waits:
                fixed.fill(given, numbers)
                out = self._on_fixed(fixed)
            if waits.found:
                self._settle_for_calls(f"a step waits for the device ({waits.found})")
            elif self._counted([given]):
                self._go(_Phase.LOADING, 1)
            yield out

    # Deciding

    def _consider(self, to_come: int) -> None:
        """Whether to record a step, when calls have been timed."""
        each = self._calls / TIMED_STEPS
        cost = _cost.expected_s
        if each * to_come < CLEARLY * cost:
            self._settle_for_calls(
                f"the {to_come} steps to come take {each * to_come:.2g} s, and recording one some {cost:.2g} s"
            )
            return
        why = self._recorder.hindrance(4 * sum(one.numel() * one.element_size() for one in self._state))
        if why:
            self._settle_for_calls(why)
        else:
            self._go(_Phase.RECORDING, 1)

    def _recorded(self, given: Given) -> Tensor:
        """The step called, and a recording of it tried."""
        began = self._recorder.now()
        before: list[Tensor] = []
        replayed: list[Tensor] = []
        why = ""
        try:
            before = _copies(self._state)
            replayed = self._record(given)
        except Exception as error:
            why = summary(first_cause(error))
        self._put_back(before)
        if why:  # here, behind the handler: only now has what was recorded nobody who holds on to it
            self._settle_for_calls(why)
            return self._called(given)
        out, alike = self._compared(given, before, replayed)
        if alike:
            _cost.note(self._recorder.now() - began - self._calls / TIMED_STEPS)
            self._go(_Phase.TIMING_REPLAYS, TIMED_STEPS)
        else:
            self._settle_for_calls("a replay came to other numbers than the same step called")
        return out

    def _record(self, given: Given) -> list[Tensor]:
        """Record the step and replay it: its outputs, and the state that it leaves."""
        assert self._fixed is not None
        self._recording = self._recorder.record(partial(self._on_fixed, self._fixed))
        return _copies([self._replayed(given), *self._state])

    def _compared(self, given: Given, before: list[Tensor], replayed: list[Tensor]) -> tuple[Tensor, bool]:
        """The step called, and whether the replay came to the same. Where replays differ among themselves (a GPU may
        add up in any order), whether it came as near; a step that hangs on the host differs in calls alone."""
        out = self._called(given)
        if _same(replayed, [out, *self._state]):
            return out, True
        called = _copies([out, *self._state])
        self._put_back(before)
        again = [self._replayed(given), *self._state]
        near = all(
            _apart(one, mine) <= _AS_NEAR * _apart(one, other)
            for one, mine, other in zip(replayed, called, again, strict=True)
        )
        self._put_back(called[1:])
        return called[0], near

    def _put_back(self, before: Sequence[Tensor]) -> None:
        for one, kept in zip(self._state, before, strict=False):  # none where there was no memory for them
            one.copy_(kept)

    def _compare(self) -> None:
        """Whether to go on replaying, when replays have been timed."""
        gain = self._calls / max(self._replays, 1e-9)
        if gain < FASTER:
            self._settle_for_calls(f"replays are {gain:.3g} times as fast as call by call")
            return
        self._go(_Phase.REPLAYING)
        self.said = f"steps as CUDA graphs, {gain:.2g} times as fast as call by call"


class _Fixed:
    """The memory that a recorded step reads its inputs from. Rows and targets lie as those lie that are called with:
    matrix products may be chosen by that."""

    def __init__(self, given: Given, numbers: Tensor, named: Callable[[Tensor], Now]) -> None:
        self.x, self.target = _laid_alike(given.x), _laid_alike(given.target)
        self.masks = tuple(torch.zeros(mask.shape, dtype=mask.dtype, device=mask.device) for mask in given.masks)
        self._numbers = torch.zeros(numbers.shape, dtype=numbers.dtype, device=numbers.device)
        self.now = named(self._numbers)

    def fill(self, given: Given, numbers: Tensor) -> None:
        """With the inputs of a step."""
        self.x.copy_(given.x)
        self.target.copy_(given.target)
        self._numbers.copy_(numbers)
        for mine, mask in zip(self.masks, given.masks, strict=True):
            mine.copy_(mask)


def _laid_alike(value: Tensor) -> Tensor:
    return torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device=value.device).zero_()


def _copies(values: Sequence[Tensor]) -> list[Tensor]:
    return [value.clone(memory_format=torch.contiguous_format) for value in values]


def _same(some: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    """To the bit, so that what is no number equals itself."""
    return all(
        torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))
        for one, other in zip(some, others, strict=True)
    )


def _apart(one: Tensor, other: Tensor) -> float:
    """How far; NaN where either holds what is no number, which is not near anything."""
    return float((one.double() - other.double()).norm())


class _Cost:
    """What recording a step costs: what the last one in this process did. The first one also loads what later ones
    find, so it may lower the guess and not raise it: else short launches would be called for ever after."""

    def __init__(self) -> None:
        self.expected_s = FIRST_GUESS_S
        self._most = FIRST_GUESS_S

    def note(self, seconds: float) -> None:
        """Take in what one cost."""
        self.expected_s, self._most = max(1e-4, min(seconds, self._most)), float("inf")


_cost = _Cost()
