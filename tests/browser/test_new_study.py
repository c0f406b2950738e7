"""The page of a new study in a real Chromium: completion by keyboard, mistakes at their lines, plan, submit, clone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from hpo_service.api.definition_text import templates
from hpo_service.documents import load_yaml
from tests.acceptance.processes import Server
from tests.browser.conftest import Gallery, Opener

pytestmark = pytest.mark.browser

SMALL = """name: from the page
objective: {metric: loss}
space:
  lr: {type: loguniform, low: 1e-4, high: 0.1}
algorithm: {name: random}
trainer: {external: true}
budget: {trials: 3}
"""


def editor(page: Page) -> Locator:
    return page.get_by_role("textbox", name="The study's definition, YAML")


def ready(page: Page) -> Locator:
    """Until the plan of the text is shown; the editor."""
    expect(page.get_by_text("Valid: ready to submit.")).to_be_visible()
    return editor(page)


def write(page: Page, text: str) -> Locator:
    """Put the text into the editor, as pasting does, the cursor at its end."""
    area = editor(page)
    area.focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(text or " ")
    page.keyboard.press("Escape")
    return area


def options(page: Page) -> list[str]:
    page.get_by_role("listbox", name="Completions").wait_for()
    return page.get_by_role("option").locator(".complete-label").all_inner_texts()


def test_it_begins_with_a_definition_that_works_and_shows_its_plan(shown: Gallery, open_page: Opener) -> None:
    page = open_page(f"{shown.url}/new")
    area = ready(page)
    assert area.input_value() == templates()[0].yaml
    page.get_by_role("button", name="Hyperband", exact=True).click()
    plan = page.get_by_test_id("plan")
    expect(plan.get_by_role("row")).to_have_count(5)
    assert plan.get_by_role("row").nth(1).get_by_role("cell").all_inner_texts() == ["27", "9", "3", "1"]
    preview = page.get_by_test_id("preview")
    expect(preview).to_contain_text("49 at most 49 at a time")
    expect(preview).to_contain_text("357 epochs")
    expect(preview.get_by_role("img", name=re.compile("log scale"))).to_have_count(1)


def test_completion_by_keyboard_alone(shown: Gallery, open_page: Opener) -> None:
    page = open_page(f"{shown.url}/new", allow=frozenset({422}))
    ready(page)
    area = write(page, "trainer: {recipe: image_classifier}\nalgorithm: ")
    page.keyboard.press("Control+Space")
    assert options(page)[:2] == ["auto", "hyperband"]
    assert area.get_attribute("aria-activedescendant") == "complete-0"
    page.keyboard.press("ArrowDown")
    assert area.get_attribute("aria-activedescendant") == "complete-1"
    page.keyboard.press("Enter")
    page.keyboard.type("27, e")
    assert options(page) == ["eta"]
    expect(page.locator(".complete-about")).to_contain_text("Of eta trials one is promoted")
    page.keyboard.press("Tab")
    page.keyboard.type("4")
    assert area.input_value().endswith("algorithm: {name: hyperband, max_resource: 27, eta: 4}")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.keyboard.type("sp")
    page.keyboard.press("Enter")
    page.keyboard.type("hidden_u")
    page.keyboard.press("Enter")
    assert area.input_value().endswith("space:\n  hidden_units: {type: integer, low: , high: }")
    page.keyboard.press("Control+Space")
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox", name="Completions")).to_be_hidden()


@pytest.mark.parametrize(
    ("text", "among"),
    [
        ("objective:\n  metric: x\n  direction: ", ["maximize", "minimize"]),
        ("trainer: {recipe: tabular}\nobjective: {metric: ", ["val_loss", "val_rmse"]),
        ("trainer:\n  recipe: ", ["image_classifier", "tabular"]),
        ("trainer:\n  recipe: tabular\n  params:\n    ", ["data", "folds", "optimizer"]),
        ("trainer:\n  recipe: tabular\n  params: {optimizer: ", ["adam", "nesterov"]),
        ("space:\n  x: {type: ", ["uniform", "loguniform", "choice"]),
        ("space:\n  x: {type: choice, ", ["values", "default", "when"]),
        ("space:\n  k: {type: choice, values: [aa, bb]}\n  x: {type: uniform, when: {k: ", ["aa", "bb"]),
        ("space:\n  x: {type: constant, value: 1}\nforbid:\n  - {", ["x"]),
        ("budget: {trials: 3, ", ["hours", "patience", "target"]),
        ("algorithm:\n  name: asha\n  ", ["max_resource", "eta", "sampler"]),
    ],
)
def test_what_completes_where(editing: Page, text: str, among: list[str]) -> None:
    write(editing, text)
    editing.keyboard.press("Control+Space")
    found = options(editing)
    assert [one for one in among if one not in found] == []
    assert not {"trainer", "space"} & set(found)


@pytest.fixture
def editing(shown: Gallery, open_page: Opener) -> Page:
    """A page whose editor is ready, and whose text may be wrong."""
    page = open_page(f"{shown.url}/new", allow=frozenset({422}))
    ready(page)
    return page


def test_a_mistake_is_shown_at_its_line_with_its_remedy(editing: Page) -> None:
    write(editing, SMALL.replace("budget:", "budgett:"))
    problems = editing.locator("#problems")
    expect(problems).to_contain_text("1 problem to solve")
    expect(problems.get_by_role("alert")).to_contain_text("Line 7: budgett: unknown field. did you mean 'budget'?")
    expect(editing.locator(".code-line.bad")).to_contain_text("did you mean 'budget'?")
    assert editing.locator(".code-gutter .bad").inner_text() == "7"
    expect(editing.get_by_test_id("preview")).to_contain_text("The last valid version")
    problems.get_by_role("button", name=re.compile("line 7")).click()
    place = editor(editing).evaluate("n => n.value.slice(0, n.selectionStart).split('\\n').length")
    assert place == 7
    editing.keyboard.press("ControlOrMeta+Enter")
    expect(editing.get_by_text("Not submitted")).to_be_visible()
    assert editing.url.endswith("/new")
    write(editing, SMALL)
    expect(editing.get_by_text("Valid: ready to submit.")).to_be_visible()
    expect(editing.locator(".code-line.bad")).to_have_count(0)


def test_text_that_is_not_yaml_says_where(editing: Page) -> None:
    write(editing, "name: x\nspace: {lr: {\nbudget: {trials: 3}\n")
    expect(editing.locator("#problems").get_by_role("button").first).to_contain_text("line ")
    write(editing, "a: 1\na: 2\n")
    expect(editing.locator("#problems").get_by_role("button")).to_contain_text("line 2")


def test_tab_indents_and_escape_lets_it_go(editing: Page) -> None:
    area = write(editing, "space:\nx")
    editing.keyboard.press("ArrowDown")
    editing.keyboard.press("Tab")
    assert area.input_value() == "space:\nx  "
    editing.keyboard.press("Shift+Tab")
    editing.keyboard.press("Enter")
    editing.keyboard.press("Escape")
    editing.keyboard.press("Tab")
    expect(area).not_to_be_focused()


def test_a_draft_is_kept(editing: Page) -> None:
    write(editing, SMALL + "notes: kept\n")
    expect(editing.get_by_text("Valid: ready to submit.")).to_be_visible()
    editing.reload()
    ready(editing)
    assert editor(editing).input_value() == SMALL + "notes: kept\n"
    expect(editing.get_by_text("Your text of last time is here again.")).to_be_visible()
    editing.get_by_role("button", name="Bayesian optimisation").click()
    editing.get_by_role("button", name="Bring it back").click()
    assert editor(editing).input_value() == SMALL + "notes: kept\n"


@pytest.mark.parametrize("width", [1360, 390])
def test_submit_and_clone(training: Server, open_page: Opener, width: int) -> None:
    page = open_page(f"{training.url}/new", width=width)
    ready(page)
    write(page, SMALL)
    expect(page.get_by_test_id("preview")).to_contain_text("3 at most 3 at a time")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    page.keyboard.press("ControlOrMeta+Enter")
    page.wait_for_url(re.compile(r"/studies/s\w+"))
    made = page.url.rstrip("/").rsplit("/", 1)[1].partition("?")[0]
    page.goto(f"{training.url}/new?clone={made}")
    text = ready(page).input_value()
    assert load_yaml(text)["space"] == load_yaml(SMALL)["space"]
    assert load_yaml(text)["name"] == "from the page"
    page.goto(f"{training.url}/new")
    ready(page)
    assert editor(page).input_value() == templates()[0].yaml


def test_a_copy_of_nothing_says_so(shown: Gallery, open_page: Opener) -> None:
    page = open_page(f"{shown.url}/new?clone=nothing", allow=frozenset({404}))
    expect(page.get_by_role("alert").filter(has_text="nothing")).to_be_visible()
    ready(page)


def _paths(document: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield ".".join((*path, key))
            yield from _paths(value, (*path, key))
    elif isinstance(document, list):
        for place, value in enumerate(document):
            yield from _paths(value, (*path, str(place)))


READ = """async (text) =>
    (await import("/static/editor/outline.js")).outline(text).entries.map((one) => one.parts.join("."))"""
FORBID = """space: {a: {type: uniform, low: 0,
  high: 1}}
forbid:
- {a: 0}
- a: 1
  b: 2
notes: |
  no: key
seed: 1
"""


def test_the_editor_reads_the_same_keys_as_the_server(editing: Page) -> None:
    for text in [*(template.yaml for template in templates()), SMALL, FORBID]:
        assert editing.evaluate(READ, text) == list(_paths(load_yaml(text)))


def test_colours_change_no_letter(editing: Page) -> None:
    read = """async (text) => (await import("/static/editor/colouring.js")).coloured(text)
        .map((line) => line.map((token) => token.text).join("")).join("\\n")"""
    for text in [*(template.yaml for template in templates()), FORBID, 'a: \'b: #c\' # d\n\t"x\\"y": [1,{z: }\n- - b']:
        assert editing.evaluate(read, text) == text
