"""Tables and sheets of the command line: studies, trials, one study, comparisons. Formats are `client.text`'s."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hpo_service.client import text
from hpo_service.client.display import STATE_STYLES, best_line, cost_line, fraction_done, reason_of, rung_table
from hpo_service.client.results import (
    Attempt,
    Check,
    Compared,
    Comparison,
    Curve,
    Rung,
    StudySnapshot,
    TrialSnapshot,
    Validation,
    Worker,
)
from hpo_service.client.training import Methods

DEFAULT_COLUMNS = ("number", "state", "resource", "value", "seconds", "cost")
FIELDS = frozenset(TrialSnapshot.model_fields) | {"cost"}


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """A plain table with a bold head."""
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(
            column, justify="right" if column in right else "left", no_wrap=column not in ("params", "detail")
        )
    return made


def state(name: str) -> Text:
    return Text(name, style=STATE_STYLES.get(name, ""))


def studies_table(studies: Sequence[StudySnapshot]) -> Table:
    """One line per study, newest first."""
    now = datetime.now(UTC)
    made = table("id", "name", "state", "trials", "best", "cost", "created", right=("trials", "best", "cost"))
    for study in studies:
        made.add_row(
            study.id,
            Text(study.name),
            state(study.state),
            f"{study.trials:,}",
            text.number(study.best.value) if study.best else "–",
            text.dollars(study.cost_microdollars),
            text.ago(study.created_at, now),
        )
    return made


def study_sheet(study: StudySnapshot, rungs: Sequence[Rung], methods: Methods, url: str) -> RenderableType:
    """Everything about one study on one screen."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    done = fraction_done(study)
    rows: list[tuple[str, str | Text]] = [
        ("study", Text.assemble((study.name, "bold"), f"  {study.id}")),
        ("state", Text.assemble(state(study.state), f"  {study.reason}" if study.reason else "")),
        ("objective", f"{study.objective.get('direction', 'minimize')} {study.metric}"),
        ("constraints", "; ".join(_bound(one) for one in study.definition.get("constraints", ()))),
        ("algorithm", _options(study.definition.get("algorithm"))),
        ("picked", study.chosen.text if study.chosen else ""),
        ("begins from", study.warm_start.text if study.warm_start else ""),
        ("trainer", _options(study.definition.get("trainer"))),
        ("budget", _options(study.definition.get("budget")) + (f"  ({text.percent(done[1])} used)" if done else "")),
        ("trials", f"{study.trials:,}: {text.state_counts(study.counts)}"),
        ("best", best_line(study)),
        ("cost", cost_line(study)),
        ("parallel", f"{study.parallel}, priority {text.number(study.priority)}"),
        ("training", training_line(methods)),
        ("project", f"{study.project}, by {study.created_by or '–'}"),
        ("tags", ", ".join(study.tags)),
        ("notes", study.notes),
        ("page", url),
    ]
    for name, value in rows:
        if value:
            grid.add_row(name, value if isinstance(value, Text) else Text(value))
    return Group(grid, Text(), rung_table(rungs, study)) if rungs else grid


def training_line(methods: Methods) -> str:
    """Of how many structures trials train together; empty where nothing was chosen."""
    if not methods.items:
        return ""
    structures = f"{len(methods.items):,} structure{'s' if len(methods.items) > 1 else ''}"
    if not methods.fused:
        return f"one by one: {methods.items[0].reason}" if len(methods.items) == 1 else f"one by one, all {structures}"
    widest = max(item.width for item in methods.fused)
    return f"{len(methods.fused):,} of {structures} fused, up to {widest} lanes; lanes: {', '.join(methods.lanes)}"


def _options(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    shown = {name: one for name, one in value.items() if not isinstance(one, dict | list) and one not in (False, 0)}
    inner = [text.parameters(one) for one in value.values() if isinstance(one, dict) and one]
    name = str(shown.pop("name", ""))
    return " ".join(part for part in (name, text.parameters(shown), *inner) if part)


def _bound(constraint: Mapping[str, Any]) -> str:
    which = "at_most" if "at_most" in constraint else "at_least"
    return f"{constraint['metric']} {which.replace('_', ' ')} {text.number(constraint[which])}"


def usual_columns(trials: Sequence[TrialSnapshot]) -> list[str]:
    """What is shown of trials where nobody says: fields, what they break where they have constraints, parameters."""
    broken = ["breaks"] if any(trial.violations for trial in trials) else []
    return [*DEFAULT_COLUMNS, *broken, *parameter_columns(trials)]


def parameter_columns(trials: Sequence[TrialSnapshot]) -> list[str]:
    """`param.NAME` for every parameter that some trial has, in order of appearance."""
    return [f"param.{name}" for name in dict.fromkeys(name for trial in trials for name in trial.params)]


def cell(trial: TrialSnapshot, column: str, metric: str) -> str:
    """A column's value as people read it. A bare name may be a field, a parameter or a metric."""
    value = raw(trial, column)
    if column == "cost":
        return text.dollars(value)
    if column == "seconds":
        return text.duration(value)
    if column == "value":
        return text.metric_value(value, metric)
    if column == "reason":
        return reason_of(trial) or "–"
    name = column.removeprefix("metric.")
    return text.metric_value(value, name) if name in trial.values else text.number(value)


def raw(trial: TrialSnapshot, column: str) -> Any:
    """A column's value: a field of the trial, `param.NAME`, `metric.NAME`, or one of these by its bare name."""
    if column == "cost":
        return trial.cost_microdollars
    if column.startswith("param."):
        return trial.params.get(column.removeprefix("param."))
    if column.startswith("metric."):
        return trial.values.get(column.removeprefix("metric."))
    if column in FIELDS:
        value = getattr(trial, column)
        return value.isoformat() if isinstance(value, datetime) else value
    return trial.params.get(column, trial.values.get(column))


def trials_table(trials: Sequence[TrialSnapshot], columns: Sequence[str], metric: str) -> Table:
    """One line per trial."""
    heads = [column.removeprefix("param.").removeprefix("metric.") for column in columns]
    made = table(*heads, right=[head for head in heads if head != "state"])
    for trial in trials:
        made.add_row(
            *(state(trial.state) if column == "state" else Text(cell(trial, column, metric)) for column in columns)
        )
    return made


def trial_sheet(trial: TrialSnapshot, metric: str) -> RenderableType:
    """One trial on one screen, its attempts newest first."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    values = "  ".join(f"{name} {text.metric_value(value, name)}" for name, value in trial.values.items())
    rows: list[tuple[str, str | Text]] = [
        ("trial", f"{trial.number}"),
        ("state", Text.assemble(state(trial.state), f"  {why}" if (why := reason_of(trial)) else "")),
        ("origin", "" if trial.origin == "sampled" else trial.origin),
        ("params", text.parameters(trial.params)),
        ("value", f"{text.metric_value(trial.value, metric)} at {text.number(trial.resource)}"),
        ("metrics", values),
        ("constraints", trial.breaks or ("keeps all" if trial.feasible else "")),
        ("cost", f"{text.dollars(trial.cost_microdollars)}, {text.duration(trial.seconds)}"),
        ("tags", ", ".join(trial.tags)),
        ("notes", trial.notes),
    ]
    for name, value in rows:
        if value:
            grid.add_row(name, value if isinstance(value, Text) else Text(value))
    return Group(grid, Text(), attempts_table(trial.attempt_rows)) if trial.attempt_rows else grid


def attempts_table(attempts: Sequence[Attempt]) -> Table:
    """One line per attempt, newest first."""
    heads = ("attempt", "outcome", "from", "to", "worker", "trained", "time", "cost")
    made = table(*heads, "detail", right=("attempt", "from", "to", "time", "cost"))
    for one in reversed(attempts):
        is_open = one.state == "open"
        made.add_row(
            str(one.fence),
            state("running" if is_open else one.outcome or one.state),
            text.number(one.from_resource),
            text.number(one.resource),
            Text(one.worker_id or one.client_id or "–"),
            trained(one),
            text.duration(None if is_open else one.seconds),
            text.dollars(None if is_open else one.cost_microdollars),
            Text(one.reason),
        )
    return made


def trained(attempt: Attempt) -> str:
    """How the attempt was trained: `plain`, or `fused, lane 3 of 8`."""
    return attempt.method + (f", lane {attempt.lane + 1} of {attempt.width}" if attempt.width > 1 else "")


def trials_csv(trials: Sequence[TrialSnapshot], columns: Sequence[str]) -> str:
    """Comma separated values with a head line, exact numbers."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for trial in trials:
        writer.writerow(["" if (value := raw(trial, column)) is None else value for column in columns])
    return file.getvalue()


def curve_lines(curve: Curve, metric: str) -> list[str]:
    """A trial's curve as a small plot with a title."""
    lines = text.plot(curve.resource, curve.value, metric=metric)
    return [f"{metric} of trial {curve.number} over resource", *lines] if lines else []


def validation_sheet(found: Validation) -> RenderableType:
    """What a definition would run and cost."""
    lines = [Text("valid", style="green")]
    plan = found.plan
    trials = "as many as the budget allows" if plan.trials is None else f"{plan.trials:,}"
    resource = "as the budget allows" if plan.total_resource is None else text.number(plan.total_resource)
    lines.append(Text(f"trials: {trials}; total resource: {resource}"))
    lines += [Text(f"note: {note}") for note in plan.notes]
    estimate = found.estimate
    if estimate.get("dollars") is not None or estimate.get("hours") is not None:
        dollars = estimate.get("dollars")
        cost = "–" if dollars is None else text.dollars(round(dollars * text.MICRO))
        hours = estimate.get("hours")
        time = text.duration(None if hours is None else 3600 * hours)
        about = "" if cost.startswith("<") else "about "
        lines.append(Text(f"estimate: {about}{cost}, {time} ({estimate.get('basis', '')})"))
    elif estimate.get("basis"):
        lines.append(Text(f"estimate: {estimate['basis']}"))
    brackets = [bracket for bracket in plan.brackets if isinstance(bracket, dict)]
    return Group(*lines, _brackets(brackets)) if brackets else Group(*lines)


def _brackets(brackets: Sequence[dict[str, Any]]) -> Table:
    columns = list(dict.fromkeys(name for bracket in brackets for name in bracket))
    made = table(*columns, right=[column for column in columns if column not in ("label", "rungs")])
    for bracket in brackets:
        made.add_row(*(Text(_plain(bracket.get(column))) for column in columns))
    return made


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(one) for one in value)
    if isinstance(value, dict) and {"trials", "resource"} <= value.keys():
        return f"{text.number(value['trials'])} to resource {text.number(value['resource'])}"
    if isinstance(value, dict):
        return " ".join(f"{name} {_plain(one)}" for name, one in value.items())
    return text.number(value)


def comparison_sheet(found: Comparison) -> RenderableType:
    """Studies side by side, then the places where their definitions differ."""
    snapshots = [item.study for item in found.items]
    made = table("", *(study.name for study in snapshots))
    made.add_row("id", *(study.id for study in snapshots))
    made.add_row("state", *(state(study.state) for study in snapshots))
    made.add_row("trials", *(f"{study.trials:,}" for study in snapshots))
    made.add_row("resource", *(text.number(study.resource) for study in snapshots))
    made.add_row("cost", *(text.dollars(study.cost_microdollars) for study in snapshots))
    made.add_row("best", *(text.metric_value(s.best.value, s.metric) if s.best else "–" for s in snapshots))
    made.add_row("best so far", *(text.sparkline(_led(item)) for item in found.items))
    made.add_row("best at trial", *(str(s.best.trial) if s.best else "–" for s in snapshots))
    verdicts = [Text(f"\n{test.verdict}") for test in found.tests]
    if not found.differences:
        return Group(made, Text("\nThe definitions do not differ."), *verdicts)
    differing = table("differs in", *(study.name for study in snapshots))
    for difference in found.differences:
        differing.add_row(difference.path, *(Text(_plain(value)) for value in difference.values))
    return Group(made, Text(), differing, *verdicts)


def _led(item: Compared) -> list[float]:
    """The best value by then at whatever resource: a line that does not fall where a trial comes further."""
    known = (value for value in item.best_so_far.values if value is not None)
    return list(accumulate(known, max if item.study.maximize else min))


def workers_table(workers: Sequence[Worker]) -> Table:
    """One line per worker."""
    now = datetime.now(UTC)
    made = table("id", "node", "state", "device", "cpu", "gpu", "seen", right=("cpu", "gpu"))
    for worker in workers:
        made.add_row(
            worker.id,
            worker.node,
            worker.state,
            worker.device,
            text.number(worker.cpu),
            text.number(worker.gpu),
            text.ago(worker.seen_at, now),
        )
    return made


def checks_table(checks: Sequence[Check]) -> Table:
    """One line per check; the remedy under what is broken."""
    made = table("", "check", "detail")
    for check in checks:
        mark = Text("ok", style="green") if check.ok else Text("broken", style="bold red")
        made.add_row(mark, check.name, Text(check.detail))
        if check.remedy:
            made.add_row("", "", Text(f"→ {check.remedy}", style="yellow" if check.ok else "bold"))
    return made
