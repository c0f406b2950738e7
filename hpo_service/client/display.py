"""What `wait(progress=True)` and `hpo watch` show: a live panel on a terminal, a line per notable change elsewhere.

Here: turning a `View` into text. Not here: asking the server (`study_operations`), formats (`text`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpo_service.client import text
from hpo_service.client.results import Rung, StudySnapshot, TrialSnapshot, View

STATE_STYLES = {
    "preflight": "cyan",
    "waiting": "dim",
    "running": "blue",
    "paused": "yellow",
    "finished": "green",
    "stopped": "magenta",
    "failed": "red",
}
RUNGS_SHOWN = 12


class Display(Protocol):
    """Shows views until it is closed."""

    def show(self, view: View) -> None: ...

    def close(self) -> None: ...


def open_display(console: Console | None = None) -> Display:
    """A live panel where the console is a terminal, else one line per notable change."""
    console = console or Console()
    return LivePanel(console) if console.is_terminal else Narrator(console)


class LivePanel:
    """One panel that is drawn anew in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._started = False

    def show(self, view: View) -> None:
        if not self._started:
            self._live.start()
            self._started = True
        self._live.update(panel(view), refresh=True)

    def close(self) -> None:
        if self._started:
            self._live.stop()


class Narrator:
    """A line each time the state, the best value, a rung or another tenth of the budget changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[str, Any] = {}

    def show(self, view: View) -> None:
        for topic, mark, line in notable(view):
            if self._told.get(topic) != mark:
                self._told[topic] = mark
                self._console.print(Text(line), soft_wrap=True)

    def close(self) -> None:
        """Nothing is held."""


def notable(view: View) -> list[tuple[str, Any, str]]:
    """(topic, mark, line): a topic's line is worth telling when its mark has changed."""
    study = view.study
    found: list[tuple[str, Any, str]] = []
    reason = f" ({study.reason})" if study.reason else ""
    found.append(("state", (study.state, study.reason), f"{study.name}: {study.state}{reason}"))
    for rung in view.rungs:
        best = rung.best(maximize=study.maximize)
        if rung.complete or (rung.full and study.ended and best is not None):
            found.append((f"rung {rung.bracket}/{rung.rung}", True, f"{study.name}: {_rung_line(rung, study)}"))
    if study.best is not None:
        found.append(("best", (study.best.trial, study.best.value), f"{study.name}: best {best_line(study)}"))
    done = fraction_done(study)
    if done is not None:
        bound, part = done
        line = f"{study.name}: {text.percent(part)} of {bound}, {study.trials} trials, {cost_line(study)}"
        found.append(("budget", int(10 * part), line))
    return found


def _rung_line(rung: Rung, study: StudySnapshot) -> str:
    place = f"rung {rung.rung}" + (f" of bracket {rung.bracket}" if rung.bracket is not None else "")
    best = text.metric_value(rung.best(maximize=study.maximize), study.metric)
    trials = f"{rung.entered} trial{'s' if rung.entered != 1 else ''}"
    return f"{place} (resource {text.number(rung.resource)}) is full: {trials}, best {best}"


_ENDED = ("finished", "stopped", "failed")


def fraction_done(study: StudySnapshot) -> tuple[str, float] | None:
    """The bound of the budget that is nearest to its end, and how much of it is used; None without a bound.

    Paused trials count when the study has ended, as nothing goes on with them.
    """
    budget: Mapping[str, Any] = study.definition.get("budget") or {}
    spent: dict[str, float] = {
        "trials": sum(study.counts.get(state, 0) for state in (*_ENDED, *(("paused",) if study.ended else ()))),
        "resource": study.resource,
        "hours": elapsed_s(study) / 3600,
        "dollars": study.cost_dollars,
    }
    parts = [
        (f"budget.{name} = {text.number(budget[name])}", min(1.0, used / budget[name]))
        for name, used in spent.items()
        if isinstance(budget.get(name), int | float) and budget[name] > 0
    ]
    return max(parts, key=lambda part: part[1]) if parts else None


def elapsed_s(study: StudySnapshot) -> float:
    """Seconds since the first dispatch, until the end."""
    if study.started_at is None:
        return 0.0
    end = study.ended_at if study.ended and study.ended_at is not None else datetime.now(UTC)
    return max(0.0, (end - study.started_at).total_seconds())


def best_line(study: StudySnapshot) -> str:
    """`97.8 % (trial 17 at resource 27): lr=… batch_size=…`, or that there is none."""
    best = study.best
    if best is None:
        return "none yet"
    value = text.metric_value(best.value, study.metric)
    kept = f"; no trial is known to keep all constraints, this one {best.breaks}" if best.breaks else ""
    where = f"trial {best.trial} at resource {text.number(best.resource)}{kept}"
    return f"{value} ({where}): {text.parameters(best.params)}"


def reason_of(trial: TrialSnapshot) -> str:
    """Why the trial is where it is; of one that came to the end of a segment, what it waits for."""
    if trial.state == "paused" and trial.reason in ("", "reached"):
        return f"paused at resource {text.number(trial.resource)}: goes on when the search calls for it"
    return trial.reason


def cost_line(study: StudySnapshot) -> str:
    """Cost, time and resource: `$0.0123, 2 min, resource 812`."""
    return (
        f"{text.dollars(study.cost_microdollars)}, {text.duration(elapsed_s(study))}, "
        f"resource {text.number(study.resource)}"
    )


def panel(view: View) -> RenderableType:
    """Everything of a view: bar, best, cost, rung table, running trials."""
    study = view.study
    rows: list[RenderableType] = [_bar(study), _facts(study)]
    if view.rungs:
        rows.append(rung_table(view.rungs, study))
    if view.running:
        rows.append(_running(view.running, study))
    style = STATE_STYLES.get(study.state, "white")
    title = Text.assemble((study.name, "bold"), "  ", (study.state, style))
    return Panel(Group(*rows), title=title, title_align="left", subtitle=study.id, subtitle_align="right")


def _bar(study: StudySnapshot) -> RenderableType:
    done = fraction_done(study)
    line = Table.grid(padding=(0, 1), expand=True)
    line.add_column(ratio=1)
    line.add_column(no_wrap=True)
    if study.ended:
        line.add_row(ProgressBar(total=1, completed=1), Text(study.reason or study.state))
    elif done is None:
        line.add_row(ProgressBar(total=None, pulse=True), Text("no bound in sight"))
    else:
        line.add_row(ProgressBar(total=1, completed=done[1]), Text(f"{text.percent(done[1])} of {done[0]}"))
    return line


def _facts(study: StudySnapshot) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    metric = study.metric or "objective"
    grid.add_row("best", Text(f"{metric} {best_line(study)}" if study.best else "none yet"))
    grid.add_row("trials", Text(f"{study.trials:,}: {text.state_counts(study.counts)}"))
    grid.add_row("cost", Text(cost_line(study)))
    if study.reason and not study.ended:
        grid.add_row("reason", Text(study.reason))
    return grid


def rung_table(rungs: Sequence[Rung], study: StudySnapshot) -> Table:
    """The rung table, the newest brackets last; older rows beyond a screenful are counted, not shown."""
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for name in ("bracket", "rung", "resource", "entered", "promoted", "best"):
        table.add_column(name, justify="right")
    shown = list(rungs)[-RUNGS_SHOWN:]
    for rung in shown:
        entered = f"{rung.entered}/{rung.size}" if rung.size else str(rung.entered)
        table.add_row(
            "–" if rung.bracket is None else str(rung.bracket),
            str(rung.rung),
            text.number(rung.resource),
            entered,
            str(rung.promoted),
            text.metric_value(rung.best(maximize=study.maximize), study.metric),
            style="dim" if rung.complete else "",
        )
    if len(rungs) > len(shown):
        table.caption = f"the last {len(shown)} of {len(rungs)} rungs"
    return table


def _running(trials: tuple[TrialSnapshot, ...], study: StudySnapshot) -> Table:
    metric = study.metric
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for name in ("running", "resource", metric or "value"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("parameters", overflow="ellipsis", no_wrap=True)
    for trial in trials:
        target = trial.target
        goal = f"/{text.number(target)}" if target is not None and target < float("inf") else ""
        table.add_row(
            str(trial.number),
            text.number(trial.resource) + goal,
            text.metric_value(trial.value, metric),
            Text(text.parameters(trial.params)),
        )
    return table
