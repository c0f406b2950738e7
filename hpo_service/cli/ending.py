"""Watching a study to its end, and what is printed then: the best configuration, its curve, how to go on."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from hpo_service.cli.base import INTERRUPTED, Session

if TYPE_CHECKING:
    from hpo_service.client import Study


def watch_to_end(session: Session, study: Study) -> None:
    """Shows progress until the study ends; exits with 1 when it failed. Ctrl-C leaves the study running."""
    import typer

    from hpo_service.client.display import open_display

    display = None if session.json else open_display(session.console)
    try:
        study.wait(progress=display.show if display else False)
    except KeyboardInterrupt:
        if display is not None:
            display.close()
        sys.stderr.write(f"{study.name} goes on; watch it again with: hpo watch {study.id}\n")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        if display is not None:
            display.close()
    if session.json:
        session.emit(study.info.to_json())
    else:
        tell_end(session, study)
    if study.state == "failed":
        raise typer.Exit(1)


def tell_end(session: Session, study: Study) -> None:
    """The best configuration, its curve, the page's address, the next commands."""
    from hpo_service.cli.render import curve_lines
    from hpo_service.client import text
    from hpo_service.errors import HpoError

    info, console = study.info, session.console
    console.print(Text(f"{info.name} {info.state}" + (f": {info.reason}" if info.reason else ""), style="bold"))
    if info.best is not None:
        value = text.metric_value(info.best.value, info.metric)
        resource = text.number(info.best.resource)
        console.print(Text(f"best {info.metric} {value}: trial {info.best.trial} at resource {resource}"))
        if info.best.breaks:
            console.print(Text(f"no trial is known to keep all constraints; this one {info.best.breaks}"))
        width = max(map(len, info.best.params), default=0)
        for name, one in info.best.params.items():
            console.print(Text(f"  {name:<{width}}  {text.number(one)}"))
        with contextlib.suppress(HpoError):  # a curve is worth having, not worth failing for
            for curve in study.curves(trials=[info.best.trial]).trials:
                for line in curve_lines(curve, info.metric):
                    console.print(Text(line), soft_wrap=True)
    console.print(Text(f"{info.trials:,} trials, {text.dollars(info.cost_microdollars)}; page: {study.url}"))
    console.print(Text("go on with:"))
    for command, meaning in next_commands(study):
        console.print(Text(f"  {command:<56} {meaning}"), soft_wrap=True)


def next_commands(study: Study) -> list[tuple[str, str]]:
    """Commands that make sense after the end, with what they do."""
    place = study.id
    if study.state == "failed":
        return [(f"hpo show {place}", "why"), (f"hpo resume {place}", "try again")]
    order = "-value" if study.info.maximize else "value"
    found = [(f"hpo trials {place} --sort {order} --limit 10", "the best trials")]
    if study.info.best is not None and not study.info.external:
        found.append((f"hpo best {place} --checkpoint best.pt", "the trained model"))
    if study.info.best is not None and study.info.definition.get("confirms") is None:
        found.append((f"hpo confirm {place} --watch", "is the winner real? the best again, with new seeds"))
    if study.info.counts.get("failed"):
        found.append((f"hpo retry {place} --failed", "try failed trials again"))
    return [*found, (f"hpo change {place} {' '.join(_larger(study, study.info.reason))}", "go on with a larger budget")]


def after_change(study: Study, reason: str, patch: Mapping[str, Any]) -> list[str]:
    """What to know of a change of a study that had finished for that reason: why it stays so, or may end again."""
    named = reason.partition(":")[0].removeprefix("budget.")
    raising = f"hpo change {study.id} {' '.join(_larger(study, reason))}"
    if study.state == "finished":
        return [f"it stays finished, as no bound that ended it was raised ({reason}); go on with: {raising}"]
    if reason.startswith("budget.") and named not in (patch.get("budget") or {}):
        return [f"it had ended by another bound, and ends again where that still holds ({reason}): {raising}"]
    return []


def _larger(study: Study, reason: str) -> list[str]:
    """The changes that let the study go on: twice the bound that the reason names. Raising another would do nothing."""
    budget = study.info.definition.get("budget") or {}
    named = reason.partition(":")[0].removeprefix("budget.")
    bound = budget.get(named)
    if named in ("resource", "hours", "dollars", "patience") and isinstance(bound, int | float):
        return [f"budget.{named}={2 * bound:g}"]
    rule = ["budget.patience=null"] if named == "patience" else []
    rule += ["budget.worth=null"] if rule and budget.get("worth") else []
    return [*rule, f"budget.trials={2 * max(1, study.info.trials)}"]
