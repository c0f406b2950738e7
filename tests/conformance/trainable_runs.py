"""What the conformance suite of trainables is made of: every kind of trainable that keeps all promises, orders for
them, and what one attempt said. The fixtures `make` and `user_code` are in `conftest`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workers.contract import (
    AttemptKey,
    CancelMode,
    CheckpointRef,
    Ended,
    Logged,
    Message,
    Reported,
    Saved,
    Started,
    TrainerSpec,
    WorkOrder,
)
from workers.session import run_order

USER_CODE = Path(__file__).parent / "user_code"
EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass
class Run:
    """What one attempt sent, and how it ended."""

    messages: list[Message] = field(default_factory=list)
    ended: Ended | None = None

    @property
    def end(self) -> Ended:
        assert self.ended is not None
        return self.ended

    @property
    def reports(self) -> list[Reported]:
        return [m for m in self.messages if isinstance(m, Reported)]

    @property
    def steps(self) -> list[int]:
        return [m.step for m in self.reports]

    @property
    def started(self) -> Started:
        return next(m for m in self.messages if isinstance(m, Started))

    @property
    def saved(self) -> list[CheckpointRef]:
        return [m.checkpoint for m in self.messages if isinstance(m, Saved)]

    @property
    def log(self) -> str:
        return "".join(m.text for m in self.messages if isinstance(m, Logged))

    def values(self) -> dict[int, dict[str, float]]:
        """Metrics by step, without the ones that measure time."""
        return {m.step: {k: v for k, v in m.metrics.items() if not k.startswith("seconds")} for m in self.reports}


def run(order: WorkOrder, cancelled: Callable[[Run], CancelMode | None] = lambda _: None) -> Run:
    """Train one order in this process."""
    found = Run()
    found.ended = run_order(order, found.messages.append, lambda: cancelled(found))
    return found


@dataclass(frozen=True)
class Case:
    """One trainable that keeps all promises."""

    trainer: TrainerSpec
    params: dict[str, Any]
    metric: str
    checkpoints: bool = True


RECIPE = TrainerSpec(recipe="image_classifier", params={"data": "digits", "hidden_units": 16})
CASES = {
    "image_classifier": Case(RECIPE, {"batch_size": 128}, "val_loss"),
    "tabular": Case(TrainerSpec(recipe="tabular", params={"data": "iris"}), {"dropout": 0.1}, "val_loss"),
    "report_then_save": Case(TrainerSpec(function="conformance_functions:report_then_save"), {}, "val_loss"),
    "save_then_report": Case(TrainerSpec(function="conformance_functions:save_then_report"), {}, "val_loss"),
    "never_saves": Case(TrainerSpec(function="conformance_functions:never_saves"), {}, "val_loss", False),
}
CASES |= {
    "own_recipe": Case(TrainerSpec(recipe="spirals:Spirals", params={"hidden": 8}), {"lr": 0.02}, "val_loss"),
    "tune_reports": Case(TrainerSpec(ray_tune="conformance_tune:reports"), {"lr": 0.1}, "val_loss"),
    "tune_yields": Case(TrainerSpec(ray_tune="conformance_tune:yields"), {"lr": 0.1}, "val_loss", False),
    "tune_class": Case(TrainerSpec(ray_tune="conformance_tune:Descends"), {"lr": 0.1}, "val_loss"),
    "tune_class_of_files": Case(TrainerSpec(ray_tune="conformance_tune:DescendsInFiles"), {"lr": 0.1}, "val_loss"),
    "optuna": Case(TrainerSpec(optuna="conformance_optuna:reports"), {"lr": 0.1}, "val_loss", False),
}
CHECKPOINTING = [name for name, case in CASES.items() if case.checkpoints]


@contextmanager
def user_modules() -> Iterator[None]:
    """While the block runs, the users' modules can be imported; none of them is left behind."""
    folders = [str(USER_CODE), str(EXAMPLES)]
    sys.path[:0] = folders
    try:
        yield
    finally:
        for folder in folders:
            sys.path.remove(folder)
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(tuple(folders)):
                del sys.modules[name]


Make = Callable[..., WorkOrder]


def orders(storage: Path) -> Make:
    """Orders for one trial, with growing fences. A name that is no case's is that of a function."""
    fence = 0

    def order(case: Case | str, *, to: float = 4.0, **changes: Any) -> WorkOrder:
        nonlocal fence
        fence += 1
        if isinstance(case, str):
            case = CASES.get(case) or Case(TrainerSpec(function=f"conformance_functions:{case}"), {}, "val_loss")
        base = WorkOrder(
            key=AttemptKey(study_id="study-1", trial=7, fence=fence),
            trainer=case.trainer,
            params=case.params,
            seed=12345,
            metric=case.metric,
            metrics=(case.metric,),
            from_resource=0.0,
            target_resource=to,
            horizon=6.0,
            storage_root=str(storage),
        )
        return replace(base, **changes)

    return order
