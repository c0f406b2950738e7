"""Search spaces: conditions, forbidden combinations, grids, encoding, JSON, digests, and refusals."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import (
    PARAMETER_TYPES,
    Choice,
    Constant,
    Integer,
    LogUniform,
    Normal,
    Ordinal,
    PowerOfTwo,
    SearchSpace,
    SpaceError,
    Uniform,
    json_schema,
)
from tests.unit.search_spaces.strategies import parameters as any_parameter

quick = settings(max_examples=60, deadline=None)

DEFINITION: dict[str, Any] = {
    "lr": {"type": "loguniform", "low": 1.0e-6, "high": 1.0e-1, "default": 0.01},
    "batch_size": {"type": "power_of_two", "low": 16, "high": 256},
    "optimizer": {"type": "choice", "values": ["adam", "sgd", "momentum"]},
    "momentum": {"type": "uniform", "low": 0.85, "high": 0.95, "when": {"optimizer": ["sgd", "momentum"]}},
    "nesterov": {"type": "choice", "values": [True, False], "when": {"momentum": {">": 0.9}}},
    "data": {"type": "constant", "value": "digits"},
}
FORBID = [{"batch_size": {">=": 128}, "lr": {"<": 1e-5}}, {"optimizer": "adam", "batch_size": 16}]


def build(definition: Mapping[str, Any], forbid: Sequence[Any] = ()) -> SearchSpace:
    return SearchSpace.from_definition(definition, forbid)


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return build(DEFINITION, FORBID)


@quick
@given(st.integers(0, 2**32))
def test_samples_are_legal_and_go_round(seed: int) -> None:
    space = build(DEFINITION, FORBID)
    params = space.sample(np.random.default_rng(seed))
    assert space.validate_params(params) == params
    assert set(params) == space.active(params)
    assert json.loads(json.dumps(params)) == params
    unit = space.to_unit(params)
    assert unit.shape == (len(space.names),)
    assert {name for name, u in zip(space.names, unit, strict=True) if not math.isnan(u)} == set(params)
    assert space.from_unit(unit) == params
    assert not space.is_forbidden(params)
    assert ("momentum" in params) == (params["optimizer"] != "adam")
    assert ("nesterov" in params) == (params.get("momentum", 0) > 0.9)


@quick
@given(st.dictionaries(st.from_regex(r"[a-z_]{1,6}", fullmatch=True), any_parameter, max_size=6, min_size=1))
def test_any_space_survives_json(parameters: dict[str, Any]) -> None:
    space = build(parameters)
    again = SearchSpace.from_json(json.loads(json.dumps(json.loads(space.to_json()))))
    assert again == space
    assert again.digest == space.digest
    params = space.sample(np.random.default_rng(3))
    assert again.validate_params(params) == params
    assert again.from_unit(again.to_unit(params)) == params
    assert pickle.loads(pickle.dumps(space)) == space


@quick
@given(st.randoms(use_true_random=False))
def test_the_order_of_declaration_plays_no_part(shuffle: random.Random) -> None:
    names = list(DEFINITION)
    shuffle.shuffle(names)
    one = build(DEFINITION, FORBID)
    other = build({name: DEFINITION[name] for name in names}, FORBID[::-1])
    assert other.digest == one.digest
    assert other.names == one.names
    assert list(other.parameters) == names
    a, b = (s.sample(np.random.default_rng(5)) for s in (one, other))
    assert a == b
    assert np.array_equal(one.to_unit(a), other.to_unit(a), equal_nan=True)
    assert list(other.grid(2)) == list(one.grid(2))


@quick
@given(st.integers(0, 2**32))
def test_a_block_of_points_is_judged_as_each_of_them(seed: int) -> None:
    space = build(DEFINITION, FORBID)
    block = np.random.default_rng(seed).random((20, len(space.names)))
    active, allowed = space.activity(block), space.allowed(block)
    assert (active.shape, allowed.shape) == (block.shape, (20,))
    for point, names, able in zip(block, active, allowed, strict=True):
        params = space.from_unit(point)
        assert {name for name, there in zip(space.names, names, strict=True) if there} == set(params)
        assert able == (not space.is_forbidden(params))


def test_an_inactive_parameter_takes_its_number_all_the_same() -> None:
    with_child = build({"a": Choice([0, 1]), "b": Uniform(0, 1, when={"a": 1}), "c": Uniform(0, 1)})
    without = build({"a": Choice([0, 1]), "b": Uniform(0, 1), "c": Uniform(0, 1)})
    for seed in range(20):
        one, other = (s.sample(np.random.default_rng(seed)) for s in (with_child, without))
        assert {**other, **one} == other


def test_the_digest_names_what_can_be_drawn() -> None:
    base = build(DEFINITION, FORBID).digest
    noted = {**DEFINITION, "lr": {**DEFINITION["lr"], "notes": "the usual"}}
    respelled = {
        **DEFINITION,
        "momentum": {**DEFINITION["momentum"], "when": {"optimizer": {"in": ["momentum", "sgd"]}}},
    }
    narrowed = {**DEFINITION, "lr": {**DEFINITION["lr"], "high": 0.05}}
    assert build(noted, FORBID).digest == base
    assert build(respelled, FORBID).digest == base
    assert build(narrowed, FORBID).digest != base
    assert build(DEFINITION, FORBID[:1]).digest != base
    assert len(base) == 64


def test_defaults_make_the_baseline(space: SearchSpace) -> None:
    assert space.has_default
    assert not build({"a": Uniform(0, 1)}).has_default
    assert space.default_params() == {
        "lr": 0.01,
        "batch_size": 64,
        "optimizer": "adam",
        "data": "digits",
    }
    refused = build({"a": Choice([1, 2]), "b": Choice([1, 2])}, [{"a": 1, "b": 1}])
    with pytest.raises(SpaceError, match="another default") as caught:
        refused.default_params()
    assert caught.value.path == "forbid.0"


def test_grids_visit_active_combinations_once() -> None:
    space = build(
        {
            "optimizer": Choice(["adam", "sgd"]),
            "momentum": Uniform(0.8, 1.0, when={"optimizer": "sgd"}),
            "lr": LogUniform(1e-3, 1e-1),
        },
        [{"momentum": {">": 0.95}, "lr": {">=": 0.1}}],
    )
    grid = list(space.grid(3))
    keys = {space.config_key(params) for params in grid}
    assert len(keys) == len(grid) == space.grid_size(3) == 3 + 3 * 3 - 1
    assert all(space.validate_params(params) == params for params in grid)


def test_grid_sizes_without_enumeration() -> None:
    big = build({f"p{i}": Integer(1, 1_000) for i in range(20)})
    assert big.grid_size(5) == 1_000**20
    assert big.cardinality == 1_000**20
    tied = build({"a": Integer(1, 1_000), "b": Integer(1, 1_000), "c": Integer(1, 10)}, [{"a": {"<": {"param": "b"}}}])
    assert tied.grid_size(1) == 1_000 * 1_001 // 2 * 10
    with pytest.raises(SpaceError, match="at most 1000 combinations"):
        tied.grid_size(1, limit=1_000)
    assert tied.cardinality == 10_000_000
    assert build({"a": Uniform(0, 1)}).cardinality is None
    assert not build({"a": Uniform(0, 1), "b": Choice([1])}).is_finite
    assert build({"a": Integer(0, 2**47)}).grid_size(3) == 2**47 + 1
    with pytest.raises(SpaceError, match="at most 1000000 values"):
        list(build({"a": Integer(0, 2**47)}).grid(3))


@quick
@given(st.data())
def test_grid_equals_brute_force(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=4))
    names = [f"p{i}" for i in range(len(counts))]
    values = st.lists(st.integers(0, 2), min_size=1, max_size=2)
    definition: dict[str, Any] = {}
    for i, count in enumerate(counts):
        when = None
        if i and data.draw(st.booleans()):
            parent = data.draw(st.integers(0, i - 1))
            when = {names[parent]: data.draw(st.integers(0, counts[parent] - 1))}
        definition[names[i]] = Choice(list(range(count)), when=when)
    clause = {names[0]: {"in": [0]}, names[-1]: {"<=": data.draw(values)[0]}}
    try:
        space = build(definition, [clause])
    except SpaceError:
        space = build(definition)
        assert all(_hit(p, clause, names) for p in space.grid(1))
        return
    legal = set()
    for combination in itertools.product(*[[*range(count), None] for count in counts]):
        params = {n: v for n, v in zip(names, combination, strict=True) if v is not None}
        try:
            space.validate_params(params)
        except SpaceError:
            continue
        legal.add(space.config_key(params))
    assert legal
    assert {space.config_key(p) for p in space.grid(1)} == legal
    assert space.grid_size(1) == space.cardinality == len(legal)


def _hit(params: dict[str, Any], clause: dict[str, Any], names: list[str]) -> bool:
    last = params.get(names[-1])
    return params.get(names[0]) == 0 and last is not None and last <= clause[names[-1]]["<="]


@pytest.mark.parametrize(
    ("params", "path", "message"),
    [
        ({"learning_rate": 1}, "params.learning_rate", "must be a parameter of the space"),
        ({"batchsize": 16}, "params.batchsize", "did you mean 'batch_size'"),
        ({"lr": 1.0}, "params.lr", "lie in"),
        ({"lr": None}, "params.lr", "a number"),
        ({"momentum": 0.9}, "params.momentum", "inactive parameter must be left out"),
        ({"data": "other"}, "params.data", "listed ones"),
        ({"batch_size": 16}, "params", "forbid.1"),
        ({"batch_size": 256, "lr": 2e-6}, "params", "forbid.0"),
    ],
)
def test_bad_configurations(space: SearchSpace, params: dict[str, Any], path: str, message: str) -> None:
    good = {"lr": 0.01, "batch_size": 64, "optimizer": "adam", "data": "digits"}
    assert space.validate_params(good) == good
    with pytest.raises(SpaceError, match=message) as caught:
        space.validate_params({**good, **params})
    assert caught.value.path == path


def test_a_missing_active_parameter_is_named(space: SearchSpace) -> None:
    with pytest.raises(SpaceError, match="needs a value") as caught:
        space.validate_params({"lr": 0.01, "batch_size": 64, "optimizer": "sgd", "data": "digits"})
    assert caught.value.path == "params.momentum"
    with pytest.raises(SpaceError, match="map names"):
        space.validate_params([1])  # type: ignore[arg-type]


def test_values_become_plain_legal_ones() -> None:
    space = build({"x": Uniform(0, 2), "n": Integer(1, 9), "c": Choice([True, 1])})
    found = space.validate_params({"c": np.int64(1), "n": 3.0, "x": 1})
    assert [(name, type(value)) for name, value in found.items()] == [("x", float), ("n", int), ("c", int)]
    assert space.config_key({"x": 1, "n": 3.0, "c": 1}) == space.config_key({"c": 1, "x": 1.0, "n": 3})
    assert space.config_key({"x": 1, "n": 3, "c": 1}) != space.config_key({"x": 1, "n": 3, "c": True})


MATCHERS = [
    ("x", {"x": 2}, {2}),
    ("x", {"x": [1, 3]}, {1, 3}),
    ("x", {"x": {"in": [1, 2]}}, {1, 2}),
    ("x", {"x": {"not_in": [1, 2]}}, {3, 4}),
    ("x", {"x": {"==": 4}}, {4}),
    ("x", {"x": {"!=": 4}}, {1, 2, 3}),
    ("x", {"x": {">": 1, "<=": 3}}, {2, 3}),
    ("x", {"x": {">=": 2.5, "<": 99}}, {3, 4}),
]


@pytest.mark.parametrize(("name", "matcher", "matching"), MATCHERS)
def test_the_matcher_language(name: str, matcher: dict[str, Any], matching: set[int]) -> None:
    space = build({"x": Integer(1, 4), "child": Constant(0, when=matcher)})
    assert {params[name] for params in space.grid(1) if "child" in params} == matching
    forbidding = build({"x": Integer(1, 4)}, [matcher])
    assert {params[name] for params in forbidding.grid(1)} == {1, 2, 3, 4} - matching


def test_ordinals_compare_by_rank_and_booleans_are_not_numbers() -> None:
    space = build(
        {"size": Ordinal(["s", "m", "l"]), "flag": Choice([True, 1]), "x": Constant(0, when={"flag": 1})},
        [{"size": {">=": "m"}, "flag": True}],
    )
    grid = [(p["size"], p["flag"], "x" in p) for p in space.grid(1)]
    assert sorted(grid, key=str) == sorted(
        [("s", True, False), ("s", 1, True), ("m", 1, True), ("l", 1, True)], key=str
    )


def test_several_parents_and_inactive_parents() -> None:
    space = build(
        {
            "a": Choice([0, 1]),
            "b": Choice([0, 1], when={"a": 1}),
            "c": Choice([0, 1], when={"a": 1, "b": {"!=": 1}}),
            "d": Constant(0, when={"c": [0, 1]}),
        }
    )
    assert sorted(tuple(p) for p in space.grid(1)) == [
        ("a",),
        ("a", "b"),
        ("a", "b", "c", "d"),
        ("a", "b", "c", "d"),
    ]
    assert space.active({"a": 1, "b": 0, "c": 7}) == {"a", "b", "c"}


def test_comparisons_between_parameters() -> None:
    space = build({"low": Uniform(0, 1), "high": Uniform(0, 1)}, [{"low": {">": {"param": "high"}}}])
    rng = np.random.default_rng(0)
    assert all(p["low"] <= p["high"] for p in (space.sample(rng) for _ in range(200)))
    with pytest.raises(SpaceError, match=r"forbid\.0"):
        space.validate_params({"low": 0.6, "high": 0.5})


def test_rare_allowed_combinations_are_found() -> None:
    space = build({"a": Integer(1, 200), "b": Integer(1, 200)}, [{"a": {">": 2}}, {"b": {"!=": 7}}])
    assert space.sample(np.random.default_rng(0)) in [{"a": 1, "b": 7}, {"a": 2, "b": 7}]


def cycle(n: int) -> dict[str, Any]:
    return {f"p{i}": Choice([0, 1], when={f"p{(i + 1) % n}": 1}) for i in range(n)}


deep: Any = 1
for _ in range(1_000):
    deep = {"a": deep}
binary = {f"p{i}": Choice([0, 1]) for i in range(16)}
uniform = {"type": "uniform", "low": 0, "high": 1}
thousand = {f"p{i}": uniform for i in range(1_000)}


def long(start: str, k: int) -> str:
    return start + random.Random(k).choice("abcdef") * 50 + "".join(random.Random(k).choices("abcdef", k=50))


words = [long("w", k) for k in range(10_000)]
pair = {"a": Integer(1, 316), "b": Integer(1, 316)}

REFUSED: list[tuple[str, Any, Any, str, str]] = [
    ("10,000 parameters", {f"p{i}": uniform for i in range(10_000)}, [], "space", "1 to 1000 parameters"),
    ("1,000 bad ones", {f"p{i}": {**uniform, "low": 2} for i in range(1_000)}, [], "space.p0.low", "19 more"),
    ("no parameters", {}, [], "space", "1 to 1000 parameters"),
    ("a list", [], [], "space", "map names"),
    ("a bad name", {"a b": uniform}, [], "space.a b", "name must start"),
    ("a long name", {"a" * 129: uniform}, [], "space." + "a" * 128, "name must start"),
    ("a name that is a number", {3: uniform}, [], "space.3", "name must start"),
    ("a bare value", {"a": 3}, [], "space.a", "a mapping with a type"),
    ("depth 1,000", {"a": {**uniform, "when": {"b": deep}}}, [], "space.a.when.b", "known one"),
    ("depth 1,000 in values", {"a": {"type": "choice", "values": [deep]}}, [], "space.a.values", "scalar"),
    ("depth 1,000 in forbid", {"a": uniform}, [{"a": deep}], "forbid.0.a", "known one"),
    ("an unknown parent", {"a": {**uniform, "when": {"bb": 1}}, "b": uniform}, [], "space.a.when.bb", "'b'"),
    (
        "a value no parent takes",
        {"o": Choice(["sgd", "adam"]), "a": {**uniform, "when": {"o": "sdg"}}},
        [],
        "space.a.when.o.==",
        "did you mean 'sgd'",
    ),
    ("order of a choice", {"o": Choice(["x"])}, [{"o": {">": "x"}}], "forbid.0.o", "needs numbers"),
    ("its own parent", {"a": {**uniform, "when": {"a": {">": 0.5}}}}, [], "space.a.when", "a -> a"),
    ("a short cycle", cycle(3), [], "space.p0.when", "p0 -> p1 -> p2 -> p0"),
    ("a long cycle", cycle(1_000), [], "space.p0.when", "must not form a cycle"),
    ("a reference in when", {"a": {**uniform, "when": {"b": {">": {"param": "c"}}}}}, [], "space.a.when.b", "f"),
    ("forbid that is a mapping", {"a": uniform}, {"a": 1}, "forbid", "a list"),
    ("an empty clause", {"a": uniform}, [{}], "forbid.0", "must map"),
    ("forbid of the unknown", {"alpha": uniform}, [{"alhpa": 1}], "forbid.0.alhpa", "did you mean 'alpha'"),
    ("unknown reference", {"a": uniform}, [{"a": {">": {"param": "b"}}}], "forbid.0.a.>", "name a parameter"),
    ("too many clauses", {"a": uniform}, [{"a": 0.5}] * 1_001, "forbid", "at most 1000"),
    ("nothing left, exact", {"a": Integer(1, 100_000)}, [{"a": {">": 0}}], "forbid", "all 100000 comb"),
    ("nothing left, pairs", binary, [{f"p{i}": i % 2} for i in range(16)] + [{"p0": 1}], "forbid", "65536"),
    ("nothing left, drawn", {"a": uniform}, [{"a": {">=": 0}}], "forbid", "none of 10000 draws"),
    ("nothing left, normal", {"a": Normal(0, 1)}, [{"a": {"<": 7}}], "forbid", "none of 10000 draws"),
    ("nothing left, many", thousand, [{n: {">": 0.001}} for n in thousand], "forbid", "none of 10000 draws"),
    ("unknown parents", {long("p", k): {**uniform, "when": {long("q", k): 1}} for k in range(1_000)}, [], ANY, "when"),
    ("unknown long values", {"a": Choice(words)}, [{"a": "x" + one} for one in words[:30]], "forbid.0.a.==", "listed"),
    ("too many values", {"a": Choice(words)}, [{"a": words[:1_001]}], "forbid.0.a", "1 to 1000 values, but got 1001"),
    (
        "too many comparisons",
        pair,
        [{"a": {">": 1, "<": 9, "!=": 3}}] * 700,
        "forbid",
        "at most 2000 comparisons",
    ),
    (
        "nothing left, many pairs",
        pair,
        [{"a": {">": {"param": "b"}}, "b": {"!=": k % 316 + 1}} for k in range(999)] + [{"a": {">": 0}}],
        "forbid",
        "all 99856",
    ),
    (
        "nothing left, spread over many",
        thousand,
        [{f"p{k}": {">": 0.999}, f"p{k + 1}": {">": 0.5}} for k in range(999)] + [{"p0": {">=": 0}}],
        "forbid",
        "none of 10000 draws",
    ),
    (
        "nothing left, two",
        {"a": uniform, "b": uniform},
        [{"a": {">=": {"param": "b"}}}, {"a": {"<": {"param": "b"}}}],
        "forbid",
        "none of 10000 draws",
    ),
]


@pytest.mark.parametrize(
    ("definition", "forbid", "path", "message"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED]
)
def test_bad_spaces_are_refused_in_time(definition: Any, forbid: Any, path: str, message: str) -> None:
    taken = []
    for _ in range(3):
        start = time.process_time()
        with pytest.raises(SpaceError, match=message) as caught:
            SearchSpace.from_definition(definition, forbid)
        taken.append(time.process_time() - start)
        if taken[-1] < 0.1:
            break
    assert min(taken) < 0.1, taken
    assert caught.value.path == path or path is ANY
    assert len(str(caught.value)) < 1_500


def test_one_allowed_combination_of_many_is_seen() -> None:
    clauses = [{f"p{i}": 1} for i in range(16)]
    space = build(binary, clauses)
    assert space.grid_size(1) == 1
    with pytest.raises(SpaceError, match="65536"):
        build(binary, [*clauses, {"p0": 0}])


def test_inactive_parameters_are_not_forbidden() -> None:
    definition = {"a": Choice([0, 1]), "b": Choice([0, 1], when={"a": 1})}
    space = build(definition, [{"b": [0, 1]}])
    assert list(space.grid(1)) == [{"a": 0}]


def test_a_long_chain_of_conditions() -> None:
    chain = {f"p{i:03}": Choice([1, 0], when={f"p{i - 1:03}": 1} if i else None) for i in range(1_000)}
    space = build(chain)
    assert space.grid_size(1) == 1_001
    assert len(space.default_params()) == 1_000


def test_points_of_the_cube() -> None:
    space = build({"b": Uniform(0, 1), "a": PowerOfTwo(16, 64)})
    assert space.from_unit([0.5, 0.25]) == {"b": 0.25, "a": 32}
    with pytest.raises(SpaceError, match="shape"):
        space.from_unit([0.5])
    with pytest.raises(SpaceError, match="must be a number"):
        space.from_unit([0.5, math.nan])


@pytest.mark.parametrize("text", ["[", "[]", '{"space": {}}', "[" * 100_000, '{"parameters": 3}'])
def test_bad_json(text: str) -> None:
    with pytest.raises(SpaceError):
        SearchSpace.from_json(text)


def test_the_json_schema_accepts_and_refuses() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(DEFINITION)
    validator.validate(json.loads(build(DEFINITION, FORBID).to_json())["parameters"])
    for bad in ({"lr": {"type": "uniform", "low": 0}}, {"a b": DEFINITION["lr"]}, {"lr": {"low": 0, "high": 1}}):
        assert not validator.is_valid(bad)
    names = {model.__name__ for model in PARAMETER_TYPES.values()}
    assert names <= set(schema["$defs"])
    for name in names:
        fields = schema["$defs"][name]["properties"]
        assert all("description" in field for key, field in fields.items() if key != "type"), name


def test_importing_brings_nothing_heavy() -> None:
    code = (
        "import search_spaces, search_spaces.convert, sys\n"
        "heavy = {'optuna', 'ray', 'torch', 'scipy', 'pandas', 'hpo_service', 'workers'} & set(sys.modules)\n"
        "raise SystemExit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
