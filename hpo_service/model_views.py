"""When views of surrogates are made, and that they are stored: beside deciding, rarely enough to cost it nothing.

A view is due when a model chose a trial, and before a study ends. Whoever decides makes it, for there the fitted model
is. `open` puts the work on a thread of its own; without it, it is done in line. Nothing here decides, and nothing that
goes wrong here reaches who does: it is logged. What a view shows: `samplers.surrogate_view`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from hpo_service.decider import Decider
from hpo_service.errors import NotFound
from hpo_service.store import surrogate_views
from hpo_service.store.database import Database

log = logging.getLogger(__name__)
EVERY_S = 3.0
"""At most one view of a study in that time."""
STUDY_SHARE = 0.02
"""Making a study's views takes at most this share of a core: what takes 0.1 s is made every 5 s."""
THREAD_SHARE = 0.25
"""Making the views of all studies takes at most this share of a core."""


class SurrogateViews:
    """Makes the views of the studies that `decider` decides for, and tells it to say when one is due."""

    def __init__(
        self,
        db: Database,
        decider: Decider,
        *,
        clock: Callable[[], float] = time.monotonic,
        worked: Callable[[], float] = time.thread_time,
    ) -> None:
        self._db = db
        self._decider = decider
        self._clock = clock
        self._worked = worked  # seconds that this thread computed: waiting for a decision to end costs nobody anything
        self._due: dict[str, float] = {}  # when a study's next view may be made, for those that had one
        self._pending: dict[str, None] = {}  # studies with something new to look at, the longest waiting first
        self._changed = threading.Condition()
        self._making = threading.Lock()  # one at a time, so that a study's last view is stored last
        self._thread: threading.Thread | None = None
        self._closing = False
        decider.chose = self.chose
        decider.ending = self.ending

    def open(self) -> None:
        """From now on, views are made on a thread of their own."""
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="surrogate-views", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 10.0) -> None:
        """Make no more; returns when the one that is being made is stored."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout=timeout_s)
            self._thread = None

    def chose(self, study_id: str) -> None:
        """A model may have chosen trials of the study."""
        with self._changed:
            self._pending.setdefault(study_id)
            self._changed.notify()
        if self._thread is None and self._due.get(study_id, 0.0) <= self._clock():
            self._make(study_id, final=False)

    def ending(self, study_id: str) -> None:
        """The study is about to end: look at everything once more."""
        self._make(study_id, final=True)
        self.forget(study_id)

    def forget(self, study_id: str) -> None:
        """The study is decided for elsewhere, or no more."""
        with self._changed:
            self._pending.pop(study_id, None)
            self._due.pop(study_id, None)

    def _run(self) -> None:
        while (study_id := self._next()) is not None:
            took = self._make(study_id, final=False)
            with self._changed:
                self._changed.wait_for(lambda: self._closing, timeout=took / THREAD_SHARE - took)

    def _next(self) -> str | None:
        """The study whose view may be made, waiting for one; None when this closes."""
        with self._changed:
            while not self._closing:
                due = {study_id: self._due.get(study_id, 0.0) for study_id in self._pending}
                study_id = min(due, key=lambda one: due[one], default=None)
                wait_s = None if study_id is None else due[study_id] - self._clock()
                if study_id is not None and wait_s is not None and wait_s <= 0:
                    return study_id
                self._changed.wait(wait_s)
        return None

    def _make(self, study_id: str, *, final: bool) -> float:
        """Make and store one view; how many seconds of a core it took."""
        began = self._worked()
        with self._changed:
            self._pending.pop(study_id, None)
        try:
            with self._making:
                found = self._decider.view(study_id, final=final)
                if found is not None:
                    surrogate_views.put_view(self._db, study_id, seq=found.seq, document=found.document)
        except NotFound:
            log.info("study %s was deleted before its view was stored", study_id)
        except Exception:
            log.exception("the view of study %s could not be made; deciding goes on without it", study_id)
        took = self._worked() - began
        with self._changed:
            self._due[study_id] = self._clock() + max(EVERY_S, took / STUDY_SHARE)
        return took
