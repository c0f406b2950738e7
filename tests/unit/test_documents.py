"""Reading YAML from people: 1.2 scalars, places of mistakes, and what is refused before it can hurt."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.documents import MAX_TEXT_BYTES, load_yaml
from hpo_service.errors import InvalidInput
from tests.cpu_time import least_cpu_seconds

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co")))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("1E5", 1e5),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-.inf", -math.inf),
        ("12", 12),
        ("-7", -7),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2026-01-02", "2026-01-02"),
        ("1_000", "1_000"),
        ("e5", "e5"),
        ("1e-6x", "1e-6x"),
        ("'1e-6'", "1e-6"),
        ("!!str 1", "1"),
        ("<<", "<<"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    found = load_yaml(text)
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(load_yaml(".nan"))


def test_a_study_definition_is_read() -> None:
    text = """
    # a comment
    name: digits
    space:
      lr: &lr {type: loguniform, low: 1e-6, high: 1.0e-1}
      other: *lr
    tags: [demo, "2"]
    1: number key
    """
    found = load_yaml(text.encode())
    assert found["space"]["lr"] == {"type": "loguniform", "low": 1e-6, "high": 0.1}
    assert found["space"]["other"] == found["space"]["lr"]
    assert found["space"]["other"] is not found["space"]["lr"]
    assert found["tags"] == ["demo", "2"]
    assert found["1"] == "number key"


@given(PLAIN)
@settings(deadline=None, max_examples=150)
def test_json_is_read_as_json(value: Any) -> None:
    assert load_yaml(json.dumps(value, ensure_ascii=False)) == value


def bomb(levels: int, width: int = 9) -> str:
    lines = ["a0: &a0 [" + ",".join(["x"] * width) + "]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param(bomb(9), "aliases may repeat at most 10,000 values", id="billion laughs"),
        pytest.param("&a [*a]", "may not contain itself", id="cycle"),
        pytest.param("a: &a {b: *a}", "may not contain itself", id="cycle in a mapping"),
        pytest.param("[" * 1000 + "]" * 1000, "nests at most 64 levels", id="deep lists"),
        pytest.param("[" * 100 + "]" * 100, "nests at most 64 levels", id="less deep lists"),
        pytest.param("{a: " * 5000 + "1" + "}" * 5000, "nests at most 64 levels", id="deep mappings"),
        pytest.param("- " * 5000 + "x", "nests at most 64 levels", id="deep block lists"),
        pytest.param("\n".join(" " * i + f"k{i}:" for i in range(1000)), "nests at most 64", id="deep block mappings"),
        pytest.param("? " * 3000 + "x", "nests at most 64 levels", id="deep keys"),
        pytest.param("x" * (MAX_TEXT_BYTES + 1), "at most 1,048,576 bytes", id="large"),
        pytest.param("[" + "1," * 200_000 + "]", "at most 50,000 values", id="many values"),
        pytest.param("a: " + "9" * 100_000, "is not a whole number", id="many digits"),
        pytest.param("!!python/object/apply:os.system ['true']", "the tag", id="python tag"),
        pytest.param("!include /etc/passwd", "the tag", id="local tag"),
        pytest.param("!!set {a}", "the tag", id="set"),
        pytest.param("!!binary aGVsbG8=", "the tag", id="binary"),
        pytest.param("!!int word", "'word' is not a whole number", id="wrong tag"),
        pytest.param("a: 1\na: 2", "'a' stands twice", id="key twice"),
        pytest.param("{1: a, '1': b}", "'1' stands twice", id="key twice after conversion"),
        pytest.param("[a, b]: 1", "a key must be text", id="list as key"),
        pytest.param("a: 1\n--- \nb: 2", "single document", id="two documents"),
        pytest.param("a: [1", "not YAML", id="open list"),
        pytest.param("a: *nothing", "nothing names none", id="undefined alias"),
        pytest.param("a: \x00", "not YAML", id="control character"),
    ],
)
def test_what_is_refused_is_refused_at_once(text: str, rule: str) -> None:
    def refuse() -> None:
        with pytest.raises(InvalidInput, match=rule.replace("(", r"\(")):
            load_yaml(text)

    assert least_cpu_seconds(refuse) < 2


def test_a_mistake_has_line_and_column() -> None:
    with pytest.raises(InvalidInput) as caught:
        load_yaml("name: a\nspace:\n  lr: {type: uniform\n")
    assert caught.value.problems[0].path == "line 4, column 1"
    with pytest.raises(InvalidInput, match="line 3, column 3: a key may stand once"):
        load_yaml("space:\n  a: 1\n  a: 2\n")


def test_bytes_must_be_utf8() -> None:
    assert load_yaml("﻿a: ü".encode()) == {"a": "ü"}
    with pytest.raises(InvalidInput, match="byte 3 is not"):
        load_yaml(b"a: \xff")


@given(st.text(max_size=200) | st.binary(max_size=200))
@settings(deadline=None, max_examples=300)
def test_whatever_comes_it_is_a_value_or_a_refusal(text: str | bytes) -> None:
    with contextlib.suppress(InvalidInput):
        json.dumps(load_yaml(text))
