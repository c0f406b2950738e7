"""`hpo bench search` and `hpo bench methods`, in-process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from hpo_service.bench.problems import synthetic
from hpo_service.cli import app
from hpo_service.cli.base import Session
from hpo_service.cli.benching import TRIALS_AT_ONCE
from search_spaces import SearchSpace

METHODS = "one-epoch,asha-resume"
"""Two that need nothing and take no time."""


@dataclass
class FakeStudy:
    """A past study as the SDK shows it."""

    name: str
    id: str = "s1"

    @property
    def info(self) -> Any:
        space = dict(synthetic.SPACE)
        definition = {
            "space": space,
            "forbid": [{"optimizer": "sgd", "layers": 6}],
            "algorithm": {"name": "asha", "max_resource": 54},
        }
        return SimpleNamespace(definition=definition, maximize=False)

    def trials(self) -> list[Any]:
        rng, space = np.random.default_rng(4), SearchSpace.from_definition(dict(synthetic.SPACE))
        drawn = [space.sample(rng) for _ in range(TRIALS_AT_ONCE + 5)]
        trials = [_trial(number, params, "finished", number % 9 > 0) for number, params in enumerate(drawn)]
        return [*trials[::-1], _trial(len(drawn), drawn[0], "waiting", None)]

    def curves(self, *, trials: list[int], max_points: int) -> Any:
        assert len(trials) <= TRIALS_AT_ONCE
        (law,) = synthetic.load(("smooth",))
        params = {trial.number: trial.params for trial in self.trials()}
        found = [
            SimpleNamespace(number=n, resource=tuple(range(1, 28)), value=tuple(map(float, law.curve(params[n]))))
            for n in trials
            if n < TRIALS_AT_ONCE + 5
        ]
        return SimpleNamespace(trials=found)


def _trial(number: int, params: dict[str, Any], state: str, feasible: bool | None) -> Any:
    return SimpleNamespace(number=number, params=params, state=state, info=SimpleNamespace(feasible=feasible))


class FakeSession(Session):
    """Knows two studies of one name."""

    def study(self, id_or_name: str) -> Any:
        return FakeStudy("digits", id_or_name)


def hpo(*args: str) -> Result:
    return CliRunner().invoke(app, ["bench", *args], obj=FakeSession())


Search = Callable[..., Result]


@pytest.fixture
def search(tmp_path: Path) -> Search:
    def search(*args: str) -> Result:
        return hpo("search", "--methods", METHODS, "--budget", "2", "--seeds", "2", "--out", str(tmp_path), *args)

    return search


def test_a_comparison_is_told_and_kept_and_goes_on(search: Search, tmp_path: Path) -> None:
    done = search("--tasks", "smooth,noisy", "--reference", "asha-resume")
    assert done.exit_code == 0, done.output
    assert "synthetic, one worker, 2 FTE" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"runs.jsonl", "results.md", "results.json", "results.html"}
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 8
    more = search("--tasks", "smooth,noisy", "--seeds", "3")
    assert "8 of 12 runs are recorded" in more.stdout
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 12
    figures = json.loads((tmp_path / "results.json").read_text())
    assert {row["method"] for row in figures["groups"][0]["rows"]} == set(METHODS.split(","))


def test_recorded_methods_are_run_again_by_name_or_by_kind(search: Search, tmp_path: Path) -> None:
    counts = []
    for again in ((), ("--again", "one-epoch"), ("--again", "peers")):
        assert search("--tasks", "smooth", *again).exit_code == 0
        counts.append(len((tmp_path / "runs.jsonl").read_text().splitlines()))
    assert counts[1] - counts[0] == 2
    assert counts[2] - counts[1] == 4


def test_json_is_nothing_but_json(search: Search) -> None:
    done = search("--tasks", "smooth", "--json")
    assert json.loads(done.stdout)["groups"][0]["collection"] == "synthetic"


def test_variants_are_told_beside_the_problem_itself(search: Search) -> None:
    done = search("--tasks", "smooth", "--variant", "failing,plateau")
    assert done.exit_code == 0, done.output
    assert "synthetic (failing), one worker" in done.stdout
    assert "plateau, 1 worker: mean regret changes by" in done.stdout


def test_past_studies_are_answered_for(search: Search) -> None:
    done = search("--from-study", "a", "b")
    assert done.exit_code == 0, done.output
    assert "digits: rank correlation 0." in done.stdout
    assert "digits b: full trainings until a value within 10% of its best" in done.stdout
    assert "the study itself (asha)" in done.stdout
    assert "of its 22.5" in done.stdout  # 45 trials of 27 epochs, of the definition's 54
    assert "digits: 5 of 45 trials break a constraint" in done.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--reference", "astha"), "did you mean asha?"),
        (("--methods", "ahsa"), "did you mean asha?"),
        (("--again", "ahsa"), "did you mean asha?"),
        (("--out", __file__), "name another folder"),
        (("--out", f"{__file__}/within"), f"but {__file__} is none"),
        (("--workers", "four"), "--workers 1,4,16"),
        (("--variant", "easy"), "one-parameter"),
        (("--tasks", "rough"), "synthetic/smooth"),
        (("digits",), "named by --from-study"),
        (("--data", "/nowhere"), "has neither"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(args: tuple[str, ...], said: str) -> None:
    done = hpo("search", *args)
    assert done.exit_code == 1
    assert said in " ".join(done.stderr.split())


def test_methods_are_listed_with_what_is_missing() -> None:
    said = hpo("methods").stdout
    assert "asha " in said
    found = cast(list[dict[str, Any]], json.loads(hpo("methods", "--json").stdout))
    assert {"auto", "optuna-tpe"} <= {one["name"] for one in found}
    assert all(one["missing"] == [] or one["peer"] for one in found)
