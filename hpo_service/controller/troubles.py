"""Telling one study's troubles from everybody's: a definition, a sampler or a log that breaks its own pass must not
keep other studies from going on, nor the study wait in silence. Decides nothing else."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from hpo_service.core.states import StudyState
from hpo_service.errors import Conflict, InvalidInput, NotFound, Unavailable
from hpo_service.store import studies
from hpo_service.store.database import Database

TRIES = 3
"""How often in a row a study may break its own pass before it is paused, with the reason."""
log = logging.getLogger(__name__)


class StudyBroken(Exception):
    """Something about one study cannot be carried out."""


@contextlib.contextmanager
def blamed() -> Iterator[None]:
    """What goes wrong in here is the study's own, unless it is the database's or somebody else was faster.

    Raises StudyBroken; Conflict (DecisionMoved too), NotFound and Unavailable pass through.
    """
    try:
        yield
    except (Conflict, NotFound, Unavailable):
        raise
    except InvalidInput as error:
        raise StudyBroken(str(error)) from error
    except Exception as error:
        raise StudyBroken(f"{type(error).__name__}: {error}") from error


class Troubles:
    """How often each study broke its pass, in a row."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._counts: dict[str, int] = {}

    def over(self, study_id: str) -> None:
        """A pass of the study went well."""
        self._counts.pop(study_id, None)

    def add(self, study_id: str, error: StudyBroken) -> None:
        """The study broke its pass: pause it, with the reason, when that happens again and again."""
        log.error("study %s cannot go on: %s", study_id, error, exc_info=error)
        self._counts[study_id] = self._counts.get(study_id, 0) + 1
        if self._counts[study_id] < TRIES:
            return
        del self._counts[study_id]
        reason = f"the controller cannot go on with it: {error}; resume it to try again"
        with contextlib.suppress(Conflict, NotFound):
            studies.set_state(self._db, study_id, StudyState.PAUSED, reason)
