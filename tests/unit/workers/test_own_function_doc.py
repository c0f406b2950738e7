"""docs/own-function.md against the code: its examples train and go on, and everything a trial offers is in it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hpo_service as hpo
from hpo_service.documents import load_yaml
from workers.contract import AttemptKey, Message, Outcome, Reported, TrainerSpec, WorkOrder
from workers.session import run_order
from workers.trial import Trial

DOC = (Path(__file__).parents[3] / "docs" / "own-function.md").read_text()
EXAMPLES = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", DOC, re.DOTALL))
FILLED_IN = {
    "train": """
def train_one_epoch(model, optimizer):
    loss = model(torch.ones(4, 20)).square().mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    return loss
"""
}
TRAINERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "function": ({"function": "train:main"}, {"lr": 0.1}, "val_loss"),
    "recipe": ({"recipe": "rings:Rings"}, {"lr": 0.02}, "val_loss"),
    "ray_tune function": ({"ray_tune": "tuned:train"}, {"lr": 0.1}, "loss"),
    "ray_tune class": ({"ray_tune": "tuned:Train"}, {"lr": 0.1}, "loss"),
    "optuna": ({"optuna": "objective:objective"}, {"lr": 0.1, "heavy": True, "momentum": 0.5}, "loss"),
}


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "code"
    folder.mkdir()
    for name, text in EXAMPLES.items():
        (folder / f"{name}.py").write_text(text + FILLED_IN.get(name, ""))
    monkeypatch.syspath_prepend(str(folder))
    yield
    for name in EXAMPLES:
        sys.modules.pop(name, None)


def order(kind: str, root: Path, fence: int, *, to: float, **changes: Any) -> WorkOrder:
    trainer, params, metric = TRAINERS[kind]
    return WorkOrder(
        key=AttemptKey(study_id="s", trial=0, fence=fence),
        trainer=TrainerSpec(**trainer),
        params=params,
        seed=1,
        metric=metric,
        metrics=(metric,),
        from_resource=0.0,
        target_resource=to,
        horizon=9.0,
        storage_root=str(root),
        **changes,
    )


@pytest.mark.parametrize("kind", TRAINERS)
def test_the_examples_train_and_go_on(kind: str, tmp_path: Path) -> None:
    whole: list[Message] = []
    run_order(order(kind, tmp_path, 1, to=6.0), whole.append, lambda: None)
    parts: list[Message] = []
    first = run_order(order(kind, tmp_path, 2, to=3.0), parts.append, lambda: None)
    assert (first.outcome, first.resource) == (Outcome.REACHED, 3.0), first.reason
    assert (first.checkpoint is None) == (kind == "optuna")
    stored = (first.checkpoint,) if first.checkpoint else ()
    second = run_order(order(kind, tmp_path, 3, to=6.0, checkpoints=stored), parts.append, lambda: None)
    assert (second.outcome, second.resource) == (Outcome.REACHED, 6.0), second.reason
    metric = TRAINERS[kind][2]
    curves = [{m.step: m.metrics[metric] for m in said if isinstance(m, Reported)} for said in (whole, parts)]
    assert len(curves[0]) == 6
    assert curves[0] == curves[1]


def test_the_space_in_the_text_is_what_is_discovered() -> None:
    found = hpo.discover("objective:objective")
    text = DOC.partition("`hpo discover objective:objective`")[2].partition("```yaml\n")[2].partition("```")[0]
    assert load_yaml(text) == load_yaml(found.yaml)


def test_the_example_of_a_size_trains_at_it(tmp_path: Path) -> None:
    said: list[Message] = []
    sized = TrainerSpec(function="sized:main")
    given = replace(order("function", tmp_path, 1, to=0.1, fidelity="data_fraction"), trainer=sized)
    assert run_order(given, said.append, lambda: None).outcome is Outcome.REACHED
    assert [(m.step, m.resource, set(m.metrics)) for m in said if isinstance(m, Reported)] == [(1, 0.1, {"val_loss"})]


def test_every_example_is_run() -> None:
    trainers = {trainer.partition(":")[0] for spec, _, _ in TRAINERS.values() for trainer in spec.values()}
    assert trainers | {"sized"} == set(EXAMPLES)


def test_everything_that_a_trial_offers_is_documented() -> None:
    not_for_users = {"close", "restored", "settle", "keep_predictions", "finish"}
    offered = {name for name in dir(Trial) if not name.startswith("_")} - not_for_users
    rows = "\n".join(line.partition(" | ")[0] for line in DOC.splitlines() if line.startswith("| `trial."))
    assert set(re.findall(r"`trial\.(\w+)", rows)) == offered | {"ending"}
