"""The trials that no other one beats in every objective. Pure.

Compared are trials that came to their target and have a finite value of every objective: one that stopped half-way may
look cheap and fast only because it is not done. What breaks a constraint is shown beside them, and never on the front.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpo_service.core.definition import Objective
from hpo_service.core.tables import TOLERANCE
from hpo_service.views.columns import STATES, Bools, Floats, Ints, StudyColumns
from hpo_service.views.sampling import choose

POINTS = 2_000
MAX_FRONT = 3_000
"""A front is sent, and with three objectives or more searched, up to this size: beyond, nearly all trials are on it."""
BLOCK = 512


def pareto(columns: StudyColumns, mask: Bools) -> dict[str, Any]:
    """The front, and at most `POINTS` trials to compare it with, each column one objective."""
    objectives = columns.definition.objectives
    values = values_of(columns, objectives)
    done = compared(columns) & ~np.isnan(values).any(axis=1)
    feasible = columns.feasible
    rows = np.flatnonzero(done & feasible)
    front, whole = columns.remember("pareto", lambda: _front(values[rows], objectives))
    numbers = rows[front[:MAX_FRONT]]
    chosen_rows, chosen = choose(columns, mask, POINTS)
    points = chosen_rows[done[chosen_rows]]
    return {
        "objectives": [{"metric": one.metric, "direction": one.direction} for one in objectives],
        "front": {"number": numbers, "values": _by_objective(values, numbers), "size": int(front.size)},
        "points": {
            "number": points,
            "values": _by_objective(values, points),
            "matches": mask[points].astype(np.int8),
            "feasible": feasible[points].astype(np.int8),
        },
        "shown": int(points.size),
        "of": int(np.count_nonzero(done)),
        "infeasible": int(np.count_nonzero(done) - rows.size),
        "matching": int(np.count_nonzero(mask)),
        "chosen": chosen,
        "note": _note(int(front.size), len(objectives), whole=whole),
    }


def values_of(columns: StudyColumns, objectives: Sequence[Objective]) -> Floats:
    """Shape (n, objectives), NaN where missing or not finite."""
    missing = np.full(columns.n, np.nan)
    first = [columns.value]
    others = [columns.metrics.get(one.metric, missing) for one in objectives[1:]]
    return np.column_stack([*first, *others]) if columns.n else np.zeros((0, len(objectives)))


def compared(columns: StudyColumns) -> Bools:
    """Trials that came to their end: finished, or at rest at their target."""
    finished, paused = (columns.state == STATES.index(name) for name in ("finished", "paused"))
    there = columns.resource >= columns.target * (1 - TOLERANCE)
    found: Bools = finished | (paused & there)
    return found


def _front(values: Floats, objectives: Sequence[Objective]) -> tuple[Ints, bool]:
    signs = np.array([-1.0 if one.maximize else 1.0 for one in objectives])
    return front_of(values * signs)


def front_of(losses: Floats, *, most: int = MAX_FRONT) -> tuple[Ints, bool]:
    """Rows (ascending) that no other row dominates, and whether that is all of them; smaller is better, NaN-free.

    One and two objectives: a sort. More: blocks of rows in the order of their sum of ranks, so that whoever dominates
    a row comes before it; given up when more than `most` are found. Equal rows are on the front together.
    """
    if losses.shape[0] == 0:
        return np.zeros(0, dtype=np.int64), True
    if losses.shape[1] == 1:
        return np.flatnonzero(losses[:, 0] == losses[:, 0].min()), True
    if losses.shape[1] == 2:
        return _two(losses), True
    return _many(losses, most)


def _two(losses: Floats) -> Ints:
    order = np.lexsort((losses[:, 1], losses[:, 0]))
    first, second = losses[order, 0], losses[order, 1]
    lowest = np.minimum.accumulate(second)
    before = np.concatenate([[np.inf], lowest[:-1]])
    improves = second < before
    same = np.zeros(order.size, dtype=np.bool_)  # equal to the one before, and so on the front if that one is
    same[1:] = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
    leader = np.maximum.accumulate(np.where(same, 0, np.arange(order.size)))
    found: Ints = np.sort(order[improves[leader]])
    return found


def _many(losses: Floats, most: int) -> tuple[Ints, bool]:
    ranks = np.empty(losses.shape)
    for k in range(losses.shape[1]):
        ranks[:, k] = np.unique(losses[:, k], return_inverse=True)[1]
    order = np.argsort(ranks.sum(axis=1), kind="stable")
    kept: list[Ints] = []
    front = np.zeros((0, losses.shape[1]))
    count, rest = 0, order
    while rest.size:
        block, rest = rest[:BLOCK], rest[BLOCK:]
        block = block[~_dominated(losses[block], front)]
        block = block[~_dominated(losses[block], losses[block])]
        kept.append(block)
        count += block.size
        if count > most:
            return np.sort(np.concatenate(kept)[:most]), False
        new = losses[block]
        front = np.concatenate([front, new])
        if new.size and rest.size > 4 * BLOCK:  # few of the front's first rows strike out most of the rest
            rest = rest[~_dominated(losses[rest], new[:8])]
    return np.sort(np.concatenate(kept)), True


def _dominated(rows: Floats, by: Floats) -> Bools:
    """Whether each row is dominated by some row of `by`: nowhere better, and somewhere worse."""
    found = np.zeros(rows.shape[0], dtype=np.bool_)
    for start in range(0, by.shape[0], BLOCK):
        some = by[start : start + BLOCK]
        left = np.flatnonzero(~found)
        if not left.size:
            break
        no_worse = np.ones((left.size, some.shape[0]), dtype=np.bool_)
        better = np.zeros_like(no_worse)
        for k in range(rows.shape[1]):
            mine, theirs = rows[left, k][:, None], some[:, k][None, :]
            no_worse &= theirs <= mine
            better |= theirs < mine
        found[left] = (no_worse & better).any(axis=1)
    return found


def _by_objective(values: Floats, rows: Ints) -> list[Floats]:
    return [np.ascontiguousarray(values[rows, k]) for k in range(values.shape[1])]


def _note(size: int, objectives: int, *, whole: bool) -> str:
    if objectives == 1:
        return "The study has one objective: the front is its best value. Submit several objectives to weigh them."
    if not whole:
        return f"More than {MAX_FRONT:,} trials are on the front; shown are {size:,} of them."
    return f"The front has {size:,} trials; the first {MAX_FRONT:,} are shown." if size > MAX_FRONT else ""
