"""What a report says was found: the winner, how sure that is, and the best trials."""

from __future__ import annotations

import math

from hpo_service.core import constraints
from hpo_service.core import ensemble as ensembles
from hpo_service.core.confirmation import Spread
from hpo_service.report import pictures
from hpo_service.report.blocks import Block, Callout, Facts, Notes, Section, Table, Text, Tone
from hpo_service.report.gathering import Gathered, finite
from hpo_service.report.wording import difference, dollars, duration, listed, metric, number, parameters, plural
from hpo_service.store.rows import TrialRow
from hpo_service.views.confirmation import Confirmed, telling

TONES: dict[str, Tone] = {"real": "good", "noise": "warn", "luck": "bad"}


def verdict(found: Gathered) -> list[Block]:
    """How sure the winner is, in a sentence."""
    given = found.given
    if given.own is not None:
        return _said(given.own)
    if found.best is None:
        return []
    broken = constraints.breaks(found.definition.constraints, found.best.values)
    if broken:
        return [Callout(f"No trial is known to keep all constraints; trial {found.best.number} {broken}.", "bad")]
    if given.confirmations:
        return _said(telling(given.confirmations))
    return [
        Callout(
            "Not confirmed: whether the winner is real, or was lucky with its seed, has not been asked. "
            f"hpo confirm {found.study.id} --top 5 --seeds 5 asks it.",
            "plain",
        )
    ]


def _said(one: Confirmed) -> list[Block]:
    words = " ".join(part for part in (one.verdict.words, one.test_words) if part)
    return [Callout(words, TONES.get(one.verdict.kind, "plain"))]


def sections(found: Gathered) -> list[Section]:
    """The winner, its confirmation, the best trials."""
    if found.given.own is not None:
        return [
            Section(
                f"New seeds of {found.given.own.search_name or 'a deleted study'}", confirmation(found, found.given.own)
            )
        ]
    if found.best is None:
        return [Section("What was found", [Text(_nothing(found))])]
    made = [Section("The winner", _winner(found, found.best))]
    if found.given.confirmations:
        newest = telling(found.given.confirmations)
        made.append(Section("Is the winner real?", confirmation(found, newest)))
    return [*made, Section("The best trials", [_top(found)])]


def _nothing(found: Gathered) -> str:
    if found.study.next_trial == 0:
        return "No trial has been started."
    return "No trial has a finite value of the objective yet."


def _winner(found: Gathered, best: TrialRow) -> list[Block]:
    objective, defaults = found.definition.objective, found.baseline
    space = found.definition.search_space
    names = [name for name in space.parameters if name in best.params]
    rows = [[name, number(best.params[name])] for name in names]
    head = ["parameter", f"trial {best.number}"]
    if defaults is not None and defaults.number != best.number:
        head.append(f"baseline (trial {defaults.number})")
        for row, name in zip(rows, names, strict=True):
            row.append(number(defaults.params.get(name)))
    by = f" Of several objectives the first one, {objective.metric}, decides." * (len(found.definition.objectives) > 1)
    caption = _against_baseline(found, best) + by
    table = Table(head, rows, numeric=frozenset(range(1, len(head))), caption=caption)
    others = [(name, metric(value, name)) for name, value in best.values.items() if name != objective.metric][:12]
    facts = [
        (objective.metric, metric(best.value, objective.metric)),
        *others,
        ("Constraints", _kept(found, best)),
        ("Trained to", f"resource {number(best.resource)}{_of_horizon(best)}" if best.resource > 0 else ""),
        ("Training took", duration(best.seconds) if best.seconds >= 0.05 else ""),
        ("How far chance reaches", _chance(found)),
    ]
    return [table, Facts([(name, value) for name, value in facts if value])]


def _kept(found: Gathered, best: TrialRow) -> str:
    """What it keeps of what it has to, or what it breaks."""
    bounds = found.definition.constraints
    return constraints.breaks(bounds, best.values) or (f"keeps {listed(list(map(str, bounds)))}" if bounds else "")


def _of_horizon(best: TrialRow) -> str:
    if best.horizon is None or not math.isfinite(best.horizon) or best.horizon <= best.resource:
        return ""
    return f" of {number(best.horizon)}, where its learning rate would have ended"


def _against_baseline(found: Gathered, best: TrialRow) -> str:
    baseline, objective = found.baseline, found.definition.objective
    if baseline is None or baseline.number == best.number or baseline.value is None or not finite(baseline.value):
        return "The winning configuration."
    if best.value is None:
        return "The winning configuration."
    name = objective.metric
    said = f"The defaults came to {metric(baseline.value, name)} (at resource {number(baseline.resource)})"
    if baseline.resource != best.resource:
        return f"{said}, trained less far than the winner."
    apart = abs(best.value - baseline.value)
    better = f"better by {difference(apart, name, of=best.value)}" if apart else "no better"
    return f"{said}; the winner is {better}."


def _chance(found: Gathered) -> str:
    final, name = found.final, found.definition.objective.metric
    if final is None or final.low is None or final.high is None:
        return ""
    far = final.low if found.definition.objective.maximize else final.high
    return (
        f"a search of as many trials ({final.n:,} at this resource) would come at least to {metric(far, name)} "
        "19 times in 20 (bootstrap)"
    )


def _top(found: Gathered) -> Table:
    objective, bounds = found.definition.objective, found.definition.constraints
    rows = [
        [str(row.number), metric(row.value, objective.metric), number(row.resource), f"{row.seconds:,.0f}",
         parameters(row.params)]
        for row in found.top
    ]  # fmt: skip
    return Table(
        ["trial", objective.metric, "resource", "seconds", "parameters"],
        rows,
        numeric=frozenset({0, 1, 2, 3}),
        strong=frozenset({0}),
        caption="Ranked are trials by the resource they came to, then by value"
        + ("; those that keep all constraints, else those that break them least." if bounds else "."),
    )


def confirmation(found: Gathered, one: Confirmed) -> list[Block]:
    """What new seeds say: a picture, a table, remarks, the ensemble."""
    name = one.objective.metric
    tests = list(dict.fromkeys(test for each in one.configurations for test in each.test))
    others = list(dict.fromkeys(other for each in one.configurations for other in each.others))
    priced = any(each.cost_microdollars for each in one.configurations)
    head = ["trial", "seeds", "search saw", "new seeds", "optimism", "p", *others, *tests]
    head += ["cost each"] if priced else []
    rows = []
    for place, each in enumerate(one.configurations):
        searched = each.searched
        saw = "–" if searched is None else metric(searched.value, name)
        if searched is not None and not searched.compares:
            saw += f" at {number(searched.resource)}"
        p = None if each.against is None else each.against.corrected
        rows.append([
            str(each.trial),
            f"{each.spread.n if each.spread else 0}" + (f", {each.failed} failed" if each.failed else ""),
            saw,
            _spread(each.spread, name),
            difference(each.optimism, name, of=each.spread.mean if each.spread else None),
            "the winner" if place == 0 else "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.2g}",
            *(_spread(each.others.get(other), other) for other in others),
            *(_spread(each.test.get(test), test) for test in tests),
            *(["–" if each.cost_microdollars is None else dollars(each.cost_microdollars / 1e6)] if priced else []),
        ])  # fmt: skip
    blocks: list[Block] = []
    figure = pictures.confirmation(one)
    if figure is not None:
        blocks.append(figure)
    blocks.append(
        Table(
            head,
            rows,
            numeric=frozenset(range(len(head))),
            strong=frozenset({0}),
            caption=f"Mean ± standard deviation over seeds (study {one.study.id}). p: the winner against this one, "
            "Welch's t-test, corrected after Holm.",
        )
    )
    remarks, told = list(one.verdict.notes), [each.spread for each in one.configurations if each.spread is not None]
    if one.verdict.cheapest is not None:
        remarks.append(f"The cheapest of those that cannot be told apart is trial {one.verdict.cheapest}.")
    if one.verdict.detectable is not None:
        shown = difference(one.verdict.detectable, name, of=next((spread.mean for spread in told), None))
        remarks.append(f"So many seeds show a difference of {shown} in {name} four times in five.")
    if told:
        remarks.append(f"Trained were {plural(sum(spread.n for spread in told), 'model')}.")
    blocks.append(Notes(remarks))
    return [*blocks, *_ensemble(found)]


def _spread(spread: Spread | None, name: str) -> str:
    if spread is None:
        return "–"
    return metric(spread.mean, name, spread.sd)


def _ensemble(found: Gathered) -> list[Block]:
    together = found.given.ensemble
    if together is None:
        return [Text(found.given.ensemble_note, quiet=True)] if found.given.ensemble_note else []
    rows = [
        [label, str(len(one.members)), metric(one.val, together.metric), metric(one.test, together.metric)]
        for label, one in (
            ("best single model", together.single), ("uniform", together.uniform), ("greedy", together.greedy)
        )
    ]  # fmt: skip
    return [
        Table(
            ["together", "models", f"validation {together.metric}", f"test {together.metric}"],
            rows,
            numeric=frozenset({1, 2, 3}),
            caption=ensembles.words(together, found.definition.objective.metric) + " " + found.given.ensemble_note,
        )
    ]
