"""Does a recipe keep the promises that lanes are trained by? For recipes of ours and for users' own: `check_lanes`.

Everything goes the way that a worker goes: orders, launches, checkpoints on disk. Nothing here is needed for training.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from workers import checkpoints, trainables
from workers.contract import (
    FUSED,
    AttemptKey,
    CheckpointRef,
    Ended,
    FailureKind,
    Launch,
    Message,
    Outcome,
    Reported,
    TrainerSpec,
    WorkOrder,
)
from workers.session import run_order, this_process
from workers.session_fused import FusedAttempts

Values = dict[int, dict[str, float]]
"""Metrics by step, without those that measure time."""


def check_lanes(
    recipe: str,
    lanes: Sequence[Mapping[str, Any]],
    *,
    fixed: Mapping[str, Any] | None = None,
    metric: str = "val_loss",
    epochs: int = 2,
    relative: float = 1e-4,
    device: str = "cpu",
) -> None:
    """Check that trials of a recipe can be the lanes of one program.

    `lanes` holds the lane parameters of at least two trials, `fixed` what they share. Checked over `epochs` epochs:

    1. every lane reports what it reports alone, within `relative` (shares of rows: within one row);
    2. at equal width its bits hang neither on its place nor on its neighbours;
    3. it goes on from its checkpoint bit for bit, with other neighbours that are at another epoch, and alone within
       `relative`;
    4. a lane that diverges fails, and changes no bit of the others.

    Raises:
        AssertionError: which promise is broken, by which lane, and by how much.
        ValueError: fewer than two lanes, or a parameter that is no lane.
    """
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(recipe, dict(fixed or {}), metric=metric, epochs=epochs, root=Path(folder), device=device)
        bench.require_lanes(lanes)
        together = _alike_alone(bench, lanes, relative)
        _alike_anywhere(bench, lanes, together)
        _goes_on(bench, lanes, together, relative)
        _fails_alone(bench, lanes, together)


@dataclass
class _Trial:
    """What one trial of a run said."""

    values: Values = field(default_factory=dict)
    ended: Ended | None = None

    @property
    def end(self) -> Ended:
        assert self.ended is not None
        return self.ended


class _Bench:
    """Trains trials of the recipe, alone and together. Trial i has the i-th lane's parameters and seed i."""

    def __init__(
        self, recipe: str, fixed: dict[str, Any], *, metric: str, epochs: int, root: Path, device: str
    ) -> None:
        self._trainer = TrainerSpec(recipe=recipe, params=fixed)
        self._metric, self._root = metric, root
        self._worker = replace(this_process(device=device), cpu=float(torch.get_num_threads()))
        self._fence = 0
        self.epochs = epochs

    def require_lanes(self, lanes: Sequence[Mapping[str, Any]]) -> None:
        known = trainables.lane_names(self.order(0, lanes[0] if lanes else {}))
        unknown = sorted({name for lane in lanes for name in lane} - set(known))
        if len(lanes) < 2 or unknown:
            raise ValueError(
                f"lanes must hold the lane parameters ({', '.join(known)}) of at least two trials, "
                f"but got {len(lanes)} trials" + (f" with {', '.join(unknown)}; move these to fixed" if unknown else "")
            )

    def order(
        self,
        trial: int,
        params: Mapping[str, Any],
        *,
        to: int | None = None,
        checkpoint: CheckpointRef | None = None,
    ) -> WorkOrder:
        """The order that trains a trial to epoch `to` (the last one), from its checkpoint if it has one."""
        self._fence += 1
        return WorkOrder(
            key=AttemptKey(study_id="conformance", trial=trial, fence=self._fence),
            trainer=self._trainer,
            params=dict(params),
            seed=1000 + trial,
            metric=self._metric,
            metrics=(self._metric,),
            from_resource=checkpoint.resource if checkpoint else 0.0,
            target_resource=float(to or self.epochs),
            horizon=float(2 * self.epochs),
            storage_root=str(self._root),
            checkpoints=(checkpoint,) if checkpoint else (),
        )

    def alone(self, order: WorkOrder) -> _Trial:
        messages: list[Message] = []
        ended = run_order(order, messages.append, lambda: None, worker=self._worker)
        return _by_trial([*messages, ended])[order.key.trial]

    def together(self, orders: Sequence[WorkOrder], *, width: int) -> dict[int, _Trial]:
        messages: list[Message] = []
        launch = Launch(launch_id="conformance", orders=tuple(orders), method=FUSED, width=width)
        FusedAttempts(launch, messages.append, lambda key: None, worker=self._worker).run()
        return _by_trial(messages)

    def poisoned(self, ref: CheckpointRef, order: WorkOrder) -> CheckpointRef:
        """The checkpoint with weights that are no numbers: what a step that is much too long leaves behind."""
        state = checkpoints.load(self._root, ref, weights_only=True)
        for learner in state["learners"]:
            for name, value in learner["model"].items():
                if value.is_floating_point():
                    learner["model"][name] = torch.full_like(value, math.nan)
        return checkpoints.save(self._root, order.key, state, step=ref.step, resource=ref.resource)


def _alike_alone(bench: _Bench, lanes: Sequence[Mapping[str, Any]], relative: float) -> dict[int, _Trial]:
    together = bench.together([bench.order(i, lane) for i, lane in enumerate(lanes)], width=len(lanes))
    for i, lane in enumerate(lanes):
        _require_outcome(together[i], lane, "as a lane")
        alone = bench.alone(bench.order(i, lane))
        _require_outcome(alone, lane, "alone")
        _require_close(together[i].values, alone.values, relative, f"lane {i} {dict(lane)} against training it alone")
    return together


def _alike_anywhere(bench: _Bench, lanes: Sequence[Mapping[str, Any]], together: dict[int, _Trial]) -> None:
    last = len(lanes) - 1
    turned = bench.together([bench.order(i, lanes[i]) for i in range(last, -1, -1)], width=len(lanes))
    for i in range(len(lanes)):
        _require_equal(turned[i].values, together[i].values, f"lane {i} at another place")
    cloned = bench.together([bench.order(last, lanes[last])], width=len(lanes))
    _require_equal(cloned[last].values, together[last].values, f"lane {last} among its own clones")


def _goes_on(bench: _Bench, lanes: Sequence[Mapping[str, Any]], together: dict[int, _Trial], relative: float) -> None:
    halfway = max(1, bench.epochs // 2)
    first = bench.together([bench.order(i, lane, to=halfway) for i, lane in enumerate(lanes)], width=len(lanes))
    refs = {i: first[i].end.checkpoint for i in range(len(lanes))}
    assert all(refs.values()), "every lane must leave a checkpoint at its target"
    mixed = [bench.order(0, lanes[0], checkpoint=refs[0])]
    mixed += [bench.order(i, lanes[i]) for i in range(1, len(lanes))]  # from the start: they are at another epoch
    second = bench.together(mixed, width=len(lanes))
    whole = {**first[0].values, **second[0].values}
    _require_equal(whole, together[0].values, "lane 0, gone on from its checkpoint among lanes at another epoch")
    for i in range(1, len(lanes)):
        _require_equal(second[i].values, together[i].values, f"lane {i} beside one that goes on")
    alone = bench.alone(bench.order(0, lanes[0], checkpoint=refs[0]))
    _require_close(
        {**first[0].values, **alone.values}, together[0].values, relative, "lane 0, gone on alone from its checkpoint"
    )


def _fails_alone(bench: _Bench, lanes: Sequence[Mapping[str, Any]], together: dict[int, _Trial]) -> None:
    first = bench.together([bench.order(0, lanes[0], to=1)], width=len(lanes))[0].end.checkpoint
    assert first is not None, "every lane must leave a checkpoint at its target"
    order = bench.order(0, lanes[0])
    order = replace(order, checkpoints=(bench.poisoned(first, order),))
    got = bench.together([order, *(bench.order(i, lanes[i]) for i in range(1, len(lanes)))], width=len(lanes))
    assert got[0].end.failure is FailureKind.DIVERGED, (
        f"a lane whose weights are no numbers must diverge, but it ended with {got[0].end.outcome}"
    )
    for i in range(1, len(lanes)):
        _require_equal(got[i].values, together[i].values, f"lane {i} beside one that diverges")


def _by_trial(messages: Sequence[Message]) -> dict[int, _Trial]:
    found: dict[int, _Trial] = {}
    for message in messages:
        if isinstance(message, Reported):
            values = {k: v for k, v in message.metrics.items() if not k.startswith("seconds")}
            found.setdefault(message.key.trial, _Trial()).values[message.step] = values
        elif isinstance(message, Ended):
            found.setdefault(message.key.trial, _Trial()).ended = message
    return found


def _require_outcome(trial: _Trial, lane: Mapping[str, Any], how: str) -> None:
    assert trial.end.outcome is Outcome.REACHED, (
        f"a trial with {dict(lane)} must train {how}, but: {trial.end.reason}\n{trial.end.traceback}"
    )


def _require_equal(found: Values, expected: Values, what: str) -> None:
    assert found == expected, f"{what}: not equal to the bit: {_first_difference(found, expected, 0.0)}"


def _require_close(found: Values, expected: Values, relative: float, what: str) -> None:
    difference = _first_difference(found, expected, relative)
    assert not difference, f"{what}: {difference}"


def _first_difference(found: Values, expected: Values, relative: float) -> str:
    """In words; empty where all is within `relative`. Shares of rows may differ by a row of a hundred."""
    if list(found) != list(expected):
        return f"epochs {list(found)} instead of {list(expected)}"
    for step, values in expected.items():
        if list(found[step]) != list(values):
            return f"epoch {step} reports {list(found[step])} instead of {list(values)}"
        for name, value in values.items():
            allowed = relative * max(abs(value), 1e-3)
            if relative and name.endswith("accuracy"):
                allowed = 0.02
            other = found[step][name]
            if not (abs(other - value) <= allowed or (math.isnan(other) and math.isnan(value))):
                return f"{name} is {other!r} instead of {value!r} at epoch {step}"
    return ""
