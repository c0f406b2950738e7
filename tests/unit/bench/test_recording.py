"""Comparisons: what is run, that it goes on where it stopped, and that what is judged together is."""

from __future__ import annotations

import json
import pickle
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpo_service.bench import comparing, elsewhere, methods, protocol, recording
from hpo_service.bench.past import PastStudy, PastTrial
from hpo_service.bench.problems import synthetic
from hpo_service.bench.problems.base import Found, Problem
from hpo_service.bench.protocol import Cell
from hpo_service.bench.recording import Bench, Records, execute
from hpo_service.bench.runs import Decisions, Method, Recorder, Run, Scale
from hpo_service.bench.sources import Source
from hpo_service.errors import InvalidInput

asked: list[tuple[str, int]] = []


def even(problem: Problem, seed: int, workers: int, budget: float) -> Run:
    """Finds better values with every seed; raises with the seed 2."""
    asked.append((problem.title, seed))
    if seed == 2:
        raise RuntimeError("seed 2 is bad luck")
    recorder = Recorder(problem.maximize)
    recorder.tell(1.0, problem.median - 0.01 * seed)
    return recorder.run("even", problem, seed=seed, workers=workers, budget=budget)


@pytest.fixture(autouse=True)
def one_method(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "even": Method(name="even", search=even, summary="", workers=frozenset({1, 4})),
        "lost": Method(name="lost", search=even, summary="", requires=("no_such_library_anywhere",)),
    }
    monkeypatch.setattr(methods, "known", lambda: found)
    asked.clear()


def comparison(**options: object) -> comparing.Comparison:
    profile = protocol.Profile(seeds=2, workers=(1,), methods=("even",), tasks={})
    source = Source(tasks=("smooth", "noisy"))
    return comparing.prepare(comparing.Asked(**{"source": source, "profile": profile, **options}))  # type: ignore[arg-type]


def run(found: comparing.Comparison, records: Records) -> list[tuple[Cell, Run | str]]:
    told: list[tuple[Cell, Run | str]] = []
    execute(found.cells, found.bench, records, jobs=1, tell=lambda cell, run: told.append((cell, run)))
    return told


def test_what_is_recorded_is_not_run_again(tmp_path: Path) -> None:
    found = comparison()
    assert len(run(found, Records(tmp_path))) == 4
    assert run(found, Records(tmp_path)) == []
    assert len(run(comparison(seeds=2, workers=(1, 4)), Records(tmp_path))) == 4  # the other number of workers
    assert len(run(found, Records(tmp_path, again=["even"]))) == 4


def past(shift: float, trials: int = 12) -> PastStudy:
    told = tuple(
        PastTrial(params={"x": i / 12}, resources=(1.0, 2.0), values=(shift + i, shift + i / 2)) for i in range(trials)
    )
    space = {"x": {"type": "uniform", "low": 0.0, "high": 1.0}}
    return PastStudy(name="twin", algorithm="random", space=space, maximize=False, trials=told)


def test_a_past_study_is_known_by_its_records_not_by_its_name(tmp_path: Path) -> None:
    def runs(study: PastStudy) -> int:
        found = comparison(source=Source(studies=(study,)), methods=("even",))
        run(found, Records(tmp_path))
        conclusion = comparing.conclude(found, Records(tmp_path))
        assert [one.scale.best for one in conclusion.runs] == [study.trials[0].values[1]] * 2
        return len((tmp_path / "runs.jsonl").read_text().splitlines())

    assert runs(past(0.0)) == 2
    assert runs(past(0.0)) == 2  # recorded
    assert runs(past(1000.0)) == 4  # another of the same name
    assert runs(past(0.0, trials=13)) == 6  # it has grown
    assert runs(past(0.0)) == 6


def test_what_auto_begins_from_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "_found", lambda named: Found(title="t", maximize=False, trials=()))
    here, other = past(0.0), replace(past(5.0), name="other")

    def identities(*studies: PastStudy) -> list[str]:
        bench = Bench(Source(studies=studies))
        found = [bench.identity("study/twin", variant) for variant in ("", "noisy", elsewhere.VARIANT)]
        assert found == [bench.problem("study/twin", name).identity for name in ("", "noisy", elsewhere.VARIANT)]
        return found

    alone, beside, grown = identities(here), identities(here, other), identities(here, replace(past(6.0), name="other"))
    assert alone[:2] == beside[:2] == grown[:2]
    assert len({alone[2], beside[2], grown[2]}) == 3
    assert Bench(Source(tasks=("smooth",))).identity("synthetic/smooth", elsewhere.VARIANT) == ""


def test_a_torn_last_line_is_run_again_and_nothing_else(tmp_path: Path) -> None:
    found = comparison()
    run(found, Records(tmp_path))
    path = tmp_path / "runs.jsonl"
    path.write_text(path.read_text()[:-20])
    assert len(run(found, Records(tmp_path))) == 1
    assert len(list(map(json.loads, [line for line in path.read_text().splitlines() if line.endswith("}")]))) == 4
    assert run(found, Records(tmp_path)) == []


def test_a_broken_line_in_the_middle_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs.jsonl").write_text("no json\nnor this\n")
    with pytest.raises(InvalidInput, match="line 1"):
        Records(tmp_path)


def test_a_method_that_raises_costs_nobody_else_anything(tmp_path: Path) -> None:
    found = comparison(seeds=4)
    told = run(found, Records(tmp_path))
    assert [isinstance(result, str) for _, result in told] == [cell.seed == 2 for cell, _ in told]
    records = Records(tmp_path)
    conclusion = comparing.conclude(found, records, ["…"])
    assert "2 of 8 runs are missing" in conclusion.notes[0]
    assert len(conclusion.runs) == 6
    assert "even" in conclusion.text()


def test_seeds_come_round_by_round() -> None:
    cells = comparison(seeds=3, workers=(1, 4)).cells
    assert [(cell.workers, cell.seed) for cell in cells] == sorted((cell.workers, cell.seed) for cell in cells)
    assert {(cell.workers, cell.budget) for cell in cells} == {(1, 32.0), (4, 8.0)}


def test_a_method_is_left_out_where_it_cannot_serve() -> None:
    assert {cell.workers for cell in comparison(workers=(1, 16)).cells} == {1}
    found = comparison(methods=("even", "lost"))
    assert any("no_such_library_anywhere" in note for note in found.notes)
    assert {cell.method for cell in found.cells} == {"even"}


def test_what_another_environment_recorded_counts_of_methods_that_are_not_installed_here(tmp_path: Path) -> None:
    found = comparison(methods=("even", "lost"))
    records = Records(tmp_path)
    run(found, records)
    conclusion = comparing.conclude(found, records)
    assert [row.method for row in conclusion.groups[0].rows] == ["even"]
    assert any("lost is left out" in note for note in conclusion.notes)
    records.add(replace(conclusion.runs[0], method="lost"))
    conclusion = comparing.conclude(found, records)
    assert [row.method for row in conclusion.groups[0].rows] == ["even", "lost"]
    assert conclusion.notes == [note for note in found.notes if "lost" not in note]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"methods": ("odd",)}, "even"),
        ({"methods": ("lost",)}, "nothing can be run"),
        ({"variants": ("easy",)}, "plateau"),
        ({"source": Source(tasks=("nowhere",))}, "synthetic/smooth"),
    ],
)
def test_what_is_not_there_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        comparison(**options)


def test_a_measuring_process_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_bench", [])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    found = comparison()
    recording._begin(pickle.loads(pickle.dumps(found.bench.source)))
    assert [recording._run(pickle.loads(pickle.dumps(cell))) for cell in found.cells] == [
        found.bench.run(cell) for cell in found.cells
    ]


class Fixed(Bench):
    """A bench of given problems."""

    def __init__(self, *titles: str) -> None:
        super().__init__(Source())
        (one,) = synthetic.load(("smooth",))
        for title in titles:
            collection, name = title.split("/")
            self._problems[title, ""] = replace(one, collection=collection, name=name)


def test_neither_collection_is_reported_without_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "Bench", lambda _: Fixed("lcbench/1"))
    with pytest.raises(InvalidInput, match="taskset is not there"):
        comparison()
    assert "PARTIAL" in comparison(partial=True).notes[0]
    monkeypatch.setattr(comparing, "Bench", lambda _: Fixed("lcbench/1", "taskset/a"))
    assert comparison().notes == ()


def made(method: str, variant: str, regret: float) -> Run:
    return Run(
        method=method,
        collection="c",
        problem="p",
        variant=variant,
        seed=0,
        workers=1,
        budget=2.0,
        scale=Scale(best=0.0, median=1.0, maximize=False),
        trace=((0.5, regret),),
        decisions=Decisions(),
    )


def test_the_time_to_a_regret() -> None:
    run = replace(made("a", "", 0.5), trace=((0.5, 0.5), (1.5, 0.05)))
    assert comparing.first(run, 0.1) == 1.5
    assert comparing.first(run, 0.01) == np.inf
