"""Data of the recipes: read, split by seed, prepared with training statistics, cached per process.

The test part of a split is cut off here: no search ever sees it. A confirmation asks for it, to measure its trained
models.
"""

from workers.data.prepare import Fold, TaskData, load_task
from workers.data.subset import share_of

__all__ = ["Fold", "TaskData", "load_task", "share_of"]
