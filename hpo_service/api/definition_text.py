"""Study definitions as text for people: ready ones to begin with, and a study's own without what is default anyway."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_service.core.definition import StudyDefinition, default_parallel, parse
from hpo_service.writing import dump_yaml

FOLDER = Path(__file__).parent / "templates"
_AS_WRITTEN = frozenset({"space", "forbid", "trainer"})  # where 1 and 1.0 may be told apart
_ORDER = (
    "name",
    "objective",
    "objectives",
    "constraints",
    "space",
    "forbid",
    "algorithm",
    "trainer",
    "budget",
    "resources",
    "parallel",
)


@dataclass(frozen=True)
class Template:
    """A ready definition; title and description are the first comments of its file."""

    name: str
    title: str
    description: str
    yaml: str


@functools.cache
def templates() -> tuple[Template, ...]:
    """The ready definitions, in the order in which to show them."""
    return tuple(_template(path) for path in sorted(FOLDER.glob("*.yaml")))


def _template(path: Path) -> Template:
    text = path.read_text(encoding="utf-8")
    comments = itertools.takewhile(lambda line: line.startswith("# "), text.splitlines())
    title, *description = (line.removeprefix("# ") for line in comments)
    return Template(path.stem.partition("-")[2], title, " ".join(description), text)


def as_yaml(document: Mapping[str, Any], *, comment: str = "") -> str:
    """A stored definition as YAML: fields in the order in which people write them, defaults left out."""
    found = shortened(parse(document))
    ordered = {name: found[name] for name in (*_ORDER, *found) if name in found}
    return (f"# {' '.join(comment.split())}\n" if comment else "") + dump_yaml(ordered)


def shortened(definition: StudyDefinition) -> dict[str, Any]:
    """The document without defaults; `parse(shortened(d)) == d`. Keeps name, direction and the algorithm's name."""
    document = definition.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    objectives = [{"metric": one.metric, "direction": one.direction} for one in definition.objectives]
    for short, one in zip(objectives, definition.objectives, strict=True):
        if one.at != "last":
            short["at"] = one.at
    document.pop("parallel", None)  # its default depends on the algorithm
    if definition.parallel != default_parallel(definition.algorithm):
        document["parallel"] = definition.parallel
    document.pop("objectives")
    document["objective"] = objectives[0] if len(objectives) == 1 else objectives
    algorithm = document.get("algorithm", {})
    document["algorithm"] = {"name": definition.algorithm.name, **{k: v for k, v in algorithm.items() if k != "name"}}
    plain = {key: value if key in _AS_WRITTEN else _whole(value) for key, value in document.items()}
    return {"name": definition.name, **plain}


def _whole(value: Any) -> Any:
    """27 for 27.0, where the definition reads either as the same."""
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value
