"""Who trains a plain function does not wait for what other kinds of trainables need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from workers.contract import AttemptKey, TrainerSpec, WorkOrder
from workers.session import run_order

order = WorkOrder(
    key=AttemptKey(study_id="s", trial=0, fence=1), trainer=TrainerSpec(function="light_function:train"), params={},
    seed=1, metric="loss", metrics=("loss",), from_resource=0.0, target_resource=1.0, horizon=1.0,
    storage_root=sys.argv[1],
)
sys.path.insert(0, sys.argv[1])
print(run_order(order, lambda message: None, lambda: None).outcome)
print([name for name in ("ray", "ray.tune", "ray.train", "optuna", "torch", "pandas") if name in sys.modules])
"""


def test_a_function_loads_neither_ray_tune_nor_optuna(tmp_path: Path) -> None:
    (tmp_path / "light_function.py").write_text("def train(trial):\n    trial.report(1, loss=0.5)\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert done.stdout.splitlines() == ["reached", "[]"]
