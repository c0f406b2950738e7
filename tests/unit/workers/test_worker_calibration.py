"""How a structure's method and width are chosen: by measuring, within a bound, and never against what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workers import calibration
from workers.contract import (
    FUSED,
    PLAIN,
    AttemptKey,
    Calibrate,
    Calibrated,
    Ended,
    Message,
    Outcome,
    TrainerSpec,
    WorkOrder,
)
from workers.loops.recorded_steps import SETTLING_STEPS
from workers.session import run_order

BLANK = Calibrated(
    key=AttemptKey(study_id="s", trial=-1, fence=1), lanes=("lr",), method=PLAIN, width=1, device="cpu", reason=""
)
SECONDS = st.floats(1e-6, 10.0)


class Machine:
    """A clock that only training moves: `epoch_s` for every epoch, and so much per step by number of lanes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.step_s: dict[int, float] = {1: 1e-3, 4: 1.5e-3, 16: 3e-3}
        self.epoch_s = 5e-3
        self.trained: list[tuple[int, int | None]] = []
        self.fails: dict[int, Exception] = {}
        self.steps = 0
        self.graphs = ""
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        monkeypatch.setattr("workers.calibration._clock", lambda device: lambda: self.now)
        monkeypatch.setattr("workers.calibration.learner_of", lambda task, **_: self.learner(task, 1))
        monkeypatch.setattr("workers.calibration.LaneLearner", lambda tasks, **_: self.learner(tasks[0], len(tasks)))

    def learner(self, task: Any, width: int) -> Any:
        steps = -(-len(task.data.folds[0].x_train) // task.params["batch_size"])
        machine = self

        class Stub:
            """Costs time."""

            settling = False
            graphs = machine.graphs if width > 1 else ""

            def epoch(self, number: int | Sequence[int], *, most_batches: int | None = None, ahead: int = 0) -> None:
                if width in machine.fails:
                    raise machine.fails[width]
                machine.trained.append((width, most_batches))
                machine.now += machine.epoch_s + machine.step_s[width] * min(steps, most_batches or steps)

        return Stub()


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    calibration.forget()
    yield
    calibration.forget()


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., tuple[Calibrated, Ended]]:
    def run(
        trainer: TrainerSpec | None = None, *, params: dict[str, Any] | None = None, **asked: Any
    ) -> tuple[Calibrated, Ended]:
        order = WorkOrder(
            key=AttemptKey(study_id="s", trial=-1, fence=3),
            trainer=trainer or TrainerSpec(recipe="tabular", params={"hidden_units": 4}),
            params=params or {},
            seed=1,
            metric="val_loss",
            metrics=("val_loss",),
            from_resource=0.0,
            target_resource=9.0,
            horizon=9.0,
            storage_root=str(tmp_path),
            preflight=True,
            calibrate=Calibrate(**{"most": 256, "seconds": 1.0, **asked}),
        )
        messages: list[Message] = []
        ended = run_order(order, messages.append, lambda: None)
        answers = [m for m in messages if isinstance(m, Calibrated)]
        assert len(answers) == 1
        assert answers[0] is messages[-1]
        assert answers[0].key == order.key
        return answers[0], ended

    return run


Ask = Callable[..., tuple[Calibrated, Ended]]


@given(plain=SECONDS, fused=st.dictionaries(st.sampled_from([2, 8, 32, 128, 512]), SECONDS, min_size=1))
def test_lanes_are_chosen_only_where_they_are_faster(plain: float, fused: dict[int, float]) -> None:
    chosen = calibration._chosen(BLANK, calibration._Measured(until=0.0, plain=plain, fused=fused))
    good = {width: each for width, each in fused.items() if min(fused.values()) / each >= calibration.NEARLY_BEST}
    if chosen.method == FUSED:
        assert chosen.width == min(good)
        assert plain / fused[chosen.width] >= calibration.WORTH_IT
    else:
        assert chosen.width == 1
        assert plain / fused[min(good)] < calibration.WORTH_IT
        assert "not worth it" in chosen.reason
    assert (chosen.plain_s, chosen.fused_s) == (plain, fused)


def test_really_measured_lanes_name_what_was_measured(ask: Ask) -> None:
    answer, ended = ask(most=8)
    assert ended.outcome is Outcome.REACHED
    assert {"lr", "dropout", "weight_decay"} <= set(answer.lanes)
    assert "hidden_units" not in answer.lanes
    assert answer.plain_s is not None
    assert answer.plain_s > 0
    assert set(answer.fused_s) == {8}
    assert answer.device == "cpu"
    assert answer.seconds > 0
    assert (answer.method, answer.width) in ((FUSED, 8), (PLAIN, 1))


def test_figures_hold_what_an_epoch_costs_beside_its_steps(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    answer, _ = ask(seconds=1e9)  # iris: 98 training rows, so 4 steps
    assert answer.plain_s == pytest.approx(1e-3 + 5e-3 / 4)
    assert answer.fused_s == pytest.approx({16: (3e-3 + 5e-3 / 4) / 16})
    assert (answer.method, answer.width) == (FUSED, 16)
    assert machine.trained[0] == (1, 1)


def test_long_epochs_are_estimated_from_shorter_ones(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.step_s[1] = 2e-3
    answer, _ = ask(params={"batch_size": 1}, seconds=1e9)
    assert answer.plain_s == pytest.approx(2e-3 + 5e-3 / 98)
    assert answer.fused_s[16] == pytest.approx((3e-3 + 5e-3 / 98) / 16)
    assert max(most or 98 for _, most in machine.trained) < 98


def test_short_epochs_are_measured_whole_and_the_least_counts(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    disturbed = iter([0.05, 0.02])
    epoch = machine.learner

    def learner(task: Any, width: int) -> Any:
        stub = epoch(task, width)
        quiet = stub.epoch

        def noisy(number: Any, *, most_batches: int | None = None, ahead: int = 0) -> None:
            quiet(number, most_batches=most_batches, ahead=ahead)
            machine.now += next(disturbed, 0.0) if width == 1 and most_batches is None else 0.0

        stub.epoch = noisy
        return stub

    monkeypatch.setattr(machine, "learner", learner)
    answer, _ = ask(seconds=1e9)
    assert answer.plain_s == pytest.approx(1e-3 + 5e-3 / 4)


def test_where_many_lanes_are_not_worth_it_few_are_tried(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.epoch_s, machine.step_s = 0.0, {1: 1e-3, 4: 2e-3, 16: 16e-3}
    answer, _ = ask(seconds=1e9)
    assert (answer.method, answer.width) == (FUSED, 4)
    assert set(answer.fused_s) == {4, 16}


def test_what_loses_is_not_fused(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.epoch_s, machine.step_s = 0.0, {1: 1e-3, 4: 5e-3, 16: 20e-3}
    answer, _ = ask(seconds=1e9)
    assert (answer.method, answer.width) == (PLAIN, 1)
    assert set(answer.fused_s) == {4, 16}


def test_measuring_is_bounded(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.step_s, machine.epoch_s = {1: 2.0, 4: 4.0, 16: 8.0}, 1.0
    answer, _ = ask(seconds=30.0)
    assert (answer.method, answer.width, answer.fused_s) == (PLAIN, 1, {})
    assert "lanes were not tried for lack of time" in answer.reason
    assert answer.seconds <= 45.0


def test_where_time_is_short_few_lanes_are_tried(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.step_s, machine.epoch_s = {1: 0.2, 4: 0.3}, 0.1
    answer, _ = ask(seconds=8.0)
    assert (answer.method, answer.width, set(answer.fused_s)) == (FUSED, 4, {4})
    assert "16 lanes were not tried for lack of time" in answer.reason


def test_what_came_of_graphs_is_said(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.graphs = "steps as CUDA graphs, 2.3 times as fast as call by call"
    assert ask(seconds=1e9)[0].reason.endswith("as one by one; steps as CUDA graphs, 2.3 times as fast as call by call")
    calibration.forget()
    machine.step_s, machine.graphs = {1: 1e-3, 4: 1.0, 16: 4.0}, "no CUDA graph: there is too little memory left for it"
    answer, _ = ask(seconds=1e9)
    assert answer.method == PLAIN
    assert answer.reason.endswith("that is not worth it; no CUDA graph: there is too little memory left for it")


def test_lanes_settle_on_replaying_before_they_are_measured(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    made = machine.learner

    def learner(task: Any, width: int) -> Any:
        """Three epochs settle it, and let a step take a tenth."""
        stub = made(task, width)
        quick, epoch = width > 1, stub.epoch

        def settling(number: Any, **more: Any) -> None:
            epoch(number, **more)
            stub.epochs += 1
            if quick and stub.epochs == 3:
                stub.settling, stub.graphs = False, "steps as CUDA graphs"
                machine.step_s[width] /= 10

        stub.epochs, stub.settling, stub.epoch = 0, quick, settling
        return stub

    monkeypatch.setattr(machine, "learner", learner)
    answer, _ = ask(seconds=1e9)
    assert answer.fused_s == pytest.approx({16: (3e-4 + 5e-3 / 4) / 16})
    assert answer.reason.endswith("; steps as CUDA graphs")


def test_lanes_settle_as_with_the_steps_of_a_whole_training_to_come(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever part of an epoch they are tried with: else calls are measured where a launch replays."""
    machine = Machine(monkeypatch)
    made = machine.learner
    planned: dict[int | None, int] = {}
    steps = 0

    def learner(task: Any, width: int) -> Any:
        nonlocal steps
        stub = made(task, width)
        quick, epoch = width > 1, stub.epoch
        steps = -(-len(task.data.folds[0].x_train) // task.params["batch_size"])

        def noted(number: Any, *, most_batches: int | None = None, ahead: int = 0) -> None:
            epoch(number, most_batches=most_batches, ahead=ahead)
            if quick:
                planned[most_batches] = min(steps, most_batches or steps) * (1 + ahead)
                stub.settling = len(planned) < 1

        stub.settling, stub.epoch = quick, noted
        return stub

    monkeypatch.setattr(machine, "learner", learner)
    ask(seconds=1e9, params={"batch_size": 8})
    assert steps > SETTLING_STEPS // 4
    assert SETTLING_STEPS // 4 in planned
    assert all(9 * steps <= each < 9 * steps + (most or steps) for most, each in planned.items())


def test_settling_leaves_half_of_the_time(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    made = machine.learner

    def learner(task: Any, width: int) -> Any:
        stub = made(task, width)
        stub.settling = width > 1  # for ever
        return stub

    monkeypatch.setattr(machine, "learner", learner)
    answer, _ = ask(seconds=1.0)
    assert set(answer.fused_s) == {16}
    assert "CUDA" not in answer.reason
    assert machine.now < 1.5


def test_lanes_that_fail_are_not_fused(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.fails = {16: RuntimeError("vmap: cannot do this")}
    answer, ended = ask(seconds=1e9)
    assert ended.outcome is Outcome.REACHED
    assert (answer.method, answer.width) == (PLAIN, 1)
    assert "cannot do this" in answer.reason


def test_memory_bounds_the_width(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    monkeypatch.setattr("workers.calibration.CPU_WIDTHS", (4, 16))
    machine.epoch_s, machine.step_s = 0.0, {1: 1e-3, 4: 3.8e-3}
    machine.fails = {16: torch.OutOfMemoryError("CUDA out of memory")}
    answer, _ = ask(seconds=1e9)
    assert set(answer.fused_s) == {4}
    assert "16 lanes fail" in answer.reason


@pytest.mark.parametrize(("most", "tried"), [(1, set()), (5, {5}), (16, {16}), (31, {16})])
def test_no_width_beyond_the_most_is_tried(
    most: int, tried: set[int], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch)
    machine.step_s[5] = 1e-3
    assert set(ask(most=most, seconds=1e9)[0].fused_s) == tried


def test_a_width_that_is_set_is_not_measured(ask: Ask) -> None:
    answer, _ = ask(width=3)
    assert (answer.method, answer.width, answer.plain_s, answer.fused_s) == (FUSED, 3, None, {})
    assert (ask(width=1)[0].method, ask(width=1)[0].width) == (PLAIN, 1)


def test_a_width_that_is_set_needs_lanes(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.fails = {2: RuntimeError("cannot")}
    assert ask(width=4)[0].method == PLAIN


def test_functions_have_no_lanes(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "calibrated_function.py").write_text("def train(trial):\n    trial.report(1, val_loss=1.0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    answer, ended = ask(TrainerSpec(function="calibrated_function:train"))
    assert ended.outcome is Outcome.REACHED
    assert (answer.lanes, answer.method, answer.width) == ((), PLAIN, 1)


def test_what_turns_out_to_be_no_lane_is_not_named_as_one(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "calibrated_recipe.py").write_text(
        "import numpy as np\nfrom torch import nn\n"
        "class Scaled(nn.Linear):\n    scale = 1.0\n"
        "class R:\n    parameters = {'scale': 1.0}\n    lanes = ('scale',)\n"
        "    def model(self, params):\n"
        "        made = Scaled(3, 2)\n        made.scale = params['scale']\n        return made\n"
        "    def data(self, params):\n        return (np.ones((8, 3)), np.arange(8) % 2) * 2\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    answer, ended = ask(TrainerSpec(recipe="calibrated_recipe:R"), most=4)
    assert ended.outcome is Outcome.REACHED
    assert "lr" in answer.lanes
    assert "scale" not in answer.lanes
    assert "scale cannot be lanes" in answer.reason


def test_answers_are_kept_by_structure(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    first, _ = ask(params={"lr": 0.1})
    machine.trained.clear()
    again, _ = ask(params={"lr": 0.2})
    assert machine.trained == []
    assert again == replace(first, seconds=0.0)
    ask(params={"batch_size": 16})
    assert len(machine.trained) > 2


def test_a_preflight_that_fails_is_not_measured(tmp_path: Path) -> None:
    order = WorkOrder(
        key=AttemptKey(study_id="s", trial=-1, fence=3),
        trainer=TrainerSpec(recipe="tabular"),
        params={},
        seed=1,
        metric="val_los",
        metrics=("val_los",),
        from_resource=0.0,
        target_resource=9.0,
        horizon=9.0,
        storage_root=str(tmp_path),
        preflight=True,
        calibrate=Calibrate(most=8),
    )
    messages: list[Message] = []
    assert run_order(order, messages.append, lambda: None).outcome is Outcome.FAILED
    assert not [m for m in messages if isinstance(m, Calibrated)]
