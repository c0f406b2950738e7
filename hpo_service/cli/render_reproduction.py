"""What came of training a trial again, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from hpo_service.cli.render import table

_MOST = 40


def answer_sheet(document: Mapping[str, Any]) -> Group:
    """The verdict, how far each metric is apart, what differs in the environment, and what to look at."""
    equal = bool(document.get("equal"))
    parts: list[RenderableType] = [Text(str(document.get("verdict", "")), style="green" if equal else "bold red")]
    compared = document.get("comparison") or {}
    if not equal and compared.get("metrics"):
        parts.append(_metrics(compared["metrics"]))
    left_out = compared.get("left_out")
    if left_out:
        parts.append(Text(f"not compared, for they measure time: {', '.join(left_out)}", style="dim"))
    differing = document.get("environment") or []
    if differing:
        parts += [Text("\nThe environment differs in:"), _differences(differing)]
    change = document.get("code_change") or []
    if change:
        parts += [Text("\nThe changes on top of the commit differ:"), Text("\n".join(change[:_MOST]))]
    parts += [Text(f"→ {hint}", style="yellow") for hint in document.get("hints") or []]
    failure = document.get("failure") or {}
    if failure.get("traceback"):
        parts.append(Text(str(failure["traceback"]).rstrip()))
    return Group(*parts)


def _metrics(metrics: Mapping[str, Mapping[str, Any]]) -> RenderableType:
    made = table("metric", "reports", "differ", "from step", "at most apart", "relative", right=("reports", "differ"))
    for name, told in metrics.items():
        made.add_row(
            name,
            str(told.get("reports")),
            str(told.get("differ")),
            str(told.get("first_step", "–")),
            _number(told.get("absolute")),
            _number(told.get("relative")),
        )
    return made


def _differences(differing: list[Mapping[str, Any]]) -> RenderableType:
    made = table("what", "then", "now")
    for one in differing[:_MOST]:
        made.add_row(str(one["what"]), Text(_word(one.get("was"))), Text(_word(one.get("now"))))
    if len(differing) > _MOST:
        made.add_row(f"and {len(differing) - _MOST} more", "", "")
    return made


def _word(value: Any) -> str:
    return "–" if value is None else str(value)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
