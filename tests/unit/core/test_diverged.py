"""A trial diverged where its attempt's reason says so, in the word that workers use."""

from __future__ import annotations

from hpo_service.core.history import DIVERGED
from workers.contract import FailureKind


def test_core_and_workers_have_the_same_word() -> None:
    assert FailureKind.DIVERGED == DIVERGED
    assert [kind for kind in FailureKind if kind.startswith(DIVERGED)] == [FailureKind.DIVERGED]
