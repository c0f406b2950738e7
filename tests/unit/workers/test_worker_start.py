"""What the first launch of a worker must not wait for."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import torch
from search_spaces import catalog
from workers.data import Fold, TaskData
from workers.loops.lanes import LaneLearner
from workers.recipes import image_classifier

params = catalog.complete("image_classifier", {"model": "cnn", "width": 2, "batch_size": 8})
x, y = torch.zeros(16, 1, 4, 4), torch.arange(16) % 2
data = TaskData(folds=(Fold(x_train=x, y_train=y, x_val=x, y_val=y),), classes=2, target_scale=(1.0,), identity={})
task = image_classifier.task(params, data, device="cpu")
LaneLearner([task] * 2, fold=0, seeds=[1, 2], horizons=[1.0] * 2).epoch([1, 1])
print("torch._dynamo" in sys.modules)
"""


def test_mapped_lanes_load_no_compiler() -> None:
    """torch's compiler takes most of a second to import, and is not used."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
