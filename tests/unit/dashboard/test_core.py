"""The front end's pure modules, run where they run: formats, the filter language, robust axes, the list of studies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page, Route, sync_playwright

from hpo_service.api.filters import known_names, parse_filters
from hpo_service.dashboard import pages
from tests.browser.conftest import ARGUMENTS, chromium

pytestmark = pytest.mark.browser
ORIGIN = "http://pages.test"
Call = Callable[..., Any]
WAITS = "paused at resource 4: goes on when the search calls for it"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        found = browser.new_page(locale="de-DE", timezone_id="UTC")
        found.route("**/*", _serve)
        found.goto(f"{ORIGIN}/")
        yield found
        browser.close()


def _serve(route: Route) -> None:
    path = Path(route.request.url.removeprefix(f"{ORIGIN}/").split("?")[0])
    if path.suffix:
        route.fulfill(path=pages.FOLDER / path, content_type="text/javascript")
    else:
        route.fulfill(body="<!doctype html><title>t</title>", content_type="text/html")


@pytest.fixture(scope="module")
def call(page: Page) -> Call:
    """`call("core/format.js", "number", 3.2e-4)`: what the exported function answers, as JSON has it."""

    def run(module: str, name: str, *given: Any) -> Any:
        script = "async ([m, n, g]) => JSON.stringify((await import(m))[n](...JSON.parse(g)) ?? null)"
        return json.loads(page.evaluate(script, [f"/static/{module}", name, json.dumps(given)]))

    return run


@pytest.mark.parametrize(
    ("name", "given", "text"),
    [
        ("number", [3.2e-4], "3.2e-4"), ("number", [0.0123456], "0.01235"), ("number", [12345.6], "12,346"),
        ("number", [12345], "12,345"), ("number", [-1e20], "−1e20"), ("number", [-0.5], "−0.5"), ("number", [0], "0"),
        ("number", [None], "–"), ("number", ["NaN"], "not a number"), ("number", ["-Infinity"], "−∞"),
        ("metric", ["val_accuracy", 0.9783], "97.8 %"), ("metric", ["val_accuracy", 0.98], "98.0 %"),
        ("metric", ["f1", 1], "100 %"), ("metric", ["val_loss", 0.5], "0.5"), ("metric", ["acc", 97.8], "97.8"),
        ("metric", ["facts", 0.5], "0.5"), ("metric", ["AUC", 0.5], "50.0 %"),
        ("percent", [0.42], "42 %"), ("duration", [0.03], "30 ms"), ("duration", [45], "45 s"),
        ("duration", [125], "2 min"), ("duration", [4800], "1 h 20 min"), ("duration", [3 * 86400], "3 d"),
        ("duration", [59.9 * 60], "1 h"), ("money", [420000], "$0.42"), ("money", [0], "$0"),
        ("money", [32], "< $0.0001"), ("money", [150], "$0.00015"), ("clip", ["a\u202ebcdef", 4], "a b…"),
        ("clip", ["<b>", 3], "<b>"),
        ("money", [1234567890], "$1,235"), ("bytes", [1.5e9], "1.5 GB"), ("bytes", [999_600], "1 MB"),
        ("value", [True], "true"), ("value", [[1, 2]], "[1,2]"),
        ("params", [{"lr": 0.001, "opt": "sgd"}], "lr=0.001, opt=sgd"),
        ("reasonOf", [{"state": "paused", "reason": "reached", "resource": 4}], WAITS),
        ("reasonOf", [{"state": "paused", "reason": "", "resource": 4}], WAITS),
        ("reasonOf", [{"state": "failed", "reason": "boom", "resource": 4}], "boom"),
        ("plural", [1, "trial"], "1 trial"), ("plural", [1200, "trial"], "1,200 trials"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_people_read_them(call: Call, name: str, given: list[Any], text: str) -> None:
    assert call("core/format.js", name, *given) == text


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.floats(), st.integers(-(2**60), 2**60)))
def test_every_number_has_a_short_text(call: Call, x: float) -> None:
    text = call("core/format.js", "number", x if abs(x) < float("inf") else str(x).replace("inf", "Infinity").title())
    assert 0 < len(text) <= 13
    assert "-" not in text.removeprefix("−").replace("e-", "")


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1e9))
def test_every_duration_has_a_short_text(call: Call, seconds: float) -> None:
    text = call("core/format.js", "duration", seconds)
    assert len(text) <= 13
    assert "60 min" not in text
    assert "24 h" not in text


NAMES = known_names(["lr", "optimizer", "batch"], ["loss"])
VALUES = st.one_of(
    st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6, allow_nan=False),
    st.text("ab \"'<>=:,é🦊", min_size=1, max_size=8),
)


@settings(max_examples=80, deadline=None)
@given(VALUES)
def test_what_the_page_writes_the_server_reads(page: Page, value: Any) -> None:
    """A term made by a click says the same to the server, and comes back from the page's own reading of it."""
    script = """async (v) => { const { selection } = await import("/static/core/selection.js");
        selection.set(""); selection.term("optimizer", ":", v); return [selection.text, selection.terms()]; }"""
    text, terms = page.evaluate(script, value)
    (found,) = parse_filters(text, NAMES)
    assert found.field == "param.optimizer"
    assert len(terms) == 1
    assert (terms[0]["field"], terms[0]["op"]) == ("optimizer", ":")
    if isinstance(value, str) and not ("'" in value and '"' in value):
        assert str(found.value) in (value, str(value).strip())
        assert terms[0]["value"] == value
    elif not isinstance(value, str):
        assert float(found.value) == pytest.approx(value, rel=1e-5)


def test_ranges_replace_each_other_and_keep_the_rest(page: Page) -> None:
    script = """async () => { const { selection: s } = await import("/static/core/selection.js");
        const seen = []; const off = s.on((t) => seen.push(t));
        s.set("state:failed lr>1 optimizer:sgd"); s.range("lr", 0.001, 0.1); s.range("param.lr", null, 0.2);
        s.toggleNumber(3); s.toggleNumber(5); s.toggleNumber(3); const all = s.text;
        s.range("lr", null, null); s.remove("state:failed");
        const few = s.text; s.clear(); off(); return [all, few, location.search, seen.length]; }"""
    everything, few, search, told = page.evaluate(script)
    assert everything == "state:failed optimizer:sgd param.lr<=0.2 number:5"
    assert few == "optimizer:sgd number:5"
    assert search == ""
    assert told >= 8


def test_what_does_not_parse_is_told_as_such(page: Page) -> None:
    script = """async () => { const { selection } = await import("/static/core/selection.js");
        return selection.terms("lr>1e-3 ??? state : failed name:'a b'"); }"""
    terms = page.evaluate(script)
    assert [(one["field"], one["op"], one["value"]) for one in terms] == [
        ("lr", ">", "1e-3"), ("", "", ""), ("state", ":", "failed"), ("name", ":", "a b")
    ]  # fmt: skip
    assert (terms[1]["start"], terms[1]["end"]) == (8, 11)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=8, max_size=200))
def test_one_huge_value_cannot_ruin_an_axis(call: Call, values: list[float]) -> None:
    found = call("core/plot.js", "robustRange", [*values, 1e20, None])
    spread = sorted(values)[3 * len(values) // 4] - sorted(values)[len(values) // 4]
    if spread > 1e-9:
        assert found["range"][1] < 100
        assert found["outside"] >= 1
        assert "outside" in found["text"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=3, max_size=60))
def test_an_axis_of_tame_values_shows_most_of_them(call: Call, values: list[float]) -> None:
    found = call("core/plot.js", "robustRange", values)
    low, high = found["range"]
    assert low < high
    assert sum(1 for x in values if low <= x <= high) + found["outside"] == len(values)
    assert found["outside"] <= len(values) / 2


def study(**fields: Any) -> dict[str, Any]:
    base = {
        "id": "a", "name": "n", "project": "default", "created_by": "me", "created_at": "2026-01-01T00:00:00Z",
        "state": "running", "metric": "loss", "direction": "minimize", "tags": [], "notes": "", "trials": 1,
        "cost_microdollars": 0, "best": None, "budget": [],
    }  # fmt: skip
    return base | fields


def test_the_best_study_comes_first_whichever_way_its_metric_goes(call: Call) -> None:
    rows = [
        study(id="low", best={"value": 0.1}),
        study(id="none"),
        study(id="high", best={"value": 0.9}),
        study(id="accurate", metric="acc", direction="maximize", best={"value": 0.9}),
        study(id="wrong", metric="acc", direction="maximize", best={"value": 0.1}),
    ]
    found = [one["id"] for one in call("studies/list.js", "sorted", rows, "best")]
    assert found == ["accurate", "wrong", "low", "high", "none"]


def test_a_search_finds_every_word_anywhere(call: Call) -> None:
    rows = [
        study(id="a", name="Digits", tags=["demo"]),
        study(id="b", name="digits wide"),
        study(id="c", state="failed"),
    ]
    asked = {"q": "DIGITS demo"}
    assert [one["id"] for one in call("studies/list.js", "visible", rows, asked)] == ["a"]
    assert [one["id"] for one in call("studies/list.js", "visible", rows, {"state": "failed"})] == ["c"]
    assert [one["id"] for one in call("studies/list.js", "visible", rows, {"tag": "demo"})] == ["a"]


def test_groups_hold_a_study_under_each_of_its_tags(call: Call) -> None:
    rows = [study(id="a", tags=["x", "y"]), study(id="b", tags=["y"]), study(id="c")]
    found = {
        group["tag"]: [one["id"] for one in group["studies"]]
        for group in call("studies/list.js", "grouped", rows, True)
    }
    assert found == {"x": ["a"], "y": ["a", "b"], "": ["c"]}


def test_progress_is_that_of_the_nearest_bound(call: Call) -> None:
    budget = [{"name": "trials", "used": 10, "limit": 100}, {"name": "hours", "used": 3, "limit": 4}]
    assert call("studies/list.js", "share", study(budget=budget)) == 0.75
    assert call("studies/list.js", "share", study()) is None
