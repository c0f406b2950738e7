"""Comparisons as tables: plain text, Markdown, and JSON with every figure. Computes nothing: `statistics` did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hpo_service.bench.statistics import ALPHA, Against, Estimate, Friedman, Group, Row

BETTER, WORSE = "+", "−"


def regret(value: float) -> str:
    """.414, 1.0 for the worst: three digits, no zero in front."""
    said = f"{value:.3f}"
    return "1.00" if said.startswith("1") else said.removeprefix("0")


def cell(one: Estimate, against: Against | None = None) -> str:
    """.414 ±.012, with its sign where it differs from the reference."""
    mark = sign(against)
    return regret(one.mean) + (f" ±{regret(one.se)}" if one.se is not None else "") + (f" {mark}" if mark else "")


def sign(against: Against | None) -> str:
    """+ or − where significantly better or worse than the reference."""
    return "" if against is None else BETTER if against.better else WORSE if against.worse else ""


def head(group: Group) -> tuple[str, ...]:
    """The titles of `rows`' columns."""
    return ("method", *group.columns, "rank", "ms", "worst ms", "seeds")


def rows(group: Group) -> list[tuple[str, ...]]:
    """A row of text per method, the least mean regret first; `rank` is the average one, of the mean over readings."""
    ranks = _ranks(group)
    return [
        (
            row.method,
            *(cell(one, against) for one, against in zip(row.regret, row.against, strict=True)),
            f"{ranks[row.method]:.1f}" if row.method in ranks else "",
            milliseconds(row.decision_mean_ms),
            milliseconds(row.decision_worst_ms),
            _seeds(row, group),
        )
        for row in group.rows
    ]


def _ranks(group: Group) -> dict[str, float]:
    last = group.friedman[-1]
    return dict(last.rank) if last is not None else {}


def _seeds(row: Row, group: Group) -> str:
    short = f", {row.tasks} of {len(group.tasks)} tasks" if row.tasks < len(group.tasks) else ""
    return f"{row.seeds}{short}"


def milliseconds(value: float) -> str:
    """Two digits at most, but for whole numbers."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.095 else f"{value:.2f}"


def legend(group: Group) -> list[str]:
    """What a reader needs to know, a sentence a line."""
    said = [
        f"Regret: 0 is the best value known, 1 the median of random configurations or worse. Mean over "
        f"{len(group.tasks)} task{'s' if len(group.tasks) != 1 else ''} ± standard error over seeds.",
    ]
    if group.reference is not None:
        said.append(
            f"{BETTER} significantly better, {WORSE} worse than {group.reference} on these tasks "
            f"(Wilcoxon's signed-rank test over pairs of runs, Holm, p < {ALPHA:g})."
        )
    partial = [row.method for row in group.rows if row.method not in group.complete]
    if partial:
        said.append(f"On some of the tasks only, so neither ranked nor drawn: {', '.join(partial)}.")
    last = group.friedman[-1]
    if last is not None:
        said.append(told(last))
    return said


def told(one: Friedman) -> str:
    """The test of ranks in a sentence or two."""
    p = f"p = {one.p:.3f}" if one.p >= 0.001 else "p < 0.001"
    test = "Friedman, by permutations" if one.permuted else "Friedman with Iman and Davenport's correction"
    if one.p >= ALPHA:
        return f"Ranks over {one.tasks} tasks do not differ significantly ({test}, {p}): no two methods are told apart."
    return (
        f"Ranks over {one.tasks} tasks differ significantly ({test}, {p}); "
        f"two methods do where their ranks are more than {one.difference:.2f} apart (Nemenyi)."
    )


def text(groups: Sequence[Group]) -> str:
    """All groups for a terminal."""
    parts = []
    for group in groups:
        table = [head(group), *rows(group)]
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        lines = [
            "  ".join(
                value.ljust(width) if i <= len(group.columns) else value.rjust(width)
                for i, (value, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in table
        ]
        parts.append("\n".join([group.title, "", *lines, "", *legend(group)]))
    return "\n\n\n".join(parts) + "\n"


def markdown(groups: Sequence[Group]) -> str:
    """All groups for a document; the least of each column is bold."""
    parts = []
    for group in groups:
        best = group.least
        lines = ["| " + " | ".join(head(group)) + " |", "| --- |" + " ---: |" * (len(head(group)) - 1)]
        for row, said in zip(group.rows, rows(group), strict=True):
            cells = zip(said[1 : 1 + len(best)], row.regret, best, strict=True)
            whole = row.method in group.complete
            strong = [f"**{value}**" if whole and one.mean <= least else value for value, one, least in cells]
            lines.append("| " + " | ".join([said[0], *strong, *said[1 + len(best) :]]) + " |")
        parts.append("\n".join([f"### {group.title}", "", *lines, "", *(f"{s}  " for s in legend(group))]).rstrip())
    return "\n\n".join(parts) + "\n"


def document(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Every figure, for JSON."""
    found = []
    for group in groups:
        one = asdict(group)
        one["columns"] = list(group.columns)
        for row, given in zip(one["rows"], group.rows, strict=True):
            row["better_than_reference_at"] = _where(group, [a is not None and a.better for a in given.against])
            row["worse_than_reference_at"] = _where(group, [a is not None and a.worse for a in given.against])
        found.append(one)
    return found


def _where(group: Group, holds: Sequence[bool]) -> list[str]:
    return [column for column, held in zip(group.columns, holds, strict=True) if held]
