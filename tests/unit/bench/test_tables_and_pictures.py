"""Comparisons as text, Markdown, JSON, SVG and HTML: what they say, and that names from outside do no harm."""

from __future__ import annotations

import json
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.bench import page, pictures, tables
from hpo_service.bench.runs import Run, Scale
from hpo_service.bench.statistics import Estimate, Friedman, groups

SCALE = Scale(best=0.0, median=1.0, maximize=False)
FINDS = {"auto": 0.3, "asha": 0.5, "<b>&worst": 0.9}


def runs(*, workers: int = 1, seeds: int = 7) -> list[Run]:
    return [
        Run(
            method=method,
            collection="made",
            problem=task,
            seed=seed,
            workers=workers,
            budget=4.0,
            scale=SCALE,
            trace=((0.5, min(1.0, value + 0.3)), (1.0 + 0.1 * seed, value + 0.001 * seed)),
        )
        for method, value in FINDS.items()
        for task in ("a", "b", "c")
        for seed in range(seeds)
    ]


def test_the_table_for_a_terminal() -> None:
    said = tables.text(groups(runs()))
    lines = said.splitlines()
    assert lines[0] == "made, one worker, 4 FTE"
    assert lines[2].split() == ["method", "1", "2", "4", "mean", "rank", "ms", "worst", "ms", "seeds"]
    assert lines[3].startswith("auto ")
    assert lines[3].split()[-1] == "7"
    assert ".503 ±.001 −" in lines[4]
    assert "than auto" in said
    assert "Nemenyi" in said


def test_markdown_marks_the_least_of_each_column() -> None:
    said = tables.markdown(groups(runs()))
    row = next(line for line in said.splitlines() if line.startswith("| auto"))
    assert row.count("**") == 8
    assert "**" not in next(line for line in said.splitlines() if line.startswith("| asha"))
    assert len({line.count("|") for line in said.splitlines() if line.startswith("|")}) == 1


def test_the_document_is_json_and_says_where_methods_are_worse() -> None:
    (found,) = tables.document(groups(runs()))
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(json.dumps(found))
    asha = next(row for row in found["rows"] if row["method"] == "asha")
    assert asha["worse_than_reference_at"] == ["1", "2", "4", "mean"]
    assert asha["better_than_reference_at"] == []
    assert asha["regret"][-2]["mean"] == pytest.approx(0.503)


def test_two_tasks_in_the_same_order_prove_nothing() -> None:
    given = groups([one for one in runs() if one.problem != "c" and one.method != "asha"])
    said = tables.text(given)
    assert "Ranks over 2 tasks do not differ significantly (Friedman, by permutations, p = 0.500)" in said
    assert "p < 0.001" not in said
    (found,) = tables.document(given)
    assert [(test["f"], test["p"]) for test in found["friedman"]] == [(None, 0.5)] * 4


def test_numbers_are_short() -> None:
    assert [tables.regret(value) for value in (0.4136, 1.0, 0.9996, 0.0)] == [".414", "1.00", "1.00", ".000"]
    assert tables.cell(Estimate(0.5, None)) == ".500"
    assert [tables.milliseconds(value) for value in (0.04, 1.23, 12.3)] == ["0.04", "1.2", "12"]


@pytest.mark.parametrize("workers", [1, 4])
def test_the_plot_is_whole_svg_with_every_method(workers: int) -> None:
    given = runs(workers=workers)
    (group,) = groups(given)
    drawn = pictures.curves(given, group, pictures.looks(FINDS, reference="auto"))
    root = ElementTree.fromstring(drawn)
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {text.split("  ")[0] for text in texts} >= set(FINDS)
    assert "auto  0.303" in texts
    assert len(list(root.iter("{http://www.w3.org/2000/svg}polygon"))) == len(FINDS)
    assert "http" not in drawn.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_a_single_seed_has_no_bands() -> None:
    given = runs(seeds=1)
    (group,) = groups(given)
    assert "<polygon" not in pictures.curves(given, group, pictures.looks(FINDS, reference="auto"))


def test_the_critical_difference_diagram_is_whole_svg() -> None:
    rank = {f"m{i}": 1.0 + i for i in range(7)}
    drawn = pictures.ranks(Friedman(12, 1.0, 1.0, 0.5, 2.6, rank, (("m0", "m1", "m2"), ("m1", "m2", "m3"))))
    root = ElementTree.fromstring(drawn)
    lines = list(root.iter("{http://www.w3.org/2000/svg}line"))
    assert sum(line.get("class") == "clique" for line in lines) == 2
    said = " ".join("".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text"))
    assert all(name in said for name in rank)
    assert "critical difference 2.60" in said


def test_the_page_needs_nothing_else_and_escapes_names() -> None:
    given = runs() + runs(workers=4)
    found = page.html(given, groups(given), title="A < B", notes=["one <line>", "a table:\n  auto  2.3"])
    assert '<p class="quiet">one &lt;line&gt;</p>' in found
    assert '<pre class="quiet">a table:\n  auto  2.3</pre>' in found
    assert "<b>&worst" not in found
    assert "&lt;b&gt;&amp;worst" in found
    assert "<script" not in found
    assert found.replace('xmlns="http://www.w3.org/2000/svg"', "").count("http") == 0
    assert found.count("<svg") == 4
    assert "A &lt; B" in found


def test_looks_are_distinct_and_the_reference_has_the_first() -> None:
    look = pictures.looks([f"m{i}" for i in range(20)], reference="m7")
    assert look["m7"] == pictures.Look(pictures.COLOURS[0], "")
    assert len(set(look.values())) == 20


@given(st.lists(st.floats(0, 400), min_size=1, max_size=12))
def test_labels_keep_their_distance_their_order_and_the_bounds(wanted: list[float]) -> None:
    wanted = sorted(wanted)
    places = pictures.spread(wanted, gap=17, low=10, high=390)
    assert all(after - before >= 17 - 1e-6 for before, after in pairwise(places))
    assert min(places) >= 10 - 1e-6
    assert max(places) <= 390 + 1e-6


def test_labels_with_room_stay_where_they_belong() -> None:
    assert pictures.spread([20, 100, 104], gap=10, low=0, high=200) == pytest.approx([20, 97, 107])
