"""Trials that users asked to be trained again: taken up one after another, sent to a worker, and their answers stored.

They stand beside the studies: no state, no event and no budget of a study changes, and ended studies are served as well
as living ones. A reproduction whose worker is lost is tried again; where its controller is gone the next takes it up.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo_service.controller import orders
from hpo_service.controller.collector import cost_seconds
from hpo_service.controller.tried import Answers, Tried
from hpo_service.core.cost import Prices
from hpo_service.core.definition import parse
from hpo_service.errors import HpoError, Unavailable
from hpo_service.executors.base import Executor, Need
from hpo_service.store import records, reproductions, studies
from hpo_service.store.database import Database
from hpo_service.store.reproductions import ReproductionRow
from workers.contract import CancelMode, Launch, Outcome

log = logging.getLogger(__name__)
TRIES = 3
"""How often a reproduction is tried whose worker was lost."""
MOST = 8
"""So many are under way at a time, where workers are free; one where none is."""
LOOK_S = 0.5


@dataclass
class Reproducing:
    """The reproductions that this controller sees to. `joining` says whether the cluster may still grow."""

    db: Database
    executor: Executor
    answers: Answers
    prices: Prices
    storage_root: Path
    holder: str
    lease_s: float
    joining: Callable[[], bool]
    _open: dict[str, tuple[ReproductionRow, Launch]] = field(default_factory=dict)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))
    _looked: float = -1e9
    _renewed: float = -1e9

    def step(self) -> None:
        """Store what was answered and take up what waits. Raises Unavailable when the database is out of reach."""
        for reproduction_id in list(self._open):
            for tried in self.answers.take(reproduction_id, orders.REPRODUCTION_TRIAL):
                if reproduction_id in self._open:  # an end may be told twice, where it had to be stored twice
                    self._answered(reproduction_id, tried)
        now = time.monotonic()
        if now - self._renewed >= self.lease_s / 4:
            self._renewed = now
            self._renew()
        if now - self._looked >= LOOK_S:
            self._looked = now
            while self._has_room() and self._take_one():
                pass

    def close(self) -> None:
        """Let go of what is under way: another controller, or this one started again, takes it up."""
        ids = list(self._open)
        self._open.clear()
        if ids:
            reproductions.give_back(self.db, self.holder, ids)

    def _has_room(self) -> bool:
        if not self._open:
            return True
        _, launch = next(reversed(self._open.values()))
        need = Need(study_id=launch.orders[0].key.study_id, cpu=launch.cpu, gpu=launch.gpu)
        return len(self._open) < MOST and self.executor.free_workers(need) > 0

    def _take_one(self) -> bool:
        for row in reproductions.take(self.db, self.holder, lease_s=self.lease_s, most=1):
            try:
                return self._send(row)
            except Unavailable:
                raise
            except HpoError as error:
                self._fail(row.id, str(error))
            except Exception as error:
                log.exception("trial %s/%d cannot be reproduced", row.study_id, row.trial)
                self._fail(row.id, f"its record cannot be made: {type(error).__name__}: {error}")
            return True
        return False

    def _send(self, row: ReproductionRow) -> bool:
        """Send it to a worker; False where it has to wait, as all that come behind it."""
        definition = parse(studies.get_study(self.db, row.study_id).definition)
        record = records.trial_record(self.db, row.study_id, row.trial)
        launch = orders.reproduction_launch(
            definition, row.id, record, number=next(self._numbers), storage_root=self.storage_root
        )
        lacking = self.executor.can_ever_fit(launch.cpu, launch.gpu)
        if lacking is not None and self.joining():
            reproductions.give_back(self.db, self.holder, [row.id])
            return False
        if lacking is not None:
            self._fail(row.id, lacking)
            return True
        self._open[row.id] = (row, launch)
        self.executor.launch(launch)
        return True

    def _answered(self, reproduction_id: str, tried: Tried) -> None:
        row, launch = self._open[reproduction_id]
        if tried.key != launch.orders[0].key:
            return  # of an earlier try, given up since
        del self._open[reproduction_id]
        ended = tried.ended
        cost = self.prices.charge(cost_seconds(ended), cpu=launch.cpu, gpu=launch.gpu)
        spent: dict[str, Any] = {"seconds": ended.seconds, "cost_microdollars": cost}
        if tried.reproduced is not None:
            document = dict(tried.reproduced.document)
            reproductions.end(self.db, self.holder, row.id, document=document, **spent)
        elif ended.outcome is Outcome.LOST and row.losses + 1 < TRIES:
            reproductions.give_back(self.db, self.holder, [row.id], lost=True, cost_microdollars=cost)
        elif ended.outcome in (Outcome.PAUSED, Outcome.CANCELLED):
            reproductions.give_back(self.db, self.holder, [row.id], cost_microdollars=cost)
        else:
            reason = "\n".join(part for part in (ended.reason, ended.traceback) if part)
            if ended.outcome is Outcome.LOST:
                reason = f"its worker was lost {TRIES} times: {reason}"
            self._fail(row.id, reason or "the worker did not say why", **spent)

    def _fail(self, reproduction_id: str, reason: str, **spent: Any) -> None:
        reproductions.end(self.db, self.holder, reproduction_id, document=None, reason=reason, **spent)

    def _renew(self) -> None:
        """Keep the leases; what somebody else has by now, or was deleted with its study, is given up."""
        kept = reproductions.renew(self.db, self.holder, list(self._open), lease_s=self.lease_s)
        for reproduction_id in self._open.keys() - kept:
            _, launch = self._open.pop(reproduction_id)
            for order in launch.orders:
                self.executor.cancel(order.key, CancelMode.STOP)
