"""The language of ?filter= and ?sort=."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.api.filters import FIELDS, Names, parse_filters, parse_sort
from hpo_service.errors import InvalidInput
from hpo_service.store.reading import Filter

NAMES = Names(params=("lr", "optimizer", "batch_size", "value_scale"), metrics=("val_accuracy", "val_loss", "lr"))


def one(text: str) -> Filter:
    """The only filter of a text."""
    (found,) = parse_filters(text, NAMES)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr>1e-3", ("param.lr", ">", 1e-3)),
        ("metric.lr > 1e-3", ("metric.lr", ">", 1e-3)),
        ("state:failed", ("state", "=", "failed")),
        ("state = failed", ("state", "=", "failed")),
        ("state!=failed", ("state", "!=", "failed")),
        ("state:failed,stopped", ("state", "in", ("failed", "stopped"))),
        ("optimizer:sgd", ("param.optimizer", "=", "sgd")),
        ("optimizer:'two words'", ("param.optimizer", "=", "two words")),
        ('optimizer:"16"', ("param.optimizer", "=", "16")),
        ("batch_size:16,32", ("param.batch_size", "in", (16, 32))),
        ("value>=0.9", ("value", ">=", 0.9)),
        ("val_accuracy<0.5", ("metric.val_accuracy", "<", 0.5)),
        ("metric.anything<1", ("metric.anything", "<", 1)),
        ("param.lr<=1", ("param.lr", "<=", 1)),
        ("tag:123", ("tag", "=", "123")),
        ("optimizer:true", ("param.optimizer", "=", True)),
        ("number:3", ("number", "=", 3)),
        ("cost>-1", ("cost", ">", -1)),
        ("lr<1" + "0" * 400, ("param.lr", "<", math.inf)),
        ("number:1" + "0" * 30, ("number", "=", 1e30)),
    ],
)
def test_terms(text: str, expected: tuple[object, ...]) -> None:
    found = one(text)
    assert (found.field, found.op, found.value) == expected


def test_terms_are_joined() -> None:
    text = "lr>1e-3 state:failed optimizer:sgd tag:x value>=0.9 param.lr<1"
    assert [f.field for f in parse_filters(text, NAMES)] == [
        "param.lr", "state", "param.optimizer", "tag", "value", "param.lr",
    ]  # fmt: skip
    assert parse_filters("   ", NAMES) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lrr>1", "at position 1 unknown name.*did you mean 'lr'"),
        ("state:failed vall_loss<1", "at position 14 unknown name.*did you mean 'val_loss'"),
        ("param.val_loss<1", "unknown name"),
        ("state:faild", "at position 1 unknown state, but got 'faild'; did you mean 'failed'"),
        ("state>failed", "state has no order"),
        ("lr>abc", "> compares with a number, but got 'abc'"),
        ("lr>nan", "compares with a number"),
        ("value:abc", "value is a number"),
        ("lr!=1,2", "several values go with : only"),
        ("lr", "at position 1 a term must be NAME OP VALUE"),
        ("lr>", "NAME OP VALUE"),
        ("value>1 lr ~ 3", "at position 9 a term must be"),
        ("tag:,", "a value is missing"),
        (" ".join(["lr>1"] * 33), "at most 32 terms"),
        ("x" * 5000, "at most 4096 characters"),
    ],
)
def test_mistakes_say_where_and_what_instead(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_filters(text, NAMES)
    assert re.search(message, str(caught.value))
    assert caught.value.problems[0].path == "filter"


@given(text=st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_filters_or_an_explained_refusal(text: str) -> None:
    try:
        fields = [item.field for item in parse_filters(text, NAMES)]
    except InvalidInput as error:
        fields = [problem.path for problem in error.problems]
    assert fields == ["filter"] or all(field in FIELDS or field.startswith(("param.", "metric.")) for field in fields)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("number", "number"),
        ("-value", "-value"),
        ("lr", "param.lr"),
        ("-val_accuracy", "-metric.val_accuracy"),
        ("metric.lr", "metric.lr"),
    ],
)
def test_sort(text: str, expected: str) -> None:
    assert parse_sort(text, NAMES) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [("vaule", "did you mean 'value'"), ("tag", "have many tags"), ("", "unknown name"), ("--value", "unknown name")],
)
def test_wrong_sorts(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        parse_sort(text, NAMES)
    assert caught.value.problems[0].path == "sort"
