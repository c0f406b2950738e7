"""The callbacks for Lightning and Hugging Face. Neither library is installed here: stand-ins with the names and calls
of their documented interfaces take their places."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import hpo_service as hpo
from hpo_service.errors import InvalidInput, Unsupported
from hpo_service.integrations.reporting import Reporter

LIGHTNING, TRANSFORMERS = "hpo_service.integrations.lightning", "hpo_service.integrations.transformers"


def module(name: str, **content: Any) -> types.ModuleType:
    found = types.ModuleType(name)
    vars(found).update(content)
    return found


@pytest.fixture(autouse=True)
def _libraries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    callback = type("Callback", (), {})
    monkeypatch.setitem(sys.modules, "lightning", module("lightning"))
    monkeypatch.setitem(sys.modules, "lightning.pytorch", module("lightning.pytorch"))
    callbacks = module("lightning.pytorch.callbacks", Callback=callback)
    monkeypatch.setitem(sys.modules, "lightning.pytorch.callbacks", callbacks)
    trainer_callback = type("TrainerCallback", (), {})
    monkeypatch.setitem(sys.modules, "transformers", module("transformers", TrainerCallback=trainer_callback))
    forget()
    yield
    forget()


def forget() -> None:
    for name in (LIGHTNING, TRANSFORMERS):
        sys.modules.pop(name, None)


@pytest.fixture
def trial(study: hpo.Study) -> hpo.Trial:
    found = study.ask(wait_s=0)
    assert found is not None
    return found


class Strategy:
    """Of the second of two processes: it hears what the first one decided."""

    def __init__(self, decided: bool) -> None:
        self.decided = decided

    def broadcast(self, value: bool, src: int = 0) -> bool:
        assert src == 0
        return self.decided


def fit(callback: Any, losses: list[Any], **more: Any) -> SimpleNamespace:
    """Lightning's loop as far as the callback sees it: a sanity check, then epochs."""
    trainer = SimpleNamespace(
        sanity_checking=True, should_stop=False, is_global_zero=True, world_size=1, current_epoch=0, callback_metrics={}
    )
    vars(trainer).update(more)
    callback.on_validation_end(trainer, None)
    trainer.sanity_checking = False
    for epoch, loss in enumerate(losses):
        trainer.current_epoch, trainer.callback_metrics = epoch, {"loss": loss, "lr": 0.1}
        callback.on_validation_end(trainer, None)
        if trainer.should_stop:
            break
    return trainer


def test_lightning_reports_each_validation_and_stops_at_the_target(trial: hpo.Trial) -> None:
    callback = importlib.import_module(LIGHTNING).ReportCallback(trial, ["loss"])
    trainer = fit(callback, [np.float32(0.5), np.array([0.25]), 0.125, 0.0625])
    assert (trainer.should_stop, trainer.current_epoch) == (True, 2)
    assert [(one.step, one.metrics) for one in trial.reports()] == [
        (1, {"loss": 0.5}),
        (2, {"loss": 0.25}),
        (3, {"loss": 0.125}),
    ]


def test_lightning_stops_when_asked_and_when_the_attempt_is_another_s(trial: hpo.Trial, study: hpo.Study) -> None:
    make = importlib.import_module(LIGHTNING).ReportCallback
    trial.pulse.stop(trial.number, trial.fence)  # type: ignore[union-attr]
    assert fit(make(trial), [1.0, 1.0]).current_epoch == 0
    other = study.ask(2, wait_s=0)[1]
    study.stop()
    assert fit(make(other), [1.0, 1.0]).current_epoch == 0, "what is refused ends training, with no exception"


def test_lightning_s_other_processes_hear_of_a_stop(trial: hpo.Trial) -> None:
    callback = importlib.import_module(LIGHTNING).ReportCallback(trial)
    trainer = fit(callback, [1.0, 1.0], is_global_zero=False, world_size=2, strategy=Strategy(decided=True))
    assert trainer.should_stop
    assert trial.reports() == []


def test_a_metric_that_validation_does_not_log_is_named(trial: hpo.Trial) -> None:
    callback = importlib.import_module(LIGHTNING).ReportCallback(trial, ["val_loss"])
    with pytest.raises(InvalidInput, match="must log val_loss, but logged loss, lr"):
        fit(callback, [1.0])


@pytest.mark.parametrize(("unit", "evaluations"), [("epoch", 3), ("step", 1)])
def test_hugging_face_reports_evaluations_at_the_global_step(trial: hpo.Trial, unit: str, evaluations: int) -> None:
    callback = importlib.import_module(TRANSFORMERS).ReportCallback(trial, ["loss"], unit=unit)
    control = SimpleNamespace(should_training_stop=False)
    done = 0
    for epoch in range(1, 9):
        state = SimpleNamespace(epoch=float(epoch), global_step=10 * epoch, is_world_process_zero=True)
        metrics = {"loss": 1 / epoch, "epoch": epoch, "samples": "many"}
        assert callback.on_evaluate(None, state, control, metrics=metrics, model=None) is control
        done += 1
        if control.should_training_stop:
            break
    assert done == evaluations
    told = trial.reports()
    assert [one.step for one in told] == [10 * (n + 1) for n in range(evaluations)]
    assert [one.resource for one in told] == [n + 1 if unit == "epoch" else 10 for n in range(evaluations)]


def test_other_processes_of_hugging_face_report_nothing(trial: hpo.Trial) -> None:
    callback = importlib.import_module(TRANSFORMERS).ReportCallback(trial)
    state = SimpleNamespace(epoch=1.0, global_step=10, is_world_process_zero=False)
    callback.on_evaluate(None, state, SimpleNamespace(), metrics={"loss": 1.0})
    assert trial.reports() == []


@pytest.mark.parametrize("first_says", [True, False])
def test_all_processes_of_hugging_face_stop_together(
    trial: hpo.Trial, monkeypatch: pytest.MonkeyPatch, first_says: bool
) -> None:
    """The first process alone knows that the trial is wanted no more: without a word to the others they would go on to
    a step that it never takes."""
    together = importlib.import_module("torch.distributed")

    def broadcast(told: list[bool], src: int) -> None:
        assert (told, src) == ([False], 0)
        told[0] = first_says

    for name, found in {"is_initialized": lambda: True, "get_world_size": lambda: 2}.items():
        monkeypatch.setattr(together, name, found)
    monkeypatch.setattr(together, "broadcast_object_list", broadcast)
    callback = importlib.import_module(TRANSFORMERS).ReportCallback(trial)
    state = SimpleNamespace(epoch=1.0, global_step=10, is_world_process_zero=False)
    control = SimpleNamespace(should_training_stop=False)
    callback.on_evaluate(None, state, control, metrics={"loss": 1.0})
    assert control.should_training_stop is first_says


class Ended(BaseException):
    """As a function trainable's trial ends training: by raising from a report."""


def test_a_function_s_trial_ends_training_by_itself() -> None:
    class Own:
        told: list[tuple[int, dict[str, float]]] = []  # noqa: RUF012

        def report(self, step: int, *, resource: float | None = None, **metrics: float) -> None:
            self.told.append((step, metrics))
            if step == 2:
                raise Ended

    own = Own()
    callback = importlib.import_module(LIGHTNING).ReportCallback(own)
    with pytest.raises(Ended):
        fit(callback, [0.5, 0.25, 0.125])
    assert own.told == [(1, {"loss": 0.5, "lr": 0.1}), (2, {"loss": 0.25, "lr": 0.1})]


def test_a_step_is_reported_once(trial: hpo.Trial) -> None:
    reporter = Reporter(trial)
    assert not reporter.report({"loss": 1.0}, step=1)
    assert not reporter.report({"loss": 2.0}, step=1)
    assert not reporter.report({"word": "none"}, step=2)
    assert [one.metrics for one in trial.reports()] == [{"loss": 1.0}]


def test_what_is_no_trial_is_refused() -> None:
    with pytest.raises(InvalidInput, match="reports to a trial, but got dict"):
        Reporter({})


@pytest.mark.parametrize(("name", "missing"), [(LIGHTNING, "lightning"), (TRANSFORMERS, "transformers")])
def test_without_the_library_the_line_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, missing: str
) -> None:
    for known in [one for one in sys.modules if one.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, known)
    for one in (missing, "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, one, None)
    with pytest.raises(Unsupported, match=f"{missing} is not installed; run: pip install {missing}"):
        importlib.import_module(name)


def test_the_older_name_of_lightning_serves(monkeypatch: pytest.MonkeyPatch, trial: hpo.Trial) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    for name in ("lightning.pytorch", "lightning.pytorch.callbacks"):
        monkeypatch.delitem(sys.modules, name)
    old = module("pytorch_lightning.callbacks", Callback=type("Callback", (), {}))
    monkeypatch.setitem(sys.modules, "pytorch_lightning", module("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, "pytorch_lightning.callbacks", old)
    assert fit(importlib.import_module(LIGHTNING).ReportCallback(trial, ["loss"]), [1.0]).should_stop is False
