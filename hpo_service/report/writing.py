"""A report's sections in words, from what was gathered. Says no more than the numbers do; escapes nothing, for nothing
here is markup.
"""

from __future__ import annotations

from hpo_service.core.states import ENDED_STUDY, StudyState
from hpo_service.report import costs, finding, pictures, surroundings
from hpo_service.report.blocks import Block, Callout, Code, Facts, Report, Section, Table, Text, Tiles
from hpo_service.report.gathering import Gathered, finite
from hpo_service.report.wording import dollars, duration, listed, metric, moment, number, parameters, plural


def written(found: Gathered) -> Report:
    """The report of a study, empty and failed ones too."""
    study = found.study
    sections = [
        *finding.sections(found),
        *_curves(found),
        *_importance(found),
        *_front(found),
        Section("Method", _method(found)),
        Section("What it cost", costs.blocks(found)),
        *_failures(found),
        Section("Environment", surroundings.blocks(found)),
        Section("How to repeat it", _repeat(found)),
    ]
    return Report(
        title=study.name,
        under=" · ".join(
            [
                f"study {study.id}",
                f"project {study.project}",
                f"by {study.created_by}" if study.created_by else "",
                _dates(found),
            ]
        ).replace(" ·  · ", " · "),
        lead=_lead(found),
        sections=[section for section in sections if section.blocks],
        made=f"Written by hpo-service {found.given.version} on {moment(found.given.now)}.",
    )


def _dates(found: Gathered) -> str:
    study = found.study
    if study.started_at is None:
        return f"made {moment(study.created_at)}, not begun"
    return f"{moment(study.started_at)} to {moment(study.ended_at) if study.ended_at else 'now: it goes on'}"


def _lead(found: Gathered) -> list[Block]:
    study, objective = found.study, found.definition.objective
    blocks: list[Block] = []
    tiles = [("State", study.state.value, study.reason or study.ending_reason)]
    if found.best is not None and finite(found.best.value):
        far = f", at resource {number(found.best.resource)}" if found.best.resource > 0 else ""
        tiles.append((f"Best {objective.metric}", metric(found.best.value, objective.metric),
                      f"trial {found.best.number}{far}"))  # fmt: skip
    counts = [f"{count:,} {state}" for state, count in study.counts.items() if count]
    tiles.append(("Trials", f"{study.next_trial:,}", ", ".join(counts)))
    seconds = found.seconds
    tiles.append(("Spent", dollars(study.cost_microdollars / 1e6),
                  f"in {duration(seconds)}" if seconds is not None else "nothing was dispatched"))  # fmt: skip
    blocks.append(Tiles(tiles))
    if study.state is StudyState.FAILED:
        blocks.append(Callout(f"The study failed before anything was trained: {study.reason}", "bad"))
    elif study.state not in ENDED_STUDY:
        blocks.append(Callout("The study has not ended: all of this is what it has come to so far.", "warn"))
    blocks += finding.verdict(found)
    return blocks


def _curves(found: Gathered) -> list[Section]:
    figures = pictures.curves(found)
    if figures is None:
        return []
    return [Section("How it came about", [figures])]


def _importance(found: Gathered) -> list[Section]:
    told = found.importance
    if found.best is None:
        return []
    if not told["parameters"]:
        return [Section("Which parameters mattered", [Text(str(told["note"]), quiet=True)])] if told["note"] else []
    return [
        Section(
            "Which parameters mattered",
            [
                pictures.importance(found),
                Text(
                    "By PED-ANOVA (Watanabe et al. 2023): which parameters tell the best tenth of the trials from all "
                    f"of them. Compared are {told['chosen']} ({told['trials_used']:,} trials).",
                    quiet=True,
                ),
            ],
        )
    ]


def _front(found: Gathered) -> list[Section]:
    objectives = found.definition.objectives
    if len(objectives) < 2 or not found.front:
        return []
    shown = found.front[:20]
    rows = [
        [str(row.number), *(metric(row.values.get(o.metric), o.metric) for o in objectives), parameters(row.params)]
        for row in shown
    ]
    head = ["trial", *(f"{o.metric} ({o.direction})" for o in objectives), "parameters"]
    more = f"; {len(found.front) - len(shown)} more are on it" if len(found.front) > len(shown) else ""
    blocks: list[Block] = []
    figure = pictures.front(found)
    if figure is not None:
        blocks.append(figure)
    blocks.append(
        Table(
            head,
            rows,
            numeric=frozenset(range(len(objectives) + 1)),
            caption=f"Trials that no other one beats in every objective, best {objectives[0].metric} first{more}.",
        )
    )
    return [Section("Several objectives", blocks)]


def _method(found: Gathered) -> list[Block]:
    definition, spec = found.definition, found.definition.algorithm
    options = spec.model_dump(mode="json", exclude={"name"}, exclude_none=True)
    trainer = definition.trainer
    facts = [
        ("Objective", "; ".join(f"{o.direction} {o.metric}" + (" (best report)" if o.at == "best" else "")
                                for o in definition.objectives)),
        ("Constraints", "; ".join(map(str, definition.constraints))),
        ("Algorithm", spec.name + (f" ({parameters(options)})" if options else "")),
        ("", (type(spec).__doc__ or "").strip()),
        ("Trainer", _trainer(found)),
        ("Fixed", parameters(trainer.params)),
        ("Budget", parameters(definition.budget.model_dump(mode="json", exclude_none=True, exclude_defaults=True))),
        ("Ended by", found.study.reason if found.study.state in ENDED_STUDY else ""),
        ("Seed", str(definition.seed) + (", deterministic" if definition.deterministic else "")),
        ("A trial", f"{number(definition.resources.cpu)} CPU"
         + (f", {number(definition.resources.gpu)} GPU" if definition.resources.gpu else "")
         + f"; at most {definition.parallel:,} at a time"),
        ("Trained", listed([f"{words}: {plural(count, 'structure')}" for words, count in found.methods])),
    ]  # fmt: skip
    return [Facts([(name, value) for name, value in facts if value]), _space(found)]


def _trainer(found: Gathered) -> str:
    trainer = found.definition.trainer
    if trainer.external:
        return "external workers, who ask for trials and tell of them"
    named = str(getattr(trainer, trainer.kind))
    bundle = f", code of bundle {trainer.bundle[:12]}…" if trainer.bundle else ""
    return f"{trainer.kind} {named}{bundle}"


def _space(found: Gathered) -> Table:
    rows = []
    for name, given in found.definition.space.items():
        rest = dict(given) if isinstance(given, dict) else {"value": given}
        kind, when, default = str(rest.pop("type", "")), rest.pop("when", None), rest.pop("default", None)
        low, high = rest.pop("low", None), rest.pop("high", None)
        between = f"{number(low)} … {number(high)}" if low is not None and high is not None else ""
        values = rest.pop("values", None)
        among = ", ".join(number(v) for v in values) if isinstance(values, list) else ""
        others = parameters(rest)
        rows.append([
            name, kind, " ".join(part for part in (between, among, others) if part),
            number(default), parameters(when) if isinstance(when, dict) else number(when) if when else "–",
        ])  # fmt: skip
    forbidden = len(found.definition.forbid)
    more = f" {plural(forbidden, 'combination')} forbidden." if forbidden else ""
    return Table(["parameter", "type", "range", "default", "only when"], rows, caption=f"The search space.{more}")


def _failures(found: Gathered) -> list[Section]:
    if not found.failures and not found.lost:
        return []
    blocks: list[Block] = []
    if found.failures:
        rows = [[f"{count:,}", reason] for reason, count in found.failures]
        blocks.append(
            Table(["trials", "reason"], rows, frozenset({0}), caption=f"{plural(found.failures_of, 'trial')} failed.")
        )
    if found.lost:
        blocks.append(
            Text(f"{plural(found.lost, 'attempt')} were lost with their worker, and went on from their checkpoints."
                 if found.lost > 1 else
                 "One attempt was lost with its worker, and went on from its checkpoint.", quiet=True)
        )  # fmt: skip
    return [Section("What failed", blocks)]


def _repeat(found: Gathered) -> list[Block]:
    study = found.study
    lines = ["# the same search again, from the definition below", "hpo submit study.yaml --watch"]
    if found.given.own is None and found.best is not None:
        lines += ["# is the winner real? the best again, with new seeds", f"hpo confirm {study.id} --top 5 --seeds 5"]
    if found.best is not None and not study.external:
        lines += [
            "# the best trial again from its record, every report compared",
            f"hpo reproduce {study.id}/{found.best.number}",
        ]
    lines += [
        "# does the algorithm decide the same over the same log?",
        f"hpo replay {study.id}",
        "# everything in one file: definition, events, reports, environments, code",
        f"hpo archive {study.id} -o study.hpo",
    ]
    if found.given.own is not None:
        lines = [f"hpo confirm {found.given.own.confirms.study} --top {len(found.given.own.configurations)} "
                 f"--seeds {found.given.own.confirms.seeds}"]  # fmt: skip
    return [
        Code("\n".join(lines), "console"),
        Code(found.given.definition_text, "yaml", title="The definition (study.yaml)", folded=True),
    ]
