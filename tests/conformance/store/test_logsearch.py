"""Searching logs: every line that holds the text is found once, wherever pieces and pages end."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo_service.errors import InvalidInput
from hpo_service.store import logs, logsearch
from hpo_service.store.logsearch import Wanted
from tests.storelib import World


def find(world: World, text: str, *, limit: int = 100, work: int = 1 << 20, **where: int) -> list[tuple[int, int, int]]:
    """Places of all matching lines, page by page."""
    wanted, cursor, found = Wanted(study_id=world.id, search=text, **where), None, []
    while True:
        page = logsearch.search_logs(world.db, wanted, cursor=cursor, limit=limit, work_chars=work)
        assert len(page.rows) <= limit
        found += [(row.trial, row.fence, row.line) for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            return found


def write(world: World, trial: int, *pieces: str, fence: int = 1) -> None:
    for piece in pieces:
        logs.append_logs(world.db, [(world.id, trial, fence, piece)])


def test_lines_are_found_over_pieces_trials_and_attempts(world: World) -> None:
    world.start(3)
    write(world, 0, "epoch 1 lo", "ss NaN\nepoch 2", " loss 0.5\n")
    write(world, 2, "nothing\n", "loss nan\n")
    world.collect(world.report(0, 8, 0.5), world.ended(0))
    world.go_on(0)
    write(world, 0, "again: LOSS nan", fence=2)
    assert find(world, "loss nan") == [(0, 1, 1), (0, 2, 1), (2, 1, 2)]
    assert find(world, "loss nan", limit=1, work=1) == [(0, 1, 1), (0, 2, 1), (2, 1, 2)]
    assert find(world, "epoch 2 loss") == [(0, 1, 2)]
    assert find(world, "loss", trial=0) == [(0, 1, 1), (0, 1, 2), (0, 2, 1)]
    assert find(world, "loss", trial=0, fence=2) == [(0, 2, 1)]
    assert find(world, "epoch%") == []
    other = World(world.db)
    other.start(1)
    assert find(other, "loss") == []


def test_a_long_line_is_cut_around_what_was_found(world: World) -> None:
    world.start(1)
    write(world, 0, "x" * 5000 + "needle" + "y" * 5000 + "\n")
    (row,) = logsearch.search_logs(world.db, Wanted(study_id=world.id, search="NEEDLE")).rows
    assert "needle" in row.text
    assert len(row.text) == logsearch.MOST_SHOWN + 2


def test_a_cursor_goes_on_with_the_search_that_it_began_with(world: World) -> None:
    world.start(1)
    write(world, 0, "one\none\n")
    page = logsearch.search_logs(world.db, Wanted(study_id=world.id, search="one"), limit=1)
    assert page.next_cursor is not None
    with pytest.raises(InvalidInput, match="cursor"):
        logsearch.search_logs(world.db, Wanted(study_id=world.id, search="two"), cursor=page.next_cursor)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 2), st.text(alphabet="abAB\nİ é", max_size=12)), min_size=1, max_size=12),
    st.text(alphabet="abé", min_size=1, max_size=3),
    st.integers(1, 3),
    st.integers(1, 20),
)
def test_pages_together_are_what_looking_at_every_line_finds(
    world: World, written: list[tuple[int, str]], search: str, limit: int, work: int
) -> None:
    one = World(world.db)
    one.start(3)
    for trial, text in written:
        write(one, trial, text)
    expected = [
        (trial, 1, number)
        for trial in range(3)
        for number, line in enumerate("".join(text for t, text in written if t == trial).split("\n"), start=1)
        if search.lower() in line.lower()
    ]
    assert find(one, search, limit=limit, work=work) == expected
