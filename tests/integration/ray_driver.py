"""A controller's process in small, for `test_ray_executor`: its working directory holds a user's code.

Joins the cluster whose address is given, or starts its own; trains one trial of `mine:train`, says what came of it as
a line of JSON, then lets a trial hang until it is killed or standard input ends, and closes.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from hpo_service.executors.ray import RayExecutor
from hpo_service.settings import Settings
from workers.contract import AttemptKey, Ended, Launch, Message, Reported, Started, TrainerSpec, WorkerSeen, WorkOrder


def order(trial: int) -> WorkOrder:
    return WorkOrder(
        key=AttemptKey(study_id="s", trial=trial, fence=1), trainer=TrainerSpec(function="mine:train"),
        params={"hang": trial == 1}, seed=1, metric="loss", metrics=("loss",), from_resource=0, target_resource=2,
        horizon=2, storage_root=str(Path("storage").absolute()),
    )  # fmt: skip


def main() -> None:
    executor = RayExecutor(
        Settings(ray_cpus=1, ray_address=sys.argv[1] if len(sys.argv) > 1 else ""), Path("storage").absolute()
    )
    messages: list[Message] = []
    for trial, awaited in ((0, Ended), (1, Reported)):
        executor.launch(Launch(launch_id=str(trial), orders=(order(trial),)))
        while not any(isinstance(m, awaited) and m.key.trial == trial for m in messages):
            messages += executor.poll(1.0)
    worker = next(m for m in messages if isinstance(m, WorkerSeen) and "pid" in m.detail)
    ended = next(m for m in messages if isinstance(m, Ended))
    facts = {
        "outcome": ended.outcome,
        "reason": ended.reason,
        "started": sum(isinstance(m, Started) for m in messages),
        "worker_pid": worker.detail["pid"],
        "auth": [os.environ.get("RAY_AUTH_MODE"), len(os.environ.get("RAY_AUTH_TOKEN", ""))],
    }
    print(json.dumps(facts), flush=True)
    sys.stdin.read()
    executor.close()


if __name__ == "__main__":
    main()
