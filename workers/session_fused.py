"""A fused launch from end to end: its orders train as the lanes of one program, and each ends on its own.

What one lane does wrong (a parameter, a diverging loss, a checkpoint) ends that lane; what the program does wrong
ends all that are still in it. It knows nothing of Ray, nor how lanes are computed.

Out of memory halves: before its first report a lane has lost nothing, and goes on in a program of half the width, the
parts one after another. A lane that has reported ends as interrupted, which its trial is not blamed for: sums of
numbers hang on the width, and training the same epochs again in a narrower program would contradict, in the last
digits, what was said. Its next attempt starts from its newest checkpoint at a width that fits.

Further orders may come while it trains (`add`): they take lanes that fell free, between two epochs, as long as some
lane trains and the program has its width. What is not taken up ends as interrupted: its turn had not come.

What the process prints belongs to no lane: while a lane is set up it goes to the log of that lane, and afterwards to
the log of the first lane that still trains, below a line that says so.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from workers import endings, environment, isolation, memory, trainables
from workers.capture import captured
from workers.contract import (
    FUSED,
    AttemptKey,
    CancelMode,
    Launch,
    Message,
    Narrowed,
    Outcome,
    Reported,
    Started,
    WorkOrder,
)
from workers.errors import InvalidOrderError
from workers.lane import Lane
from workers.saving import Saver
from workers.session import WorkerIdentity, this_process
from workers.sharing import TimeShares
from workers.tracebacks import summary
from workers.trial import Ending, Trial


class FusedAttempts:
    """The attempts of one fused launch; `run` may be called once. `flush_logs` may be called from another thread.

    `run` returns when training is over. With a `saver` of the caller's, endings may still wait in it for the disk; what
    the caller puts in afterwards comes behind them.
    """

    def __init__(
        self,
        launch: Launch,
        emit: Callable[[Message], None],
        cancelled: Callable[[AttemptKey], CancelMode | None],
        *,
        worker: WorkerIdentity | None = None,
        saver: Saver | None = None,
    ) -> None:
        self._launch = launch
        self._worker = worker or this_process()
        self._send = emit
        self._usage = memory.Usage(self._worker.device)
        self._shares = TimeShares(time.monotonic)
        self._saver = saver or Saver()
        self._own_saver = saver is None
        self._cancelled = cancelled
        self._further: list[WorkOrder] = []
        self._open = True  # to further orders
        self._guard = threading.Lock()
        self._environs: dict[str, Any] | None = None
        self._most = len(launch.orders)  # lanes that were in training at the same time
        started = time.monotonic()
        self._lanes = [self._lane(order, started) for order in launch.orders]
        self._output = _Output(self._lanes)

    def _lane(self, order: WorkOrder, started: float) -> Lane:
        cancelled = functools.partial(self._cancelled, order.key)
        return Lane(order, emit=self._emit, cancelled=cancelled, saver=self._saver, started=started)

    @property
    def launch_id(self) -> str:
        """The launch that this is."""
        return self._launch.launch_id

    def add(self, orders: Sequence[WorkOrder]) -> bool:
        """Take further orders for lanes that fall free; False when it is too late. May be called from any thread."""
        with self._guard:
            if self._open:
                self._further += orders
            return self._open

    def flush_logs(self) -> None:
        """Send what was printed, if it has waited long enough."""
        for lane in self._lanes:
            lane.log.tick()

    def unfinished(self) -> list[WorkOrder]:
        """The orders whose training is not over: none once `run` has returned."""
        return [lane.order for lane in _live(self._lanes)]

    def run(self) -> None:
        """Train every order to its target, its cancellation or its failure; each gets its `Ended`."""
        for lane in self._lanes:
            mode = lane.cancelled()
            if mode is not None:
                lane.never_start(mode)
        try:
            with isolation.isolated(), captured(self._output):
                self._guarded()
        finally:
            self._hand_back("its launch was over before a lane fell free")
            if self._own_saver:
                self._saver.close()

    def _guarded(self) -> None:
        orders = self._launch.orders
        try:
            self._shares.enter(_live(self._lanes))
            self._set_up()
            with isolation.computing(cpu=self._worker.cpu, deterministic=any(o.deterministic for o in orders)):
                self._announce()
                self._train(_live(self._lanes), max(self._launch.width, len(orders)))
        except BaseException as error:
            self._end_all(_live(self._lanes), error)

    # Set-up

    def _set_up(self) -> None:
        """Build every lane's task; a lane whose order cannot be carried out ends alone."""
        first: Lane | None = None
        for lane in _live(self._lanes):
            if self._set_up_one(lane, first):
                first = first or lane

    def _set_up_one(self, lane: Lane, first: Lane | None) -> bool:
        try:
            with self._output.of(lane):
                lane.prepared = self._prepare(lane, first)
        except BaseException as error:
            self._end(lane, error)
        return lane.prepared is not None

    def _prepare(self, lane: Lane, first: Lane | None) -> trainables.Prepared:
        prepared = trainables.resolve(lane.order).prepare(lane.order, device=self._worker.device)
        if prepared.task is None:
            raise InvalidOrderError(
                "only a recipe can be trained as a lane, but this trainer is a function; train it alone (lanes: off)"
            )
        if first is not None:
            trainables.require_equal_structure(first.order, lane.order)
        return prepared

    def _announce(self) -> None:
        """Say that every lane has started."""
        for lane in _live(self._lanes):
            self._announce_one(lane)

    def _announce_one(self, lane: Lane) -> None:
        """Say that it has started. The environment is the launch's: one value, said once per lane."""
        assert lane.prepared is not None
        self._environs = self._environs or self._environment(lane.prepared)
        try:
            with self._output.of(lane):
                resumed_from = lane.begin(device=self._worker.device)
        except Exception as error:  # while its checkpoint was read
            self._end(lane, error)
            return
        self._send(
            Started(
                key=lane.order.key,
                worker_id=self._worker.worker_id,
                node=self._worker.node,
                device=self._worker.device,
                resumed_from=resumed_from,
                environment=self._environs,
                resumed_path=lane.resumed_path,
            )
        )
        if lane.reached:
            self._end(lane, None)

    def _environment(self, prepared: trainables.Prepared) -> dict[str, Any]:
        asked = any(order.deterministic for order in self._launch.orders)
        run = {
            "method": FUSED,
            "width": self._launch.width,
            "products": environment.products(self._worker.device),
            "determinism": environment.determinism(asked=asked),
        }
        return environment.capture(device=self._worker.device, code=prepared.code, data=prepared.data, run=run)

    # Training

    def _train(self, lanes: Sequence[Lane], width: int) -> None:
        """Train these lanes as one program of this width, or in parts where it does not fit."""
        if not lanes:
            return
        inside = list(lanes)  # and those that join it
        try:
            self._program(inside, width)
        except BaseException as error:
            if not memory.is_out_of_memory(error) or width == 1:
                self._end_all(_live(inside), error)
                return
            reason = f"out of memory at {width} lanes: {summary(error)}"
        else:
            self._end_all(_live(inside), None)
            return
        # Here, behind the handler: only now has the program's memory nobody who holds on to it.
        self._narrow(_live(inside), -(-width // 2), reason)

    def _program(self, inside: list[Lane], width: int) -> None:
        from workers import recipes  # lazy: recipes need torch, functions may not

        tasks, trials = zip(*map(_parts, inside), strict=True)
        recipes.train_lanes(
            tasks,
            trials,
            width=width,
            ended=lambda number, error: self._end(inside[number], error),
            more=functools.partial(self._take_up, inside),
        )

    def _take_up(self, inside: list[Lane], free: int) -> list[tuple[Any, Trial]]:
        """Lanes for further orders, at most as many as are free; those that cannot begin end at once."""
        joined: list[Lane] = []
        first = next(lane for lane in inside if not lane.ended)
        while len(joined) < free and (order := self._next_order()) is not None:
            lane = self._lane(order, time.monotonic())
            self._lanes.append(lane)
            mode = lane.cancelled()
            if mode is not None:
                lane.never_start(mode)
                continue
            self._shares.enter([lane])
            try:
                if self._set_up_one(lane, first):
                    self._announce_one(lane)
            finally:
                if not lane.ended:
                    joined.append(lane)
                    inside.append(lane)
        self._most = max(self._most, len(_live(inside)))
        return [_parts(lane) for lane in joined]

    def _next_order(self) -> WorkOrder | None:
        with self._guard:
            return self._further.pop(0) if self._further else None

    def _hand_back(self, reason: str) -> None:
        """Take no further orders; those that were not taken up are placed again."""
        with self._guard:
            self._open, left, self._further = False, self._further, []
        for order in left:
            self._send(replace(endings.never_started(order, CancelMode.PAUSE), reason=f"{reason}; it is placed again"))

    def _narrow(self, live: Sequence[Lane], width: int, reason: str) -> None:
        self._hand_back(reason)
        memory.release()
        if not live:
            return
        going_on = tuple(lane.order.key for lane in live if lane.trial is None or not lane.trial.reported)
        self._send(Narrowed(key=live[0].order.key, width=width, reason=reason, keys=going_on))
        for lane in live:
            if lane.trial is not None and lane.trial.reported:
                self._interrupt(lane, f"{reason}; it goes on from its newest checkpoint in a narrower launch")
        waiting = _live(live)
        for lane in waiting:
            lane.log.write(f"{reason}; going on with {width}\n")
            self._shares.leave(lane)
        for part in _even_parts(waiting, width):
            for lane in part:
                mode = lane.cancelled()
                if mode is not None:
                    lane.give_up(mode, use=self._use(lane))
            self._shares.enter(_live(part))
            self._train(_live(part), width)

    # Endings

    def _end(self, lane: Lane, error: BaseException | None) -> None:
        lane.end(error, use=self._use(lane))

    def _interrupt(self, lane: Lane, reason: str) -> None:
        lane.end_as(Ending(outcome=Outcome.PAUSED, reason=reason), use=self._use(lane))

    def _end_all(self, lanes: Sequence[Lane], error: BaseException | None) -> None:
        for lane in lanes:
            self._end(lane, error)

    def _use(self, lane: Lane) -> dict[str, Any]:
        """The lane's costs so far, and its part of the launch's memory; from now on it costs nothing."""
        self._shares.leave(lane)
        count = self._most
        return {
            "charged_seconds": self._shares.of(lane),
            "peak_memory_bytes": _part(self._usage.peak_bytes(), count),
            "gpu_peak_memory_bytes": _part(self._usage.gpu_peak_bytes(), count),
            "gpu_utilisation": self._usage.gpu_mean_utilisation(),
        }

    def _emit(self, message: Message) -> None:
        if isinstance(message, Reported):
            self._usage.sample()
        self._send(message)


class _Output:
    """Where the process's output goes: to the lane that is being set up, else to the first that still trains."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        self._own: Lane | None = None
        self._noted: Lane | None = None

    def of(self, lane: Lane) -> _Turn:
        """A block in which what is printed is this lane's own."""
        return _Turn(self, lane)

    def turn(self, lane: Lane | None) -> None:
        """From now on what is printed is this lane's, or the launch's."""
        self._own = lane

    def write(self, text: str) -> None:
        """Keep `text`; without a lane that trains there is nobody to keep it for."""
        lane = self._target()
        if lane is not None:
            lane.log.write(text)

    def flush_soon(self) -> None:
        """As a stream's `flush` asks for."""
        lane = self._target()
        if lane is not None:
            lane.log.flush_soon()

    def _target(self) -> Lane | None:
        if self._own is not None:
            return self._own
        lane = next((one for one in self._lanes if not one.ended), None)
        if lane is not None and lane is not self._noted and len(self._lanes) > 1:
            self._noted = lane
            lane.log.write(f"[printed for all {len(self._lanes)} trials of the launch]\n")
        return lane


class _Turn:
    def __init__(self, output: _Output, lane: Lane) -> None:
        self._output, self._lane = output, lane

    def __enter__(self) -> None:
        self._output.turn(self._lane)

    def __exit__(self, *_: object) -> None:
        self._output.turn(None)


def _live(lanes: Sequence[Lane]) -> list[Lane]:
    return [lane for lane in lanes if not lane.ended]


def _even_parts(lanes: Sequence[Lane], most: int) -> list[Sequence[Lane]]:
    """As few parts as there must be, of nearly equal length."""
    count = -(-len(lanes) // most)
    return [lanes[len(lanes) * i // count : len(lanes) * (i + 1) // count] for i in range(count)]


def _part(amount: int | None, count: int) -> int | None:
    return None if amount is None else amount // count


def _parts(lane: Lane) -> tuple[Any, Trial]:
    """What the program is told of a lane that was announced."""
    assert lane.prepared is not None
    assert lane.trial is not None
    return lane.prepared.task, lane.trial
