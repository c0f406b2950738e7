"""Rules between the parts of a study definition: metrics and data, trainer and algorithm, bounds and patience.

What needs the algorithms' code is checked by `hpo_service.algorithms.check`, what needs a worker by preflight.
"""

from __future__ import annotations

from hpo_service.core import constraints as constrained
from hpo_service.core.definition_model import StudyDefinition
from hpo_service.errors import FieldProblem
from search_spaces import SpaceError
from search_spaces.catalog import validate_trainer


def broken(definition: StudyDefinition) -> list[FieldProblem]:
    """The rules that it breaks; nothing else is looked at while its space is none."""
    problems = _space_problems(definition)
    if problems:
        return problems
    told = [*_test_problems(definition), *_constraint_problems(definition)]
    problems = [*(told or _trainer_problems(definition)), *_bound_problems(definition)]
    return [*problems, *_patience_problems(definition), *_fidelity_problems(definition)]


def _space_problems(definition: StudyDefinition) -> list[FieldProblem]:
    try:
        _ = definition.search_space
    except SpaceError as error:
        errors = getattr(error, "errors", None) or (error,)
        return [FieldProblem(path=e.path, rule=e.rule, value=e.value, remedy=e.remedy) for e in errors]
    return []


def _test_problems(definition: StudyDefinition) -> list[FieldProblem]:
    """A search must not see test rows, not even through a metric: what it chooses by is no test any more."""
    if definition.confirms is not None:
        return []
    several = len(definition.objectives) > 1
    return [
        FieldProblem(
            path=f"objective.{i}.metric" if several else "objective.metric",
            rule="a search does not optimise a test metric: choosing by it would make the test rows part of the search",
            value=o.metric,
            remedy="optimise a validation metric such as val_"
            + f"{o.metric.removeprefix('test_')}; `hpo confirm` measures test metrics of the best trials afterwards",
        )
        for i, o in enumerate(definition.objectives)
        if o.metric.startswith("test_")
    ]


def _constraint_problems(definition: StudyDefinition) -> list[FieldProblem]:
    metrics = [objective.metric for objective in definition.objectives]
    of_search = definition.confirms is None
    return list(constrained.problems(definition.constraints, metrics, of_search=of_search))


def _trainer_problems(definition: StudyDefinition) -> list[FieldProblem]:
    """What breaks the recipe's declaration; for other trainers only `epochs` beside a scheduler. Only a function is
    trained by several processes."""
    trainer = definition.trainer
    processes = definition.resources.processes
    if processes > 1 and trainer.function is None:
        rule = "several processes train a function only (trainer.function)"
        remedy = "set resources.processes to 1, or write a function that uses torch.distributed"
        return [FieldProblem(path="resources.processes", rule=rule, value=processes, remedy=remedy)]
    if trainer.recipe is not None:
        found = validate_trainer(
            trainer.recipe,
            trainer.params,
            definition.space,
            metrics=[o.metric for o in definition.objectives],
            constrained=[c.metric for c in definition.constraints],
            has_scheduler=definition.has_scheduler and definition.resumes,
        )
        return [FieldProblem(path=p.path, rule=p.rule, value=p.value, remedy=p.remedy) for p in found]
    if definition.has_scheduler and definition.resumes and ("epochs" in definition.space or "epochs" in trainer.params):
        where = "space.epochs" if "epochs" in definition.space else "trainer.params.epochs"
        rule = f"the algorithm {definition.algorithm.name} decides how far each trial is trained"
        return [FieldProblem(path=where, rule=rule, remedy="remove epochs and set algorithm.max_resource")]
    return []


def _fidelity_problems(definition: StudyDefinition) -> list[FieldProblem]:
    """Who can be trained at sizes: functions, which read `trial.fidelity`; recipes on shares of their data; own recipes
    that declare more. Of those only a worker knows."""
    trainer, fidelity = definition.trainer, definition.fidelity
    if definition.resumes:
        return []
    path, rule, remedy = "algorithm.fidelity", "", ""
    if trainer.kind not in ("recipe", "function"):
        rule = f"the trainer {trainer.kind} cannot be told a size to train at"
        remedy = "write a function that reads trial.fidelity, or set fidelity: epochs"
    elif trainer.recipe is not None and trainer.code is None and fidelity != "data_fraction":
        rule = f"the recipe {trainer.recipe} has no {fidelity} to be trained at"
        remedy = "use fidelity: data_fraction, or a recipe of your own that declares it"
    elif definition.resources.processes > 1:
        rule = "sizes are trained by one process"
        path, remedy = "resources.processes", "set resources.processes to 1"
    return [FieldProblem(path=path, rule=rule, value=fidelity, remedy=remedy)] if rule else []


def _patience_problems(definition: StudyDefinition) -> list[FieldProblem]:
    patience, worth = definition.budget.patience, definition.budget.worth
    if patience != "auto" and worth is not None:
        rule, remedy = "worth is weighed by patience: auto alone", "write patience: auto beside it, or remove worth"
        return [FieldProblem(path="budget.worth", rule=rule, value=worth, remedy=remedy)]
    if patience != "auto" or len(definition.objectives) == 1:
        return []
    rule = "patience: auto weighs the gain of one objective"
    remedy = "count trials without improvement (budget.patience: 50), or bound the study by trials or hours"
    return [FieldProblem(path="budget.patience", rule=rule, value="auto", remedy=remedy)]


def _bound_problems(definition: StudyDefinition) -> list[FieldProblem]:
    if definition.trainer.external or definition.budget.bounded:
        return []
    if definition.algorithm.name in ("grid", "successive_halving", "pbt"):
        return []
    return [
        FieldProblem(
            path="budget",
            rule=f"the algorithm {definition.algorithm.name} never ends by itself",
            remedy="set one of budget.trials, budget.resource, budget.hours, budget.dollars, budget.patience",
        )
    ]
