"""Which metrics `?stats=` asks for, and of each whether more is better: by the objectives, the recipe, or its name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hpo_service.errors import FieldProblem, InvalidInput
from search_spaces.catalog import RECIPES
from search_spaces.errors import nearest

MAX_METRICS = 20
_LESS = re.compile(r"(?:^|_)(?:loss|error|err|rmse|mse|mae|nll|perplexity|ppl)(?:_|$)", re.IGNORECASE)
_MORE = re.compile(r"(?:^|_)(?:acc|accuracy|auc|f1|precision|recall|r2|score|reward|return)(?:_|$)", re.IGNORECASE)


def wanted(text: str, known: Sequence[str], definition: Mapping[str, Any]) -> dict[str, bool | None]:
    """The metrics in `text`, comma separated: each with whether more is better, None where nobody knows. Raises
    InvalidInput for one that is not `known`, and for more than `MAX_METRICS`."""
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if len(names) > MAX_METRICS:
        rule = f"at most {MAX_METRICS} metrics are summed up at once"
        raise InvalidInput.of(FieldProblem(path="query.stats", rule=rule, value=len(names), remedy="leave some out"))
    for name in names:
        if name not in known:
            rule = "the metric must be one that this study's trials report"
            remedy = nearest(name, known)
            raise InvalidInput.of(FieldProblem(path="query.stats", rule=rule, value=name, remedy=remedy))
    directions = declared(definition) if names else {}
    return {name: directions.get(name, guessed(name)) for name in names}


def declared(definition: Mapping[str, Any]) -> dict[str, bool]:
    """Whether more is better, of the objectives' metrics, those that are bounded, and the recipe's."""
    recipe = RECIPES.get(str(definition["trainer"].get("recipe")))
    found = {metric.name: metric.direction == "maximize" for metric in recipe.metrics} if recipe else {}
    found |= {str(one["metric"]): "at_least" in one for one in definition.get("constraints", ())}
    objective = definition["objective"]
    objectives = [objective] if isinstance(objective, Mapping) else objective
    return found | {str(o["metric"]): o["direction"] == "maximize" for o in objectives}


def guessed(name: str) -> bool | None:
    """Whether more is better, by the words in a metric's name."""
    if _LESS.search(name):
        return False
    return True if _MORE.search(name) else None
