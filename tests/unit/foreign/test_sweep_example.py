"""`examples/sweep.yaml` becomes a study, and the study runs to its end with a worker that asks and tells."""

from __future__ import annotations

import math
from pathlib import Path

from hpo_service.client import Client
from tests.unit.foreign.conftest import Run

SWEEP = Path(__file__).resolve().parents[3] / "examples" / "sweep.yaml"


def test_the_example_sweep_runs(run: Run, sdk: Client, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    made = run("import", str(SWEEP), "-o", str(file), "--set", "algorithm.sampler=random")
    assert made.exit_code == 0, made.output
    study = sdk.create_study(file)
    told: set[float] = set()
    while (trial := study.ask(wait_s=5)) is not None:
        lr, goes_to = trial.params["optimizer.lr"], trial.info.target
        assert goes_to is not None
        told.add(goes_to)
        trial.tell(abs(math.log10(lr) + 2.5) + 1.0 / goes_to)
    study.refresh()
    assert study.state == "finished"
    assert study.info.trials == 16
    assert told >= {1.0, 3.0, 9.0}
    assert set(study.best_params) == {"optimizer.name", "optimizer.lr", "weight_decay", "width", "dropout"}
