"""docs/own-function.md against the code: its example trains, and everything a trial offers is in it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from workers.contract import AttemptKey, Message, Outcome, Reported, TrainerSpec, WorkOrder
from workers.session import run_order
from workers.trial import Trial

DOC = (Path(__file__).parents[3] / "docs" / "own-function.md").read_text()


def order(root: Path, fence: int, *, to: float, **changes: object) -> WorkOrder:
    return WorkOrder(
        key=AttemptKey(study_id="s", trial=0, fence=fence),
        trainer=TrainerSpec(function="doc_example:main"),
        params={"lr": 0.1},
        seed=1,
        metric="val_loss",
        metrics=("val_loss",),
        from_resource=0.0,
        target_resource=to,
        horizon=9.0,
        storage_root=str(root),
        **changes,  # type: ignore[arg-type]
    )


def test_the_example_trains_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = DOC.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "doc_example.py").write_text(
        example + "\ndef train_one_epoch(model, optimizer):\n"
        "    loss = model(torch.ones(4, 20)).square().mean()\n"
        "    optimizer.zero_grad(); loss.backward(); optimizer.step()\n"
        "    return loss\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    whole: list[Message] = []
    run_order(order(tmp_path, 1, to=6.0), whole.append, lambda: None)
    parts: list[Message] = []
    first = run_order(order(tmp_path, 2, to=3.0), parts.append, lambda: None)
    assert first.checkpoint is not None
    second = run_order(order(tmp_path, 3, to=6.0, checkpoints=(first.checkpoint,)), parts.append, lambda: None)
    assert (second.outcome, second.resource) == (Outcome.REACHED, 6.0)
    values = [[m.metrics["val_loss"] for m in ms if isinstance(m, Reported)] for ms in (whole, parts)]
    assert len(values[0]) == 6
    assert values[0] == values[1]
    sys.modules.pop("doc_example", None)


def test_everything_that_a_trial_offers_is_documented() -> None:
    offered = {name for name in dir(Trial) if not name.startswith("_")} - {"close", "restored", "settle"}  # not for users
    documented = set(re.findall(r"^\| `trial\.(\w+)", DOC, re.MULTILINE))
    assert documented == offered | {"ending"}
