"""Trials trained again from their records: every report comes up once more, through pauses, losses and lanes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.workers.reproduction_tape import Tape
from workers import record
from workers.contract import (
    AttemptKey,
    CancelMode,
    Message,
    Outcome,
    Reproduced,
    TrainerSpec,
    WorkOrder,
)
from workers.reproduction import Reproduction

FUNCTIONS = """
import random
import numpy as np

def steady(trial):
    state = trial.load_checkpoint() or {"epoch": 0, "value": 1.0}
    while True:
        state["epoch"] += 1
        state["value"] += trial.params["lr"] * random.random() + np.random.rand()
        trial.report(state["epoch"], loss=state["value"])
        if trial.should_save or state["epoch"] % 2 == 0:
            trial.save_checkpoint(dict(state))

def saves_first(trial):
    state = trial.load_checkpoint() or {"epoch": 0, "value": 1.0}
    while True:
        state["epoch"] += 1
        state["value"] += random.random()
        trial.save_checkpoint(dict(state))
        trial.report(state["epoch"], loss=state["value"])

def forgets(trial):
    for epoch in range(1, 100):
        trial.report(epoch, loss=random.random() / epoch)

def diverges(trial):
    for epoch in range(1, 100):
        trial.report(epoch, loss=float("nan") if epoch == 3 else random.random())

def breaks(trial):
    trial.report(1, loss=1.0)
    trial.report(2, loss=0.5)
    raise ValueError("as it did then")

def breaks_when_it_goes_on(trial):
    if trial.load_checkpoint() is not None:
        raise ValueError("as it did then")
    trial.report(1, loss=1.0)
    trial.save_checkpoint({})
    trial.report(2, loss=0.5)

def returns(trial):
    for epoch in range(1, 4):
        trial.report(epoch, loss=random.random())

def moody(trial):
    import os
    for epoch in range(1, 100):
        trial.report(epoch, loss=1.0 if epoch < 3 else int.from_bytes(os.urandom(4), "big") / 2**32)
"""


def reproduce(document: dict[str, Any], cancelled: Callable[[], CancelMode | None] = lambda: None) -> Any:
    """The answer's document, or the `Ended` where there is none."""
    messages: list[Message] = []
    order = WorkOrder(
        key=AttemptKey(study_id="r", trial=-3, fence=1), trainer=TrainerSpec(), params={}, seed=0, metric="",
        metrics=(), from_resource=0, target_resource=0, horizon=0, storage_root="", reproduce=document,
    )  # fmt: skip
    ended = Reproduction(order, messages.append, cancelled).run()
    assert all(m.key == order.key for m in messages), "nothing is told under the trial's own key"  # type: ignore[union-attr]
    found = [m.document for m in messages if isinstance(m, Reproduced)]
    return found[0] if found else ended


@pytest.fixture
def tape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tape]:
    (tmp_path / f"{tmp_path.name}.py").write_text(FUNCTIONS)  # a name of its own, for modules stay imported
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name: str, **params: Any) -> Tape:
        return Tape(tmp_path / "storage", TrainerSpec(function=f"{tmp_path.name}:{name}"), {"lr": 0.1, **params})

    return make


def equal(document: dict[str, Any]) -> dict[str, Any]:
    found = reproduce(document)
    assert isinstance(found, dict), found
    assert found["equal"], (found["verdict"], found.get("failure"), found["comparison"])
    assert found["environment"] == []
    assert found["comparison"]["compared"] == len(document["curve"])
    return found


@pytest.mark.parametrize("name", ["steady", "saves_first", "forgets"])
def test_segments_pauses_and_losses_come_out_equal(name: str, tape: Callable[..., Tape]) -> None:
    trial = tape(name)
    trial.train(3)
    trial.train(9, end=CancelMode.PAUSE, at=5)
    trial.train(9, end=CancelMode.STOP, at=7, lost=True)
    trial.train(9)
    assert equal(trial.document())["segments"] == (1 if name == "forgets" else 4)


def test_a_superseded_attempt_counts_as_far_as_its_reports_do(tape: Callable[..., Tape]) -> None:
    """Lost at step 7 with a checkpoint at 6; the next one was stopped at 6 already: step 7 is the lost one's."""
    trial = tape("steady")
    trial.train(9, end=CancelMode.STOP, at=7, lost=True)
    trial.checkpoints = [c for c in trial.checkpoints if c.step == 4]
    trial.train(9, end=CancelMode.STOP, at=6)
    assert [p["fence"] for p in trial.document()["curve"]] == [1, 1, 1, 1, 2, 2, 1]
    assert [(r.segment.fence, r.until, r.keeps) for r in record.runs(record.read(trial.document()))] == [
        (1, 4, True),
        (1, 7, False),
        (2, 6, False),
    ]
    equal(trial.document())


def test_endings_come_up_again(tape: Callable[..., Tape]) -> None:
    for name, ending in (("diverges", "diverged"), ("breaks", "exception"), ("returns", "completed")):
        trial = tape(name)
        trial.train(9)
        found = equal(trial.document())
        assert found["ending"] == {"was": ending, "now": ending}
        assert found["verdict"].startswith("Equal bit for bit")
        assert found["verdict"].endswith("reports.")


def test_a_failure_before_the_first_report_comes_up_again(tape: Callable[..., Tape], tmp_path: Path) -> None:
    trial = tape("breaks_when_it_goes_on")
    trial.train(1)
    trial.train(9)
    assert equal(trial.document())["ending"] == {"was": "exception", "now": "exception"}
    (tmp_path / f"{tmp_path.name}.py").write_text(FUNCTIONS.replace('raise ValueError("as it did then")', "pass"))
    found = reproduce(trial.document())
    assert not found["equal"]
    assert found["verdict"].startswith("Not the same: the one report that both have is equal, but step 2 ")
    assert found["verdict"].endswith("It ended otherwise: exception then; now it goes on.")


def test_another_ending_after_equal_reports_is_told(tape: Callable[..., Tape], tmp_path: Path) -> None:
    trial = tape("breaks")
    trial.train(9)
    (tmp_path / f"{tmp_path.name}.py").write_text(FUNCTIONS.replace('raise ValueError("as it did then")', "return"))
    found = reproduce(trial.document())
    assert found["comparison"]["equal"]
    assert found["verdict"].endswith("It ended otherwise: exception then, completed now.")


def test_what_is_not_seeded_is_found_out(tape: Callable[..., Tape]) -> None:
    trial = tape("moody")
    trial.train(5)
    found = reproduce(trial.document())
    assert not found["equal"]
    assert found["comparison"]["first"]["step"] == 3
    assert found["repeats"] is False
    assert "trial.seed" in found["hints"][0]
    assert len(found["curves"]["was"]["value"]) == len(found["curves"]["now"]["value"]) == 5


def test_a_changed_environment_is_listed_though_the_reports_are_equal(tape: Callable[..., Tape]) -> None:
    trial = tape("steady")
    trial.train(3)
    for environment in trial.environments.values():
        environment["packages"] = {**environment["packages"], "numpy": "0.1"}
    found = reproduce(trial.document())
    assert found["equal"]
    assert [one["what"] for one in found["environment"]] == ["package numpy"]
    assert found["verdict"] == "Equal bit for bit: all 3 reports, though the environment differs in 1 thing."


def test_other_code_is_found_out(tape: Callable[..., Tape], tmp_path: Path) -> None:
    trial = tape("steady")
    trial.train(3)
    (tmp_path / f"{tmp_path.name}.py").write_text(FUNCTIONS.replace('"value": 1.0', '"value": 1.25'))
    found = reproduce(trial.document())
    assert not found["equal"]
    assert "code.sha256" in [one["what"] for one in found["environment"]]
    assert "code is not the same" in found["hints"][0]
    assert found["comparison"]["metrics"]["loss"]["absolute"] == pytest.approx(0.25)


def test_code_that_fails_now_is_an_answer(tape: Callable[..., Tape], tmp_path: Path) -> None:
    trial = tape("steady")
    trial.train(3)
    (tmp_path / f"{tmp_path.name}.py").write_text("def steady(trial):\n    raise RuntimeError('gone wrong')\n")
    found = reproduce(trial.document())
    assert not found["equal"]
    assert "gone wrong" in found["failure"]["reason"]
    assert "gone wrong" in found["verdict"]


def test_cancelling_ends_it_without_an_answer(tape: Callable[..., Tape]) -> None:
    trial = tape("steady")
    trial.train(3)
    ended = reproduce(trial.document(), lambda: CancelMode.STOP)
    assert ended.outcome is Outcome.CANCELLED


def test_nothing_is_not_equal_to_nothing(tape: Callable[..., Tape]) -> None:
    trial = tape("steady")
    trial.train(2)
    ended = reproduce({**trial.document(), "curve": [], "digest": None})
    assert ended.outcome is Outcome.FAILED
    assert "by comparing its reports, but trial 17 has none" in ended.reason


def test_one_that_goes_on_after_its_end_ends_its_worker(tape: Callable[..., Tape], tmp_path: Path) -> None:
    trial = tape("steady")
    trial.train(2)
    (tmp_path / f"{tmp_path.name}.py").write_text(
        "def steady(trial):\n    step = 0\n    while True:\n        step += 1\n        try:\n"
        "            trial.report(step, loss=1.0)\n        except BaseException:\n            pass\n"
    )
    (tmp_path / "record.json").write_text(json.dumps(trial.document()))
    script = (
        "import json, sys\n"
        "from hpo_service.cli import local_training\n"
        "from hpo_service.errors import HpoError\n"
        "try:\n    local_training.from_file(__import__('pathlib').Path('record.json'))\n"
        "except HpoError as error:\n    print(error, flush=True)\n"
    )
    got = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    assert "went on reporting after its end, so its worker was ended" in got.stdout, got.stderr


def test_what_a_killed_reproduction_left_goes_with_the_next(
    tape: Callable[..., Tape], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = tape("steady")
    trial.train(2)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    left = tmp_path / "temporary" / "hpo-reproduce-left"
    left.mkdir()
    (left / "checkpoint").write_text("large")
    equal(trial.document())
    assert not list((tmp_path / "temporary").iterdir())


def test_what_is_no_record_is_refused(tape: Callable[..., Tape]) -> None:
    trial = tape("steady")
    trial.train(2)
    good = trial.document()
    for changed, words in (
        ({"format": "x"}, "must say format"),
        ({"version": 99}, "reads records of version"),
        ({"seed": 5}, "do not match its digest"),
        ({"digest": None, "segments": []}, "attempt 1 of trial 17 is missing"),
    ):
        ended = reproduce({**good, **changed})
        assert ended.outcome is Outcome.FAILED
        assert words in ended.reason


@pytest.mark.parametrize(
    "spec",
    [
        {"ray_tune": "conformance_tune:reports"},
        {"ray_tune": "conformance_tune:yields"},
        {"ray_tune": "conformance_tune:Descends"},
        {"optuna": "conformance_optuna:reports"},
    ],
    ids=lambda spec: next(iter(spec.values())).partition(":")[2],
)
def test_trainables_of_other_tools_come_out_equal(
    spec: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "conformance" / "user_code"))
    trial = Tape(tmp_path / "storage", TrainerSpec(**spec), {"lr": 0.1}, metric="val_loss")
    trial.train(3)
    trial.train(9, end=CancelMode.PAUSE, at=5)
    trial.train(9)
    assert equal(trial.document())["comparison"]["compared"] >= 5


KEPT = """
from ray import tune

class Keeps(tune.Trainable):
    def setup(self, config):
        self.count = 0

    def reset_config(self, new_config):
        return True

    def step(self):
        self.count += 1
        return {"loss": self.count}

class CannotStop(Keeps):
    def cleanup(self):
        raise RuntimeError("its connection is gone")
"""


def test_an_object_that_was_kept_is_not_used_again(tape: Callable[..., Tape], tmp_path: Path) -> None:
    (tmp_path / f"kept_{tmp_path.name}.py").write_text(KEPT)
    trainer = TrainerSpec(ray_tune=f"kept_{tmp_path.name}:Keeps", params={"reuse_actors": True})
    trial = Tape(tmp_path / "storage", trainer, {})
    trial.train(3)
    assert [p["metrics"]["loss"] for p in trial.document()["curve"]] == [1, 2, 3]
    equal(trial.document())


def test_an_object_that_cannot_be_stopped_harms_no_other_trial(tape: Callable[..., Tape], tmp_path: Path) -> None:
    (tmp_path / f"kept_{tmp_path.name}.py").write_text(KEPT)
    for name in ("CannotStop", "Keeps"):
        trainer = TrainerSpec(ray_tune=f"kept_{tmp_path.name}:{name}", params={"reuse_actors": True})
        assert Tape(tmp_path / f"storage-{name}", trainer, {}).train(2).outcome is Outcome.REACHED


def test_processes_that_train_together_come_out_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    spec = TrainerSpec(function="rank_code:train")
    trial = Tape(tmp_path / "storage", spec, {}, metric="val_loss", processes=2)
    trial.train(2)
    assert [p["metrics"] for p in trial.document()["curve"]] == [{"val_loss": 3.0}, {"val_loss": 6.0}]
    equal(trial.document())


@pytest.mark.parametrize("width", [1, 3])
def test_a_recipe_comes_out_equal_plainly_and_as_a_lane(width: int, tmp_path: Path) -> None:
    trial = Tape(
        tmp_path / "storage",
        TrainerSpec(recipe="tabular", params={"data": "iris", "hidden_units": 8, "batch_size": 32, "dropout": 0.1}),
        {"lr": 0.01},
        metric="val_loss",
        width=width,
    )
    trial.train(2)
    trial.train(6, end=CancelMode.PAUSE, at=3)
    trial.train(6, end=CancelMode.STOP, at=5, lost=True)
    trial.train(6)
    assert equal(trial.document())["comparison"]["compared"] == 6
