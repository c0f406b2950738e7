"""The warm worker as a plain class, and how functions are found. Real Ray is in the executor's tests."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from workers import functions
from workers.actor import Worker
from workers.contract import (
    FUSED,
    AttemptKey,
    CancelMode,
    Ended,
    FailureKind,
    Launch,
    Logged,
    Message,
    Outcome,
    Reported,
    TrainerSpec,
    WorkOrder,
)
from workers.errors import InvalidOrderError

CODE = """
import threading, sys
reported, go_on = threading.Event(), threading.Event()

def waits(trial):
    trial.report(1, loss=1.0)
    reported.set()
    go_on.wait()
    trial.report(2, loss=1.0)

def prints_and_waits(trial):
    print("waiting")
    go_on.wait()
    trial.report(1, loss=1.0)

def quick(trial):
    trial.report(1, loss=float(trial.number))

def endless(trial):
    step = 0
    while True:
        step += 1
        trial.report(step, loss=1.0)
"""


@pytest.fixture
def code(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "actor_code.py").write_text(CODE)
    yield folder
    sys.modules.pop("actor_code", None)
    if str(folder) in sys.path:
        sys.path.remove(str(folder))


@pytest.fixture
def worker(code: Path) -> Iterator[Worker]:
    made = Worker("w-1", node="here", code_paths=[str(code)])
    made.warm()
    yield made
    made.stop()


@pytest.fixture
def launch(tmp_path: Path) -> Callable[..., Launch]:
    def make(*names: str, to: float = 1.0) -> Launch:
        orders = tuple(
            WorkOrder(
                key=AttemptKey(study_id="s", trial=number, fence=1),
                trainer=TrainerSpec(function=f"actor_code:{name}"),
                params={},
                seed=1,
                metric="loss",
                metrics=("loss",),
                from_resource=0.0,
                target_resource=to,
                horizon=to,
                storage_root=str(tmp_path),
            )
            for number, name in enumerate(names)
        )
        return Launch(launch_id="l", orders=orders)

    return make


Make = Callable[..., Launch]


def test_orders_are_trained_in_turn_and_each_ends(worker: Worker, launch: Make) -> None:
    batches = list(worker.run(launch("quick", "no_such", "quick")))
    messages = [m for batch in batches for m in batch]
    ends = [m for m in messages if isinstance(m, Ended)]
    assert [e.outcome for e in ends] == [Outcome.REACHED, Outcome.FAILED, Outcome.REACHED]
    assert ends[1].failure is FailureKind.INVALID
    assert [m.key.trial for m in messages] == sorted(m.key.trial for m in messages)
    assert all(batches)
    assert [m.metrics["loss"] for m in messages if isinstance(m, Reported)] == [0.0, 2.0]


def test_pinging_names_the_worker(worker: Worker) -> None:
    found = worker.ping()
    assert (found["worker_id"], found["node"], found["pid"]) == ("w-1", "here", os.getpid())
    assert (found["device"], found["gpu_name"], found["warm"], found["busy"]) == ("cpu", None, True, False)


@pytest.mark.parametrize(
    ("mode", "outcome"), [(CancelMode.STOP, Outcome.CANCELLED), (CancelMode.PAUSE, Outcome.PAUSED)]
)
def test_cancel_reaches_a_running_attempt(worker: Worker, launch: Make, mode: CancelMode, outcome: Outcome) -> None:
    sent = launch("waits", "quick", to=9.0)
    stream = worker.run(sent)
    seen: list[Message] = []
    while not any(isinstance(m, Reported) for m in seen):
        seen += next(stream)
    code = sys.modules["actor_code"]
    code.reported.wait()
    assert worker.ping()["busy"]
    worker.cancel(sent.orders[0].key, mode)
    code.go_on.set()
    rest = [m for batch in stream for m in batch]
    first = next(m for m in rest if isinstance(m, Ended))
    assert (first.outcome, first.resource) == (outcome, 2.0)
    assert isinstance(rest[-1], Ended)
    assert rest[-1].outcome is Outcome.COMPLETED


def test_cancel_before_the_launch_and_stop_outranks_pause(worker: Worker, launch: Make) -> None:
    sent = launch("endless", to=9.0)
    worker.cancel(sent.orders[0].key, CancelMode.STOP)
    worker.cancel(sent.orders[0].key, CancelMode.PAUSE)
    messages = [m for batch in worker.run(sent) for m in batch]
    assert [type(m) for m in messages] == [Ended]
    assert isinstance(messages[0], Ended)
    assert messages[0].outcome is Outcome.CANCELLED


def test_what_is_printed_arrives_before_the_attempt_ends(worker: Worker, launch: Make) -> None:
    stream = worker.run(launch("prints_and_waits"))
    seen: list[Message] = []
    while not any(isinstance(m, Logged) for m in seen):
        seen += next(stream)
    assert not any(isinstance(m, Ended) for m in seen)
    sys.modules["actor_code"].go_on.set()
    assert any(isinstance(m, Ended) for batch in stream for m in batch)


def test_abandoned_stream_frees_the_worker(worker: Worker, launch: Make) -> None:
    stream = worker.run(launch("endless", to=1e18))
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # run is a generator
    messages = [m for batch in worker.run(launch("quick")) for m in batch]
    assert isinstance(messages[-1], Ended)
    assert messages[-1].outcome is Outcome.REACHED


def test_training_happens_on_one_thread_of_its_own(worker: Worker, launch: Make) -> None:
    before = threading.active_count()
    for _ in range(3):
        list(worker.run(launch("quick")))
    assert threading.active_count() == before


def test_gpu_worker_without_gpu_says_so(code: Path) -> None:
    import torch

    if torch.cuda.is_available():
        return
    worker = Worker("w-2", gpu=1.0)
    with pytest.raises(RuntimeError, match="ask for gpu: 0"):
        worker.warm()
    worker.stop()


# Fused launches


@pytest.fixture
def fused(tmp_path: Path) -> Callable[..., Launch]:
    def make(*lrs: float, to: float = 2.0) -> Launch:
        orders = tuple(
            WorkOrder(
                key=AttemptKey(study_id="f", trial=number, fence=1),
                trainer=TrainerSpec(recipe="tabular", params={"hidden_units": 4}),
                params={"lr": lr},
                seed=number,
                metric="val_loss",
                metrics=("val_loss",),
                from_resource=0.0,
                target_resource=to,
                horizon=9.0,
                storage_root=str(tmp_path),
            )
            for number, lr in enumerate(lrs)
        )
        return Launch(launch_id="f", orders=orders, method=FUSED, width=4)

    return make


def test_lanes_of_a_fused_launch_each_end(worker: Worker, fused: Make, tmp_path: Path) -> None:
    messages = [m for batch in worker.run(fused(0.01, -1.0, 0.02)) for m in batch]
    ends = {m.key.trial: m for m in messages if isinstance(m, Ended)}
    assert {trial: end.outcome for trial, end in ends.items()} == {
        0: Outcome.REACHED,
        1: Outcome.FAILED,
        2: Outcome.REACHED,
    }
    assert ends[1].failure is FailureKind.INVALID
    for trial in (0, 2):
        checkpoint = ends[trial].checkpoint
        assert checkpoint is not None
        assert (tmp_path / checkpoint.path).is_file()
        assert [m.step for m in messages if isinstance(m, Reported) and m.key.trial == trial] == [1, 2]
    assert not worker.ping()["busy"]


def test_cancel_reaches_one_lane(worker: Worker, fused: Make) -> None:
    sent = fused(0.01, 0.02, to=1e9)
    stream = worker.run(sent)
    ends: dict[int, Ended] = {}
    seen: list[Message] = []
    while not any(isinstance(m, Reported) for m in seen):
        seen += next(stream)
    assert worker.ping()["busy"]
    worker.cancel(sent.orders[1].key, CancelMode.PAUSE)
    for batch in stream:
        ends |= {m.key.trial: m for m in batch if isinstance(m, Ended)}
        if 1 in ends and 0 not in ends:
            worker.cancel(sent.orders[0].key, CancelMode.STOP)
    assert (ends[1].outcome, ends[0].outcome) == (Outcome.PAUSED, Outcome.CANCELLED)
    assert ends[1].checkpoint is not None
    assert ends[0].resource > ends[1].resource


def test_an_abandoned_fused_stream_frees_the_worker(worker: Worker, fused: Make, launch: Make) -> None:
    stream = worker.run(fused(0.01, 0.02, to=1e9))
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # run is a generator
    messages = [m for batch in worker.run(launch("quick")) for m in batch]
    assert isinstance(messages[-1], Ended)
    assert messages[-1].outcome is Outcome.REACHED


# Functions


def test_changed_module_is_imported_afresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "fresh_pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text("VALUE = 1\n")
    (package / "main.py").write_text("from fresh_pkg.part import VALUE\ndef train(trial): return VALUE\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    nothing: Any = None
    assert functions.find("fresh_pkg.main:train")(nothing) == 1
    first = functions.describe("fresh_pkg.main:train")
    assert functions.find("fresh_pkg.main:train") is functions.find("fresh_pkg.main:train")
    (package / "part.py").write_text("VALUE = 1234\n")
    assert functions.find("fresh_pkg.main:train")(nothing) == 1234
    assert functions.describe("fresh_pkg.main:train")["sha256"] != first["sha256"]
    for name in ("fresh_pkg", "fresh_pkg.part", "fresh_pkg.main"):
        sys.modules.pop(name, None)


def test_error_within_a_users_import_is_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_mod.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        functions.find("broken_mod:train")


@pytest.mark.parametrize("path", ["", "a", "a:", ":b", "a b:c", "a:b:c", "a..b:c", "os/path:join"])
def test_malformed_paths_are_refused(path: str) -> None:
    with pytest.raises(InvalidOrderError, match=r"pkg\.module:name"):
        functions.find(path)


def test_a_fault_after_training_ends_no_attempt_twice(
    worker: Worker, fused: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def fails_at_its_end() -> Iterator[None]:
        yield
        raise RuntimeError("cannot be put back")

    monkeypatch.setattr("workers.isolation.isolated", fails_at_its_end)
    sent = fused(0.01, 0.02)
    messages = [m for batch in worker.run(sent) for m in batch]
    ended = [m for m in messages if isinstance(m, Ended)]
    assert sorted(m.key.trial for m in ended) == sorted(o.key.trial for o in sent.orders)
    assert {m.outcome for m in ended} == {Outcome.REACHED}


def test_a_fault_before_training_ends_each_attempt_once(
    worker: Worker, fused: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise FileNotFoundError("the working directory is gone")

    monkeypatch.setattr("workers.isolation.isolated", fails)
    sent = fused(0.01, 0.02)
    worker.cancel(sent.orders[0].key, CancelMode.STOP)
    ended = [m for batch in worker.run(sent) for m in batch if isinstance(m, Ended)]
    assert {m.key.trial: m.outcome for m in ended} == {
        sent.orders[0].key.trial: Outcome.CANCELLED,
        sent.orders[1].key.trial: Outcome.FAILED,
    }
    assert len(ended) == 2
