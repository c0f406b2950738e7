"""Imports point one way: no module cycle, no edge against the direction that `docs/architecture.md` draws."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("search_spaces", "hpo_service", "workers")

# room → the rooms that it may import, beside itself and third parties
ALLOWED: dict[str, set[str]] = {
    "search_spaces": set(),
    "workers.contract": set(),
    "workers": {"workers.contract", "search_spaces"},
    "errors": set(),
    "settings": {"errors"},
    "documents": {"errors"},
    "positions": {"documents", "errors"},
    "writing": {"documents"},
    "storage": {"errors"},
    "artifact_files": {"errors"},
    "bundles": {"errors"},
    "core": {"errors", "search_spaces"},
    "samplers": {"core", "errors", "search_spaces"},
    "schedulers": {"core", "errors", "search_spaces"},
    "algorithms": {"core", "errors", "search_spaces", "samplers", "schedulers"},
    "store": {"core", "errors", "settings", "search_spaces"},
    "views": {"core", "errors", "store", "algorithms", "search_spaces"},
    "report": {"core", "errors", "store", "views"},
    "executors": {"workers.contract", "errors", "settings"},
    "decider": {"core", "algorithms", "store", "errors"},
    "replaying": {"core", "algorithms", "store", "errors"},
    "model_views": {"decider", "store", "errors"},
    "controller": {
        "core",
        "algorithms",
        "store",
        "executors",
        "decider",
        "model_views",
        "errors",
        "settings",
        "storage",
        "artifact_files",
        "search_spaces",
        "workers.contract",
    },
    "api": {
        "bundles",
        "replaying",
        "core",
        "algorithms",
        "store",
        "decider",
        "model_views",
        "views",
        "report",
        "errors",
        "settings",
        "documents",
        "positions",
        "writing",
        "dashboard",
        "storage",
        "artifact_files",
        "search_spaces",
        "workers.contract",
    },
    "dashboard": {"core", "store", "errors", "settings"},
    "server": {"api", "store", "storage", "artifact_files", "errors", "settings"},
    "client": {
        "foreign",
        "bundles",
        "errors",
        "settings",
        "documents",
        "positions",
        "search_spaces",
        "core",
        "writing",
    },
    "foreign": {"core", "errors", "search_spaces", "documents", "writing"},
    "bench": {
        "core",
        "algorithms",
        "samplers",
        "store",
        "decider",
        "executors",
        "controller",
        "errors",
        "settings",
        "search_spaces",
        "workers.contract",
    },
    "integrations": {"client", "core", "errors", "search_spaces", "documents"},
    "cli": {
        "bench",
        "client",
        "foreign",
        "integrations",
        "errors",
        "settings",
        "documents",
        "positions",
        "core",
        "server",
        "controller",
        "store",
        "search_spaces",
        "bundles",
        "workers",
        "workers.contract",
    },
    "hpo_service": {"client", "errors", "foreign"},
}


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(module: str, path: Path) -> Iterator[str]:
    """Our modules that `module` imports anywhere: at the top, in functions, for type checking."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively; write the whole name"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            target = name if name in MODULES else name.rpartition(".")[0]
            while target and target not in MODULES:
                target = target.rpartition(".")[0]
            if target and target != module:
                yield target


GRAPH = {name: sorted(set(imported(name, path))) for name, path in MODULES.items()}


def room(module: str) -> str:
    parts = module.split(".")
    if parts[0] == "search_spaces":
        return "search_spaces"
    if parts[0] == "workers":
        return "workers.contract" if module == "workers.contract" else "workers"
    return parts[1] if len(parts) > 1 else "hpo_service"


def test_no_module_takes_part_in_a_cycle() -> None:
    try:
        order = tuple(TopologicalSorter(GRAPH).static_order())
    except CycleError as error:
        pytest.fail("import cycle: " + " → ".join(reversed(error.args[1])))
    assert len(order) == len(MODULES)


def test_every_edge_points_the_allowed_way() -> None:
    wrong = [
        f"{source} → {target}"
        for source, targets in GRAPH.items()
        for target in targets
        if room(source) != room(target) and room(target) not in ALLOWED[room(source)]
    ]
    assert not wrong, f"imports against the direction: {wrong}"


def test_the_check_sees_edges() -> None:
    """The check itself would notice: the graph is not empty and holds an edge that surely exists."""
    assert "hpo_service.core.proposals" in GRAPH["hpo_service.core.events"]
    assert sum(len(targets) for targets in GRAPH.values()) > 50
