"""The database's counts as Prometheus families. Sums that the store keeps up to date."""

from __future__ import annotations

import time
from collections.abc import Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from hpo_service.store import heads, reading
from hpo_service.store.database import Database

REPORTS_EVERY_S = 60.0


class Counting:
    """Counts when asked; the stored reports, which nobody keeps a sum of, at most once a minute."""

    def __init__(self, db: Database, lease_s: float) -> None:
        self._db = db
        self._lease_s = lease_s
        self._reports = 0
        self._counted_at = -REPORTS_EVERY_S

    def families(self) -> list[Metric]:
        """The families as they stand. Raises Unavailable."""
        now = time.monotonic()
        if now - self._counted_at >= REPORTS_EVERY_S:
            self._reports, self._counted_at = heads.reports_stored(self._db), now
        return families(self._db, self._lease_s, self._reports)


def families(db: Database, lease_s: float, reports: int) -> list[Metric]:
    """Studies, trials and workers by state, open attempts, resource, cost, stored reports, and the age of the oldest
    lease (`lease_s` is how long one lasts). Raises Unavailable."""
    found = reading.counters(db)
    leadership = heads.leadership(db)
    dollars = CounterMetricFamily("hpo_cost_microdollars", "What attempts cost so far, micro-dollars.")
    dollars.add_metric([], found["cost_microdollars"])
    families: list[Metric] = [
        _by_state("hpo_studies", "Studies by state.", found["studies"]),
        _by_state("hpo_trials", "Trials by state.", found["trials"]),
        _by_state("hpo_workers", "Warm workers by state.", found["workers"]),
        _plain("hpo_open_attempts", "Attempts under way.", found["open_attempts"]),
        _plain("hpo_resource", "Sum of the trials' progress.", found["resource"]),
        _plain("hpo_reports_stored", "Reports in the database.", reports),
        _plain("hpo_studies_without_controller", "Studies that should run and nobody leads.", leadership.without),
        dollars,
    ]
    if leadership.soonest_end_s is not None:
        age = max(lease_s - leadership.soonest_end_s, 0.0)
        families.append(_plain("hpo_controller_lease_age_seconds", "Since the oldest lease was renewed.", age))
    return families


def _plain(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _by_state(name: str, text: str, counts: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["state"])
    for state, count in counts.items():
        family.add_metric([state], count)
    return family
