"""Several processes train one trial: real ones, on the CPU, under gloo."""

from __future__ import annotations

import contextlib
import math
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workers import distributed, ranks
from workers.contract import (
    AttemptKey,
    CancelMode,
    Ended,
    FailureKind,
    Logged,
    Outcome,
    Reported,
    Saved,
    Started,
    TrainerSpec,
    WorkOrder,
)
from workers.rank import RankTrial
from workers.session import run_order

HERE = Path(__file__).parent
METRIC = "val_loss"
CODE = "rank_code"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


def order_for(root: Path, name: str, **changes: Any) -> WorkOrder:
    plain: dict[str, Any] = {
        "key": AttemptKey(study_id="s1", trial=0, fence=1),
        "trainer": TrainerSpec(function=f"{CODE}:{name}"),
        "params": {},
        "seed": 1,
        "metric": METRIC,
        "metrics": (METRIC,),
        "from_resource": 0.0,
        "target_resource": 3.0,
        "horizon": math.inf,
        "storage_root": str(root),
        "processes": 2,
    }
    return WorkOrder(**{**plain, **changes})


class Told:
    """What an attempt said."""

    def __init__(self, order: WorkOrder, mode: Callable[[Told], CancelMode | None] = lambda _: None) -> None:
        self.messages: list[Any] = []
        self.ended: Ended = run_order(order, self.messages.append, lambda: mode(self))

    def of(self, kind: type) -> Sequence[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    @property
    def values(self) -> list[tuple[int, float]]:
        return [(one.step, one.metrics[METRIC]) for one in self.of(Reported)]

    @property
    def log(self) -> list[str]:
        return "".join(one.text for one in self.of(Logged)).splitlines()


def test_ranks_train_together_and_only_the_first_counts(tmp_path: Path) -> None:
    order = order_for(tmp_path, "train")
    told = Told(order)
    assert told.ended.outcome is Outcome.REACHED, told.ended.reason
    assert told.values == [(1, 3.0), (2, 6.0), (3, 9.0)]
    assert told.ended.resource == 3.0
    assert told.ended.checkpoint is not None
    assert told.ended.checkpoint == told.of(Saved)[-1].checkpoint
    assert {"[rank 0] from 0", "[rank 1] from 0"} <= set(told.log)
    assert told.of(Started)[0].environment["run"]["processes"] == 2
    assert (told.ended.peak_memory_bytes or 0) > 0

    again = replace(
        order, key=replace(order.key, fence=2), from_resource=3.0, target_resource=5.0,
        checkpoints=(told.ended.checkpoint,),
    )  # fmt: skip
    gone_on = Told(again)
    assert gone_on.values == [(4, 12.0), (5, 15.0)]
    assert {"[rank 0] from 3", "[rank 1] from 3"} <= set(gone_on.log)
    assert gone_on.of(Started)[0].resumed_from == 3.0


@pytest.mark.parametrize(
    ("mode", "outcome"), [(CancelMode.PAUSE, Outcome.PAUSED), (CancelMode.STOP, Outcome.CANCELLED)]
)
def test_all_ranks_end_at_the_report_at_which_it_was_asked(tmp_path: Path, mode: CancelMode, outcome: Outcome) -> None:
    order = order_for(tmp_path, "train", target_resource=math.inf)
    told = Told(order, lambda so_far: mode if len(so_far.of(Reported)) >= 2 else None)
    assert told.ended.outcome is outcome, told.ended.reason
    steps = [step for step, _ in told.values]
    assert steps == list(range(1, len(steps) + 1))
    assert told.ended.resource == steps[-1] < 99
    if outcome is Outcome.PAUSED:
        assert told.ended.checkpoint is not None
        assert told.ended.checkpoint.step == steps[-1]
    assert not any("Traceback" in line for line in told.log)


def test_rank_0_may_report_alone(tmp_path: Path) -> None:
    told = Told(order_for(tmp_path, "first_alone"))
    assert told.ended.outcome is Outcome.REACHED
    assert told.values == [(1, 2.0), (2, 2.0), (3, 2.0)]


def test_a_script_for_torchrun_makes_its_own_group(tmp_path: Path) -> None:
    told = Told(order_for(tmp_path, "begins_itself"))
    assert told.ended.outcome is Outcome.COMPLETED, told.ended.traceback
    assert told.values == [(1, 1.0)]


def test_every_rank_hears_the_same_of_whether_to_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else they would part where one gathers what is to be saved."""
    monkeypatch.setattr("workers.trial.CHECKPOINT_EVERY_S", 0.0)
    heard: queue.SimpleQueue[ranks.Decision] = queue.SimpleQueue()

    class Control:
        def cancelled(self) -> None:
            return None

        def next_decision(self) -> ranks.Decision:
            return heard.get_nowait()

    def send(said: Any) -> None:
        if isinstance(said, ranks.Decision):
            heard.put(said)

    order = order_for(tmp_path, "train", target_resource=math.inf)
    both = [
        RankTrial(
            ranks.Job(order=order, rank=number, world_size=2, device="cpu", cpu=1.0, path=(), started=time.monotonic()),
            control=Control(),  # type: ignore[arg-type]  # as much as it needs
            send=send,
            resumed=None,
        )
        for number in range(2)
    ]
    for trial in both:
        trial.report(1, val_loss=1.0)
    monkeypatch.setattr("workers.trial.CHECKPOINT_EVERY_S", 3600.0)
    assert [trial.should_save for trial in both] == [True, True]
    both[0].save_checkpoint({"only": "rank 0"})
    assert both[0].should_save == both[1].should_save
    for trial in both:
        trial.report(2, val_loss=1.0)
    assert [trial.should_save for trial in both] == [False, False]


def test_a_preflight_takes_one_step_of_every_rank(tmp_path: Path) -> None:
    told = Told(order_for(tmp_path, "train", preflight=True))
    assert told.ended.outcome is Outcome.REACHED
    assert told.values == [(1, 3.0)]
    assert told.of(Saved) == []


def test_everything_that_a_rank_prints_is_the_trials_log(tmp_path: Path) -> None:
    told = Told(order_for(tmp_path, "says_what_it_is", processes=3))
    assert told.ended.outcome is Outcome.COMPLETED, told.ended.reason
    for rank in range(3):
        assert f"[rank {rank}] I am {rank} of 3 on cpu, threads 1" in told.log
        for line in ("from C", "from a child", "no line end"):
            assert any(one.startswith(f"[rank {rank}] ") and line in one for one in told.log), (rank, line)


def test_a_rank_that_raises_ends_the_attempt_with_its_traceback(tmp_path: Path) -> None:
    told = Told(order_for(tmp_path, "one_raises"))
    assert (told.ended.outcome, told.ended.failure) == (Outcome.FAILED, FailureKind.EXCEPTION)
    assert told.ended.reason.startswith("rank 1 of 2: ValueError: only I am wrong")
    assert "rank_code.py" in told.ended.traceback
    assert "only I am wrong" in told.ended.traceback
    assert "workers/rank.py" not in told.ended.traceback


def test_a_rank_that_dies_ends_the_attempt_as_lost(tmp_path: Path) -> None:
    told = Told(order_for(tmp_path, "one_dies", params={"signal": "SIGSEGV"}))
    assert told.ended.outcome is Outcome.LOST
    assert told.ended.reason.startswith("rank 1 of 2 was ended by SIGSEGV")
    assert told.values == [(1, 1.0)]
    assert told.ended.resource == 1.0
    assert any("[rank 1] Fatal Python error: Segmentation fault" in line for line in told.log)


def test_ranks_that_count_differently_are_told_so(tmp_path: Path) -> None:
    told = Told(order_for(tmp_path, "steps_apart"))
    assert told.ended.outcome is Outcome.FAILED
    assert "rank 1 reported 2 where rank 0 reported 1" in told.ended.reason


def test_a_rank_that_does_not_come_back_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "LEAVE_S", 0.2)
    told = Told(order_for(tmp_path, "stays", target_resource=2.0))
    assert told.ended.outcome is Outcome.REACHED
    assert told.values == [(1, 1.0), (2, 1.0)]


def test_what_cannot_be_trained_together_is_refused(tmp_path: Path) -> None:
    trainer = TrainerSpec(recipe="image_classifier", params={"data": "digits", "model": "mlp"})
    told = Told(order_for(tmp_path, "train", trainer=trainer, metric="val_accuracy", metrics=("val_accuracy",)))
    assert told.ended.failure is FailureKind.INVALID
    assert "train a function only" in told.ended.reason


WORKER = """
import sys
sys.path.insert(0, {here!r})
from tests.unit.workers.test_worker_distributed import order_for, run_order
from pathlib import Path
order = order_for(Path({root!r}), "waits", params={{"folder": {root!r}}})
run_order(order, lambda message: None, lambda: None)
"""


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    code = WORKER.format(here=str(HERE), root=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], cwd=HERE.parents[2])
    yield process
    process.kill()
    process.wait()


def test_no_rank_outlives_its_worker(worker: subprocess.Popen[bytes], tmp_path: Path) -> None:
    files = [tmp_path / f"{rank}.pids" for rank in range(2)]
    assert eventually(lambda: all(file.exists() for file in files), 60)
    ranks = [int(file.read_text().split()[0]) for file in files]
    children = [int(file.read_text().split()[1]) for file in files]
    try:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        assert eventually(lambda: not any(map(alive, ranks)), 20)
    finally:
        for pid in children:  # what a rank started itself is its own to end
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def eventually(holds: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.05)
    return holds()


def test_gpus_are_divided_equally(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert distributed.devices("cuda:0", 4) == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert distributed.devices("cuda:0", 2) == ["cuda:0", "cuda:2"]
    assert distributed.devices("cpu", 3) == ["cpu"] * 3
    for count in (3, 8):
        with pytest.raises(distributed.InvalidOrderError, match="divided"):
            distributed.devices("cuda:0", count)
