"""The study page's pure modules, run where they run: the filter's check and completions, axes and brushes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page, sync_playwright

from hpo_service.api.filters import known_names, parse_filters
from hpo_service.errors import InvalidInput
from tests.browser.conftest import ARGUMENTS, chromium
from tests.unit.dashboard.test_core import ORIGIN, _serve

pytestmark = pytest.mark.browser

NAMES = known_names(["lr", "optimizer", "value"], ["loss"], constrained=True)
STUDY = """{parameters: [{name: "lr", type: "number", low: 1e-6, high: 1, log: true},
  {name: "optimizer", type: "category", labels: ["sgd", "two words"]},
  {name: "value", type: "number", low: 0, high: 1}],
  constraints: [{metric: "ms", sign: "≤", bound: 20}],
  metrics: () => ["loss"], metricName: "loss", study: () => ({tags: ["vision"]})}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        found = browser.new_page()
        found.route("**/*", _serve)
        found.goto(f"{ORIGIN}/")
        yield found
        browser.close()


def checked(page: Page, text: str) -> bool:
    script = f"""async (t) => (await import("/static/study/filter_check.js")).check(t, {STUDY})"""
    return bool(page.evaluate(script, text))


TERMS = st.tuples(
    st.sampled_from(
        [
            "lr",
            "optimizer",
            "param.lr",
            "metric.loss",
            "loss",
            "state",
            "origin",
            "tag",
            "number",
            "value",
            "nope",
            "feasible",
            "violation",
        ]
    ),
    st.sampled_from([":", "=", "==", "!=", "<", "<=", ">", ">="]),
    st.one_of(
        st.sampled_from(
            [
                "sgd",
                "failed",
                "failed,stopped",
                "1e-3",
                "1,2,3",
                '"a b"',
                "nan",
                "1_0",
                ",",
                "retry",
                "-.5e3",
                "yes",
                "no,unknown",
            ]
        ),
        st.text("ab1-.,e_\"'é", min_size=1, max_size=5),
    ),
).map("".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(TERMS, max_size=3).map(" ".join))
def test_what_the_page_is_sure_of_the_server_reads(page: Page, text: str) -> None:
    """The page asks the server only where it is unsure; it must never be sure of what the server refuses."""
    refused = False
    with contextlib.suppress(InvalidInput):
        parse_filters(text, NAMES)
        refused = True
    if checked(page, text):
        assert refused, f"the page takes {text!r}, the server does not"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lr>1e-3",
        "state:failed,stopped optimizer:sgd",
        "metric.loss<=0.5 tag:x",
        "number:1,2",
        "feasible:yes,unknown violation<0.5",
    ],
)
def test_plain_filters_need_no_question(page: Page, text: str) -> None:
    assert checked(page, text)


@pytest.mark.parametrize(
    ("text", "offered"),
    [("opt", "optimizer:"), ("lr>1 st", "state:"), ("state:fa", "failed"), ("state:failed,sto", "stopped"),
     ("optimizer:two", '"two words"'), ("tag:v", "vision"), ("lo", "loss"),
     ("feas", "feasible:"), ("feasible:u", "unknown")],
)  # fmt: skip
def test_names_and_values_are_completed(page: Page, text: str, offered: str) -> None:
    script = f"""async (t) => (await import("/static/study/filter_check.js")).complete(t, t.length, {STUDY}).items"""
    assert offered in [item["text"] for item in page.evaluate(script, text)]


@settings(max_examples=80, deadline=None)
@given(
    column=st.lists(st.one_of(st.none(), st.floats(1e-6, 1.0)), min_size=3, max_size=12),
    log=st.booleans(),
    ends=st.tuples(st.floats(0.02, 0.45), st.floats(0.55, 0.98)),
)
def test_a_brush_becomes_terms_and_comes_back(
    page: Page, column: list[Any], log: bool, ends: tuple[float, float]
) -> None:
    """The terms that a brush writes bring the same brush back, but for their last digits."""
    field = {"name": "lr", "kind": "param", "type": "number", "log": log, "low": 1e-6, "high": 1}
    script = f"""async ([field, column, ends]) => {{
        const {{ axisFor, brushOf, meaningOf }} = await import("/static/charts/parallel_axes.js");
        const axis = axisFor(field, column, {STUDY});
        const span = ends.map((share) => axis.low + share * (axis.high - axis.low));
        const {{ range }} = meaningOf(axis, [span]);
        const terms = [{{ field: "lr", op: ">=", value: range[0] }}, {{ field: "lr", op: "<=", value: range[1] }}]
          .filter((one) => one.value !== null).map((one) => ({{ ...one, value: String(one.value) }}));
        return JSON.stringify({{ span, back: brushOf(axis, terms), low: axis.low, high: axis.high }}); }}"""
    answer = json.loads(page.evaluate(script, [field, column, ends]))
    size = answer["high"] - answer["low"]
    for before, after in zip(answer["span"], answer["back"] or [], strict=False):
        assert abs(before - after) <= 0.01 * size + 1e-3 * abs(before)
