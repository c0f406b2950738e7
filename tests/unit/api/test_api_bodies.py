"""Strict bodies: what is refused, with what message, and how fast."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.api.bodies import parse_body
from hpo_service.core.definition import parse
from hpo_service.errors import InvalidInput
from tests.cpu_time import least_cpu_seconds

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(document=plain)
@settings(max_examples=60, deadline=None)
def test_json_comes_back_as_it_was_sent(document: object) -> None:
    assert parse_body(json.dumps(document).encode(), "application/json; charset=utf-8") == document


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_json_does_not_know_are_refused(constant: str) -> None:
    with pytest.raises(InvalidInput, match=f"JSON knows no NaN and no infinity, but got '{constant}'"):
        parse_body(f'{{"low": {constant}}}'.encode(), "application/json")


def test_a_syntax_error_says_where() -> None:
    with pytest.raises(InvalidInput, match="line 2, column 5"):
        parse_body(b'{"a": 1,\n"b" 2}', "application/json")


def test_yaml_needs_its_content_type_and_keeps_scientific_numbers() -> None:
    assert parse_body(b"low: 1.0e-6\nhigh: 1e-1\n", "application/yaml") == {"low": 1e-6, "high": 0.1}
    with pytest.raises(InvalidInput, match="the body must be JSON"):
        parse_body(b"low: 1\n", "application/json")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_other_content_types_are_refused(kind: str) -> None:
    with pytest.raises(InvalidInput, match="application/json or application/yaml"):
        parse_body(b"{}", kind)


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(InvalidInput, match="byte 1 is not"):
        parse_body(b'"\xff"', "application/json")


YAML_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[" * 1000 + b"]" * 1000, "application/json"),
        (b"[" * 60_000, "application/json"),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "application/json"),
        (b"[" * 1000 + b"]" * 1000, "application/yaml"),
        (YAML_BOMB.encode(), "application/yaml"),
        (b"1" * 100_000, "application/json"),
    ],
    ids=["deep", "deeper, unclosed", "deep mapping", "deep YAML", "YAML bomb", "endless number"],
)
def test_bombs_are_refused_at_once(body: bytes, kind: str) -> None:
    def refuse() -> None:
        with pytest.raises(InvalidInput):
            parse(parse_body(body, kind))

    assert least_cpu_seconds(refuse) < 0.1
