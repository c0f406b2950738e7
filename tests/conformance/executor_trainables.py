"""The function that the executors' conformance suite trains; imported by workers, so it imports nothing of ours."""

import math
import threading
import time
from typing import Any


def train(trial: Any) -> None:
    """Reports loss 1/step up to the target; `kind` says how it behaves on the way."""
    kind = trial.params["kind"]
    if kind == "raise":
        raise ValueError("the configuration is hopeless")
    state = trial.load_checkpoint() or {"step": 0}
    step = state["step"]
    while True:
        if kind == "hang" and step == 1:
            threading.Event().wait()
        if kind == "slow":
            time.sleep(0.02)
        step += 1
        trial.report(step, loss=math.nan if kind == "nan" else 1.0 / step)
        if trial.should_save:
            trial.save_checkpoint({"step": step})
