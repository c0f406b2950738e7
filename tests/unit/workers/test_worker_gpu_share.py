"""What an attempt says of the fraction of a GPU that its worker has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from workers.contract import AttemptKey, Message, Started, TrainerSpec, WorkOrder
from workers.session import WorkerIdentity, run_order


@pytest.mark.parametrize(("gpu", "said"), [(0.0, {}), (0.3333, {"gpu": 0.3333}), (1.0, {}), (2.0, {})])
def test_a_part_of_a_gpu_stands_in_the_environment(gpu: float, said: dict[str, Any], tmp_path: Path) -> None:
    order = WorkOrder(
        key=AttemptKey(study_id="s", trial=0, fence=1), trainer=TrainerSpec(recipe="image_classifier"),
        params={"data": "digits", "model": "softmax"}, seed=1, metric="val_loss", metrics=("val_loss",),
        from_resource=0.0, target_resource=1.0, horizon=1.0, storage_root=str(tmp_path),
    )  # fmt: skip
    messages: list[Message] = []
    run_order(order, messages.append, lambda: None, worker=WorkerIdentity(worker_id="w", node="n", gpu=gpu))
    (started,) = [m for m in messages if isinstance(m, Started)]
    run = started.environment["run"]
    assert {name: value for name, value in run.items() if name == "gpu"} == said
