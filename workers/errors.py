"""The errors that workers raise on purpose, and the signal that ends an attempt.

    WorkerError(Exception)
    ├── InvalidOrderError    the order cannot be carried out: trainer, parameter or data file
    ├── ParameterError       the trainable asks for a parameter that its configuration does not hold
    ├── ReportError          a report breaks a rule: step order, value type (also a ValueError)
    ├── ArtifactError        what is to be kept is no file, too large or badly named (also a ValueError)
    └── StorageError         the checkpoint store cannot be written or read
        └── CheckpointError  one checkpoint is missing, damaged or unreadable
    AttemptEnd(BaseException)   ends an attempt at a report; `except Exception` in user code cannot swallow it

Nothing here acts: `workers.session` turns these into outcomes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WorkerError(Exception):
    """Base of what workers raise on purpose."""


class InvalidOrderError(WorkerError):
    """The order cannot be carried out; the message gives the rule, the value and the remedy."""


class ParameterError(WorkerError):
    """The trainable asks for a parameter that its configuration lacks, or with a range that excludes its value."""


class ReportError(WorkerError, ValueError):
    """A report breaks a rule."""


class ArtifactError(WorkerError, ValueError):
    """What was given to `Trial.artifact` cannot be kept."""


class StorageError(WorkerError):
    """The checkpoint store cannot be written or read."""


class CheckpointError(StorageError):
    """One checkpoint is missing, damaged or unreadable."""


class AttemptEnd(BaseException):
    """Ends the attempt. Derived from BaseException so that a user's `except Exception` lets it through."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`", did you mean 'x'?"` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
