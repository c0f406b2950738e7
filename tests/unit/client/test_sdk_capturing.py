"""Functions of notebooks as source: what comes out runs the same elsewhere, and what cannot is named."""

from __future__ import annotations

import itertools
import linecache
import logging
import math
import sys
import types
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.client.capturing import MODULE, Captured, capture
from hpo_service.errors import InvalidInput

_counter = itertools.count()


class Notebook:
    """Cells that are run as IPython runs them: in one namespace, their sources kept where `inspect` finds them."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}

    def run(self, source: str) -> None:
        name = f"<ipython-input-{next(_counter)}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec", dont_inherit=True), self.names)

    def capture(self, name: str = "train") -> Captured:
        return capture(self.names[name])


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    found = Notebook()
    main = types.ModuleType("__main__")
    main.__dict__.update(found.names)
    found.names = main.__dict__
    monkeypatch.setitem(sys.modules, "__main__", main)
    return found


def elsewhere(captured: Captured) -> Any:
    """The captured function, in a module that is made of its source alone."""
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    exec(compile(captured.source, f"{MODULE}.py", "exec", dont_inherit=True), module.__dict__)
    return getattr(module, captured.name)


def refused(notebook: Notebook, name: str = "train") -> dict[str, str]:
    with pytest.raises(InvalidInput) as error:
        notebook.capture(name)
    assert all(problem.remedy for problem in error.value.problems)
    return {problem.path: problem.rule for problem in error.value.problems}


def test_functions_classes_constants_and_imports_come_along(notebook: Notebook) -> None:
    notebook.run(
        "import math as m\nimport os.path\nimport xml.dom.minidom\nfrom json import dumps as to_json\nRATE = 0.5\n"
    )
    notebook.run("import io\nUNUSED = io.StringIO()\nTABLE = {'a': [1, (2, 3)], 'b': {4}}\n")
    notebook.run("class Base:\n    scale = RATE\n\n    def scaled(self, x):\n        return x * self.scale\n")
    notebook.run("class Model(Base):\n    def f(self, x):\n        return m.floor(self.scaled(x)) + helper(x)\n")
    notebook.run("def helper(x, extra=RATE):\n    return x + extra\n")
    notebook.run(
        "def train(trial):\n    name = xml.dom.minidom.parseString('<a/>').documentElement.tagName\n"
        "    return [Model().f(trial), TABLE, to_json([os.path.sep]), name]\n"
    )
    captured = notebook.capture()
    assert elsewhere(captured)(3) == notebook.names["train"](3)
    assert "UNUSED" not in captured.source
    assert {"math", "json", "xml.dom.minidom"} <= captured.imports


def test_decorators_and_defaults_come_before_what_needs_them(notebook: Notebook) -> None:
    notebook.run(
        "import functools\ndef twice(f):\n    @functools.wraps(f)\n    def g(*a):\n"
        "        return 2 * f(*a)\n    return g\n"
    )
    notebook.run("@functools.lru_cache\ndef slow(x):\n    return x\n")
    notebook.run("@twice\ndef train(trial):\n    return slow(trial)\n")
    assert elsewhere(notebook.capture())(4) == 8


def test_recursion_and_mutual_calls_are_captured_once(notebook: Notebook) -> None:
    notebook.run("def even(n):\n    return n == 0 or odd(n - 1)\ndef odd(n):\n    return n != 0 and even(n - 1)\n")
    notebook.run("def train(n):\n    return even(n)\n")
    captured = notebook.capture()
    assert captured.source.count("def even") == 1
    assert elsewhere(captured)(4) is True


def test_a_changed_cell_counts_as_it_is_now(notebook: Notebook) -> None:
    notebook.run("def helper():\n    return 'old'\ndef train(trial):\n    return helper()\n")
    notebook.run("def helper():\n    return 'new'\n")
    assert elsewhere(notebook.capture())(None) == "new"


def test_dataclasses_without_methods_are_found_in_their_cells(notebook: Notebook) -> None:
    notebook.run("from dataclasses import dataclass\n@dataclass\nclass Options:\n    depth: int = 3\n")
    notebook.run("def train(trial):\n    return Options().depth\n")
    assert elsewhere(notebook.capture())(None) == 3


def test_annotations_stay_unevaluated_where_they_were(notebook: Notebook) -> None:
    notebook.run("from __future__ import annotations\ndef train(trial: NotThere) -> None:\n    return 1\n")
    assert elsewhere(notebook.capture())(None) == 1


def test_a_named_lambda_a_logger_and_a_path_are_captured(notebook: Notebook) -> None:
    notebook.run("import logging, pathlib\nlog = logging.getLogger('mine')\nhome = pathlib.Path('/data')\n")
    notebook.run(
        "double = lambda x: 2 * x\ndef train(trial):\n    log.debug('x')\n    return [double(trial), str(home)]\n"
    )
    assert elsewhere(notebook.capture())(4) == [8, "/data"]
    assert isinstance(notebook.names["log"], logging.Logger)


def test_pytorchs_devices_and_types_are_captured(notebook: Notebook) -> None:
    notebook.run("import torch\ndevice, dtype = torch.device('cpu'), torch.float64\n")
    notebook.run("def train(trial):\n    return torch.zeros(1, device=device, dtype=dtype)\n")
    assert str(elsewhere(notebook.capture())(None).dtype) == "torch.float64"


def test_what_a_function_closes_over_is_captured_by_value(notebook: Notebook) -> None:
    notebook.run(
        "def make(width):\n    def train(trial):\n        return width * trial\n    return train\ntrain = make(3)\n"
    )
    assert elsewhere(notebook.capture())(4) == 12


def test_another_name_for_a_function_is_kept(notebook: Notebook) -> None:
    notebook.run("def helper(x):\n    return x + 1\nalias = helper\ndef train(trial):\n    return alias(trial)\n")
    assert elsewhere(notebook.capture())(1) == 2


@pytest.mark.parametrize(
    ("setting", "used", "said"),
    [
        ("import io\ndata = io.StringIO()", "data", "a _io.StringIO, which cannot be written as source"),
        ("import threading\nlock = threading.Lock()", "lock", "a _thread.lock"),
        ("import numpy\nimages = numpy.zeros((4, 4))", "images", "a numpy.ndarray"),
        ("big = list(range(40000))", "big", "over 65536"),
        ("class Net: ...\nnet = Net()", "net", "a __main__.Net"),
        ("steps = (x for x in [1])", "steps", "a generator"),
        ("ring = []\nring.append(ring)", "ring", "a list, which cannot be written"),
        ("fs = [lambda x: x]\nf = fs[0]", "f", "the source of f cannot be found"),
        (
            "import io\ndef make(file):\n    def g():\n        return file\n    return g\ng = make(io.StringIO())",
            "g",
            "",
        ),
        ("import __main__ as me", "me", "not on the workers"),
        ("", "nowhere", "which is not defined"),
    ],
)
def test_what_cannot_be_captured_is_named(notebook: Notebook, setting: str, used: str, said: str) -> None:
    notebook.run(f"{setting}\ndef train(trial):\n    return {used}\n")
    told = refused(notebook)
    assert said in " ".join(told.values())
    assert used in told or used == "g"


def test_every_reason_is_told_at_once(notebook: Notebook) -> None:
    notebook.run("import io\na = io.StringIO()\nb = object()\ndef train(trial):\n    return a, b\n")
    assert set(refused(notebook)) == {"a", "b"}


def test_source_that_is_nowhere_is_said_so(notebook: Notebook) -> None:
    exec("def train(trial): ...", notebook.names)
    assert "cannot be found" in refused(notebook)["train"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
        | st.frozensets(st.integers() | st.text(max_size=5), max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(VALUES)
def test_constants_come_back_as_they_were(value: object) -> None:
    book = Notebook()
    book.run("def train(trial):\n    return VALUE\n")
    book.names["VALUE"] = value
    assert repr(elsewhere(book.capture())(None)) == repr(value) or _equal(elsewhere(book.capture())(None), value)


def _equal(one: object, other: object) -> bool:
    """Sets may be told in another order."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_equal(one[name], other[name]) for name in one)
    return type(one) is type(other) and (one == other or repr(one) == repr(other))


def test_the_source_is_the_same_each_time(notebook: Notebook) -> None:
    notebook.run("import os, sys\nNAMES = {'b', 'a', 'c'}\ndef train(trial):\n    return NAMES, os, sys\n")
    assert notebook.capture().source == notebook.capture().source


def test_a_class_is_captured_like_a_function(notebook: Notebook) -> None:
    notebook.run("SCALE = 2\nclass Base:\n    def scaled(self, x):\n        return SCALE * x\n")
    notebook.run("class Trainable(Base):\n    '''Trains.'''\n    def step(self):\n        return self.scaled(4)\n")
    assert elsewhere(notebook.capture("Trainable"))().step() == 8


def test_two_things_of_one_name_are_refused(notebook: Notebook) -> None:
    notebook.run(
        "width = 1\ndef make(width):\n    def train(trial):\n        return width + other()\n    return train\n"
    )
    notebook.run("def other():\n    return width\ntrain = make(3)\n")
    assert "means two things" in refused(notebook)["width"]
