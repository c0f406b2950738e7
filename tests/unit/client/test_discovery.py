"""`discover`: the space of an Optuna objective, found by running it."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hpo_service as hpo
from hpo_service.client.conditions import told_conditions
from hpo_service.client.discovery import Asked, discover
from hpo_service.documents import load_yaml
from hpo_service.errors import InvalidInput
from search_spaces import SearchSpace

MODULE = """
import optuna

def objective(trial):
    print("the objective speaks")
    name = trial.suggest_categorical("optimizer", ["adam", "sgd", "lamb"])
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    if name == "sgd":
        trial.suggest_float("momentum", 0.0, 0.99)
        if trial.suggest_categorical("nesterov", [True, False]):
            trial.suggest_float("look", 0.1, 0.5, step=0.1)
    for layer in range(trial.suggest_int("layers", 1, 3)):
        trial.suggest_int(f"units_{layer}", 16, 128, log=True)
    trial.report(lr, 0)
    raise AssertionError("nothing runs past the first report")

def fails(trial):
    rate = trial.suggest_float("rate", 0.0, 1.0)
    raise FileNotFoundError("train.csv")

three = 3
"""


def asks(trial: Any) -> None:
    assert hpo.Discovered.__name__ == "Discovered"
    trial.suggest_float("lr", 0.1, 1.0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "discovered_module.py").write_text(MODULE)
    (tmp_path / "discovered_broken.py").write_text("raise ValueError('not today')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "discovered_module", raising=False)
    return tmp_path


def test_types_ranges_and_conditions(folder: Path) -> None:
    found = hpo.discover("discovered_module:objective")
    assert found.notes == ()
    assert load_yaml(found.yaml)["space"] == {
        "optimizer": {"type": "choice", "values": ["adam", "sgd", "lamb"]},
        "lr": {"type": "loguniform", "low": 1e-5, "high": 0.1},
        "momentum": {"type": "uniform", "low": 0.0, "high": 0.99, "when": {"optimizer": "sgd"}},
        "nesterov": {"type": "choice", "values": [True, False], "when": {"optimizer": "sgd"}},
        "look": {"type": "quniform", "low": 0.1, "high": 0.5, "step": 0.1, "when": {"nesterov": True}},
        "layers": {"type": "integer", "low": 1, "high": 3, "step": 1},
        "units_0": {"type": "log_integer", "low": 16, "high": 128},
        "units_1": {"type": "log_integer", "low": 16, "high": 128, "when": {"layers": {">=": 2}}},
        "units_2": {"type": "log_integer", "low": 16, "high": 128, "when": {"layers": 3}},
    }
    assert SearchSpace.from_definition(load_yaml(found.yaml)["space"]) == found.space


def test_without_choices_two_runs_are_enough() -> None:
    found = discover(asks)
    assert (found.runs, list(found.space.parameters)) == (2, ["lr"])


def test_the_same_seed_finds_the_same(folder: Path) -> None:
    assert discover("discovered_module:objective", seed=3) == discover("discovered_module:objective", seed=3)


def test_what_cannot_be_told_is_said() -> None:
    def by_a_real_number(trial: Any) -> float:
        if trial.suggest_float("lr", 0.0, 1.0) > 0.5:
            trial.suggest_int("patience", 1, 100)
        return 0.0

    found = discover(by_a_real_number)
    assert found.runs == 20
    assert found.space.parameters["patience"].when is None
    (note,) = found.notes
    assert "patience is asked for in" in note
    assert "what decides could not be told (no single parameter)" in note
    assert found.yaml.startswith("# patience is asked for in")


def test_few_runs_leave_things_open(folder: Path) -> None:
    found = discover("discovered_module:objective", trials=2)
    assert found.runs == 2
    assert any("raise --trials" in note for note in found.notes)


def test_what_prunes_or_returns_has_a_space_too() -> None:
    import optuna

    def prunes(trial: Any) -> None:
        trial.suggest_int("n", 1, 100)
        raise optuna.TrialPruned

    assert list(discover(prunes).space.parameters) == ["n"]


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        ("discovered_module:objektive", "has no 'objektive'"),
        ("discovered_modul:objective", "there is no module 'discovered_modul'"),
        ("discovered_broken:objective", "ValueError: not today (discovered_broken.py, line 1)"),
        ("discovered_module:three", "is a int"),
        ("discovered_module", "is named pkg.module:name"),
        ("discovered_module:fails", "it fails: FileNotFoundError: train.csv (discovered_module.py, line"),
    ],
)
def test_objectives_that_cannot_be_run(objective: str, says: str, folder: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        discover(objective)
    assert says in str(caught.value)


def test_objectives_that_have_no_space() -> None:
    def nothing(trial: Any) -> float:
        return 0.0

    def two_ranges(trial: Any) -> float:
        high = 1.0 if trial.suggest_categorical("wide", [False, True]) else 2.0
        return trial.suggest_float("lr", 0.0, high)

    def objects(trial: Any) -> float:
        trial.suggest_categorical("activation", [(1, 2), (3, 4)])
        return 0.0

    with pytest.raises(InvalidInput, match="asked for no parameter"):
        discover(nothing)
    with pytest.raises(InvalidInput, match="two names, or in the widest range"):
        discover(two_ranges)
    with pytest.warns(UserWarning, match="categorical"), pytest.raises(InvalidInput, match="JSON scalar"):
        discover(objects)
    with pytest.raises(InvalidInput, match="trials must be 1 or more"):
        discover(nothing, trials=0)


# Conditions, from records alone

VALUES = ["a", "b", "c"]


@st.composite
def trees(draw: st.DrawFn) -> dict[str, tuple[str, frozenset[str]] | None]:
    """Parameters, each free or there for some (not all) values of an earlier one."""
    tree: dict[str, tuple[str, frozenset[str]] | None] = {"p0": None}
    for number in range(1, draw(st.integers(1, 4))):
        parent = draw(st.sampled_from([None, *tree]))
        some = draw(st.sets(st.sampled_from(VALUES), min_size=1, max_size=2))
        tree[f"p{number}"] = None if parent is None else (parent, frozenset(some))
    return tree


def recorded(tree: dict[str, tuple[str, frozenset[str]] | None], draw: Any) -> Asked:
    values: dict[str, Any] = {}
    for name, condition in tree.items():
        if condition is None or values.get(condition[0]) in condition[1]:
            values[name] = draw.choice(VALUES)
    return Asked(values=values)


@given(trees(), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_conditions_are_told_back_where_everything_was_tried(
    tree: dict[str, tuple[str, frozenset[str]] | None], seed: int
) -> None:
    draw = random.Random(seed)
    runs = [recorded(tree, draw) for _ in range(2000)]
    told = told_conditions(dict.fromkeys(tree, VALUES), runs)
    assert not told.open
    found = {
        name: (parent, frozenset(matcher if isinstance(matcher, list) else [matcher]))
        for name, when in told.when.items()
        for parent, matcher in when.items()
    }
    assert found == {name: condition for name, condition in tree.items() if condition is not None}
