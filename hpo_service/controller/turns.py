"""Who takes its turn where: a study that a model decides for may think for seconds, on a thread of its own, so that
no other study waits for it. Knows nothing of what a turn does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from hpo_service.core.algorithm_specs import model_of
from hpo_service.core.definition import StudyDefinition

THREADS = 2
"""More would only share the same cores: what trains needs them."""


def thinks_long(definition: StudyDefinition) -> bool:
    """Whether a model of past trials chooses this study's configurations."""
    return model_of(definition.algorithm) is not None


class Turns:
    """The turns that are being taken elsewhere, at most one for each study. Without `open`, all are taken in line.

    Call everything from one thread; `wake` is called from others when a turn is over.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._pool: ThreadPoolExecutor | None = None
        self._taken: dict[str, Future[bool]] = {}

    def open(self) -> None:
        """From now on, long turns are taken on threads of their own."""
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="turn")

    def close(self) -> None:
        """Wait for the turns that are being taken, and take no more."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def taking(self, study_id: str) -> bool:
        """Whether a turn of the study is not over yet."""
        turn = self._taken.get(study_id)
        return turn is not None and not turn.done()

    def take(self, study_id: str, turn: Callable[[], bool], *, long: bool) -> bool | None:
        """The study's turn; what it returned, and None while it lasts. Raises what the turn raised."""
        if self._pool is None or not long:
            return turn()
        if self.taking(study_id):
            return None
        over = self._taken.pop(study_id, None)
        if over is not None:
            return over.result()
        taken = self._taken[study_id] = self._pool.submit(turn)
        taken.add_done_callback(lambda _: self._wake())
        return None

    def forget_all_but(self, study_ids: set[str]) -> None:
        """Nobody asks any more how the turns of other studies ended."""
        for study_id in set(self._taken) - study_ids:
            if self._taken[study_id].done():
                del self._taken[study_id]
