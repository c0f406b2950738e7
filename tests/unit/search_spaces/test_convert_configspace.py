"""ConfigSpace: the very same space comes back; read by what they say, both sides allow the same configurations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces import (
    Choice,
    Constant,
    Integer,
    LogInteger,
    LogNormal,
    LogUniform,
    Normal,
    Ordinal,
    PowerOfTwo,
    QLogUniform,
    QUniform,
    SearchSpace,
    SpaceError,
    Uniform,
)
from search_spaces.convert.configspace import META, from_configspace, to_configspace
from tests.unit.search_spaces.strategies import parameters as any_parameter

cs = pytest.importorskip("ConfigSpace")
quick = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DRAWS = 12


def within_reason(parameter: Any) -> bool:
    """ConfigSpace's arithmetic overflows where numbers are enormous, and rounds where a range is tiny."""
    low, high = getattr(parameter, "low", None), getattr(parameter, "high", None)
    if low is None or high is None:
        return True
    return max(abs(low), abs(high)) < 1e12 and high - low > 1e-6 * max(abs(low), abs(high))


@quick
@given(st.dictionaries(st.sampled_from("abc"), any_parameter.filter(within_reason), min_size=1, max_size=3))
def test_any_parameters_come_back_as_they_were_or_are_refused_by_name(parameters: dict[str, Any]) -> None:
    space = SearchSpace.from_definition(parameters)
    try:
        there = to_configspace(space)
    except SpaceError as error:
        told = error
    else:
        assert from_configspace(there) == space
        return
    assert told.path.startswith("space.")
    assert told.remedy


numeric = st.sampled_from(
    [Uniform(0.0, 1.0), Integer(0, 6), QUniform(0.0, 3.0, 0.5), PowerOfTwo(1, 8), LogUniform(0.01, 10.0), Normal(0, 1)]
)
roots = numeric | st.sampled_from(
    [Choice(["x", "y", "z"]), Choice([1, 2, 3]), Ordinal(["s", "m", "l"]), Choice(["x", "y"], default="y")]
)


@st.composite
def spaces(draw: Any) -> SearchSpace:
    """Two roots, two conditional ones below them, and clauses between all of them."""
    parents: dict[str, Any] = {"p": draw(roots), "q": draw(roots)}
    children: dict[str, Any] = {"c": draw(numeric), "d": draw(roots)}
    matcher = {name: draw(matchers(parameter)) for name, parameter in parents.items()}
    when_c, when_d = {"p": matcher["p"]}, draw(st.sampled_from([{"q": matcher["q"]}, matcher]))
    definition = {
        **{name: one.to_dict() for name, one in parents.items()},
        "c": {**children["c"].to_dict(), "when": when_c},
        "d": {**children["d"].to_dict(), "when": when_d},
    }
    forbid = []
    if draw(st.booleans()):
        forbid.append({"p": draw(matchers(parents["p"])), "q": draw(matchers(parents["q"]))})
    if draw(st.booleans()):
        forbid.append({"d": draw(matchers(children["d"]))})
    try:
        return SearchSpace.from_definition(definition, forbid)
    except SpaceError:  # nothing would be left, or a condition that never holds
        return SearchSpace.from_definition({"p": parents["p"]})


@st.composite
def matchers(draw: Any, parameter: Any) -> Any:
    values = parameter.grid(5)
    one = draw(st.sampled_from(values))
    some = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True))
    kinds: list[Any] = [one, some, {"!=": one}, {"not_in": some[:1]}]
    if parameter.scale.ordered:
        kinds += [{">": one}, {"<=": one}, {">=": one}, {"<": one}, {">=": values[0], "<": one}]
    return draw(st.sampled_from(kinds))


def without_meta(space: Any) -> Any:
    """The same as somebody else would have written it."""
    document = space.to_serialized_dict()
    document["meta"] = None
    return cs.ConfigurationSpace.from_serialized_dict(document)


@quick
@given(spaces(), st.integers(0, 2**31))
def test_both_sides_allow_the_same_configurations(space: SearchSpace, seed: int) -> None:
    try:
        there = to_configspace(space, seed=seed)
    except SpaceError as error:
        told = error
    else:
        assert from_configspace(there) == space
        read = from_configspace(without_meta(there))
        for configuration in there.sample_configuration(DRAWS):
            params = dict(configuration)
            assert space.validate_params(params) == read.validate_params(params)
        rng = np.random.default_rng(seed)
        for drawn in (space.sample(rng), read.sample(rng)):
            assert read.validate_params(drawn) == space.validate_params(drawn)
            cs.Configuration(there, values=drawn).check_valid_configuration()
        again = to_configspace(read)
        assert from_configspace(without_meta(again)) == read
        return
    assert told.path.startswith(("space.", "forbid."))


def test_what_their_documentation_shows() -> None:
    there = cs.ConfigurationSpace(seed=1)
    algorithm = cs.CategoricalHyperparameter("algorithm", ["svm", "forest"], default_value="forest")
    c = cs.UniformFloatHyperparameter("c", 1e-3, 1e3, log=True)
    kernel = cs.CategoricalHyperparameter("kernel", ["linear", "rbf", "poly"])
    degree = cs.UniformIntegerHyperparameter("degree", 2, 5)
    gamma = cs.UniformFloatHyperparameter("gamma", 1e-4, 8)
    size = cs.OrdinalHyperparameter("size", ["small", "medium", "large"])
    there.add(algorithm, c, kernel, degree, gamma, size)
    there.add(
        cs.EqualsCondition(c, algorithm, "svm"),
        cs.EqualsCondition(kernel, algorithm, "svm"),
        cs.EqualsCondition(degree, kernel, "poly"),
        cs.AndConjunction(cs.InCondition(gamma, kernel, ["rbf", "poly"]), cs.GreaterThanCondition(gamma, c, 0.5)),
    )
    there.add(
        cs.ForbiddenAndConjunction(cs.ForbiddenEqualsClause(kernel, "poly"), cs.ForbiddenInClause(degree, [4, 5])),
        cs.ForbiddenLessThanRelation(gamma, c),
        cs.ForbiddenOrConjunction(cs.ForbiddenEqualsClause(size, "large"), cs.ForbiddenGreaterThanClause(c, 100.0)),
    )
    space = from_configspace(there)
    assert space.parameters["algorithm"].default == "forest"
    assert space.parameters["c"].when == {"algorithm": {"==": "svm"}}
    assert space.parameters["gamma"].when == {"kernel": {"in": ["rbf", "poly"]}, "c": {">": 0.5}}
    clauses = [{name: dict(matcher) for name, matcher in clause.items()} for clause in space.forbid]
    assert {"kernel": {"==": "poly"}, "degree": {"in": [4, 5]}} in clauses
    assert {"gamma": {"<": {"param": "c"}}} in clauses
    assert {"size": {"==": "large"}} in clauses
    assert {"c": {">": 100.0}} in clauses
    for configuration in there.sample_configuration(60):
        space.validate_params(dict(configuration))


def test_or_on_one_parent_becomes_a_list_and_on_two_is_refused() -> None:
    def space(*conditions: Any, child: Any) -> Any:
        there = cs.ConfigurationSpace()
        there.add(a, b, child)
        there.add(cs.OrConjunction(*conditions))
        return there

    a = cs.CategoricalHyperparameter("a", ["x", "y", "z"])
    b = cs.UniformIntegerHyperparameter("b", 0, 5)
    child = cs.UniformFloatHyperparameter("child", 0, 1)
    both = from_configspace(space(cs.EqualsCondition(child, a, "x"), cs.NotEqualsCondition(child, a, "y"), child=child))
    assert both.parameters["child"].when == {"a": {"in": ["x", "z"]}}
    with pytest.raises(SpaceError, match="different parents") as caught:
        from_configspace(space(cs.EqualsCondition(child, a, "x"), cs.EqualsCondition(child, b, 3), child=child))
    assert caught.value.path == "space.child.when"
    assert caught.value.remedy


@pytest.mark.parametrize(
    "hyperparameter",
    [
        cs.BetaFloatHyperparameter("h", 2, 3, 0, 1),
        cs.BetaIntegerHyperparameter("h", 2, 3, 0, 9),
        cs.NormalIntegerHyperparameter("h", 3, 2, 0, 9),
        cs.NormalFloatHyperparameter("h", 1, 1, 0.1, 9, log=True),
        cs.CategoricalHyperparameter("h", ["x", "y"], weights=[0.9, 0.1]),
        cs.CategoricalHyperparameter("h", [(1, 2), (3, 4)]),
    ],
    ids=lambda h: type(h).__name__,
)
def test_what_cannot_be_carried_is_named(hyperparameter: Any) -> None:
    there = cs.ConfigurationSpace()
    there.add(hyperparameter)
    with pytest.raises(SpaceError) as caught:
        from_configspace(there)
    assert caught.value.path == "space.h"


@pytest.mark.parametrize("parameter", [LogNormal(0, 1), QLogUniform(1, 9, 0.5), QUniform(0, 1e6, 0.01)])
def test_what_configspace_lacks_is_refused(parameter: Any) -> None:
    with pytest.raises(SpaceError, match="nothing like") as caught:
        to_configspace(SearchSpace.from_definition({"x": parameter}))
    assert caught.value.path == "space.x.type"
    assert caught.value.remedy


def test_a_space_that_was_changed_there_is_read_by_what_it_says() -> None:
    space = SearchSpace.from_definition({"a": PowerOfTwo(2, 16), "b": LogInteger(1, 9), "c": Constant(1)})
    there = to_configspace(space)
    assert META in there.meta
    there.add(cs.UniformFloatHyperparameter("more", 0, 1))
    found = from_configspace(there).parameters
    assert set(found) == {"a", "b", "c", "more"}
    assert found["a"] == Ordinal([2, 4, 8, 16], default=2)


def test_defaults_go_along_unless_given_up() -> None:
    space = SearchSpace.from_definition({"a": LogUniform(0.001, 1, default=0.01)})
    assert to_configspace(space)["a"].default_value == 0.01
    assert to_configspace(space, drop=("default",))["a"].default_value != 0.01
