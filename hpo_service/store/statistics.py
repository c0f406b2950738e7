"""Statistics of a young PostgreSQL database. Its server gathers them by itself, but about once a minute: until then it
knows nothing of tables that fill quickly, and finds a row of a study, even for a foreign key, by reading all of them.

So a process that has written a certain number of events has them gathered, unless somebody has. Done on a thread of its
own; that it failed costs time only. SQLite goes by its indexes alone.
"""

from __future__ import annotations

import contextlib
import logging
import threading

from sqlalchemy import Engine

AFTER = (200, 2_000, 20_000)
"""Events written by this process."""
PER_TRIAL = 10
"""Statistics are wanted where they know of fewer trials than events were written, by this factor."""
TABLES = ("studies", "trials", "attempts", "reports", "trial_params", "trial_values", "events", "improvements")
_KNOWN = "SELECT reltuples FROM pg_class WHERE oid = 'trials'::regclass"
log = logging.getLogger(__name__)


class Statistics:
    """Counts what is written, and has statistics gathered when it is time. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._guard = threading.Lock()
        self._events = 0
        self._thread: threading.Thread | None = None

    def wrote(self, events: int) -> None:
        """So many more events are committed."""
        with self._guard:
            before, self._events = self._events, self._events + events
            due = next((count for count in AFTER if before < count <= self._events), None)
            if due is None or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(target=self._gather, args=(due,), name="statistics", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Until what is being gathered is there."""
        if self._thread is not None:
            self._thread.join()

    def _gather(self, events: int) -> None:
        try:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
                if conn.exec_driver_sql(_KNOWN).scalar_one() < events / PER_TRIAL:
                    conn.exec_driver_sql(f"ANALYZE {', '.join(TABLES)}")
        except Exception as error:  # the server does it later
            with contextlib.suppress(ValueError):  # of a log that is closed already
                log.info("no statistics were gathered: %s", error)
