"""Data of the recipes: read, split by seed, prepared with training statistics, cached per process.

The test part of a split is cut off here and handed to nobody: the search never sees it.
"""

from workers.data.prepare import Fold, TaskData, load_task

__all__ = ["Fold", "TaskData", "load_task"]
