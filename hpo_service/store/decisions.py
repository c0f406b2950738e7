"""Verbs of deciding: leases, committed proposals, attempts opened again, the log. One place to find them."""

from __future__ import annotations

from hpo_service.store.collecting import lose_attempts
from hpo_service.store.committing import commit
from hpo_service.store.leases import release_leases, renew_leases, take_lease
from hpo_service.store.logreading import each_decision, each_event, latest_entries, load_events
from hpo_service.store.methods import choose_methods
from hpo_service.store.reopening import interrupted, last_placements, never_begun, open_attempts, reopen

__all__ = [
    "choose_methods",
    "commit",
    "each_decision",
    "each_event",
    "interrupted",
    "last_placements",
    "latest_entries",
    "load_events",
    "lose_attempts",
    "never_begun",
    "open_attempts",
    "release_leases",
    "renew_leases",
    "reopen",
    "take_lease",
]
