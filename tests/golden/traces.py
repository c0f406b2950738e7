"""Golden traces: what every deterministic algorithm decides over a fixed synthetic study, decision by decision.

A trace that changes means that studies in progress would go on differently: raise the algorithm's number in
`hpo_service.algorithms.VERSIONS`, then write the files anew with

    python -m tests.golden.traces

and read the difference before committing it. Traces of models are left out: their last digits are Optuna's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hpo_service.core.definition import parse
from hpo_service.core.events import Decided
from hpo_service.core.proposals import to_json
from tests.conformance.driver import Driver, Nature

HERE = Path(__file__).parent
SPACE = {
    "lr": {"type": "loguniform", "low": 1e-6, "high": 0.1, "default": 0.001},
    "batch": {"type": "power_of_two", "low": 16, "high": 256},
    "optimizer": {"type": "choice", "values": ["sgd", "adam"]},
    "momentum": {"type": "uniform", "low": 0.85, "high": 0.95, "when": {"optimizer": "sgd"}},
}
STUDIES: dict[str, dict[str, Any]] = {
    "auto": {
        "algorithm": {"name": "auto", "max_resource": 9},
        "space": {name: SPACE[name] for name in ("batch", "optimizer")},
        "budget": {"trials": 12},
    },
    "grid": {"algorithm": {"name": "grid", "points": 2, "max_resource": 9}, "budget": {"trials": 20}},
    "random": {"algorithm": {"name": "random", "max_resource": 9}, "budget": {"resource": 100}},
    "sobol": {"algorithm": {"name": "sobol", "max_resource": 9}, "budget": {"trials": 16}},
    "nsga2": {"algorithm": {"name": "nsga2", "population": 4, "max_resource": 9}, "budget": {"trials": 20}},
    "successive_halving": {
        "algorithm": {"name": "successive_halving", "trials": 27, "max_resource": 9},
        "budget": {},
    },
    "hyperband": {"algorithm": {"name": "hyperband", "max_resource": 9}, "budget": {"resource": 200}},
    "bohb": {"algorithm": {"name": "bohb", "max_resource": 9}, "budget": {"trials": 45}},
    "dehb": {"algorithm": {"name": "dehb", "max_resource": 9}, "budget": {"trials": 45}},
    "asha": {"algorithm": {"name": "asha", "max_resource": 9}, "budget": {"trials": 30}},
    "pasha": {"algorithm": {"name": "pasha", "max_resource": 27}, "budget": {"trials": 60}},
    "median": {
        "algorithm": {"name": "median", "max_resource": 9, "min_trials": 3},
        "budget": {"trials": 15},
    },
    "pbt": {"algorithm": {"name": "pbt", "population": 6, "max_resource": 5, "quantile": 0.34}, "budget": {}},
}


def trace(name: str) -> dict[str, Any]:
    """The decisions of one study, and how it ended."""
    document = {
        "objective": {"metric": "loss"},
        "space": SPACE,
        "trainer": {"function": "training:train"},
        "seed": 7,
        **STUDIES[name],
    }
    nature = Nature(seed=11, failing=0.1, early=0.1, horizon=9, failing_by=9)
    driver = Driver(parse(document), nature, workers=4, seed=13).run()
    decided = [event.payload for event in driver.log if isinstance(event.payload, Decided)]
    return {
        "algorithm": name,
        "version": driver.algorithm.version,
        "ending": driver.algorithm.ending(),
        "winner": driver.winner(),
        "decisions": [[to_json(proposal) for proposal in payload.proposals] for payload in decided],
    }


def path(name: str) -> Path:
    """Where the trace lies."""
    return HERE / f"{name}.json"


def text(found: dict[str, Any]) -> str:
    """A trace as its file holds it: one proposal per line."""
    lines = [
        "[" + ",\n  ".join(json.dumps(proposal, sort_keys=True) for proposal in decision) + "]"
        for decision in found["decisions"]
    ]
    head = {key: value for key, value in found.items() if key != "decisions"}
    return json.dumps(head)[:-1] + ', "decisions": [\n ' + ",\n ".join(lines) + "\n]}\n"


if __name__ == "__main__":
    for study in STUDIES:
        path(study).write_text(text(trace(study)))
