"""Ray Tune's spaces: what goes there and comes back is the same, and what Ray draws is legal here."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import (
    BaseParameter,
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
from search_spaces.convert.losses import DROPPABLE
from search_spaces.convert.ray_tune import GRID, from_ray_tune, to_ray_tune
from tests.unit.search_spaces.strategies import parameters as any_parameter

tune = pytest.importorskip("ray.tune")
quick = settings(max_examples=80, deadline=None)
EVERYTHING = tuple(DROPPABLE)


def ends_on_grid(parameter: BaseParameter) -> BaseParameter:
    """The same values with `high` as the last of them, the one spelling that comes back."""
    if isinstance(parameter, QUniform | QLogUniform | Integer):
        last = parameter.scale.from_unit(1.0)
        return type(parameter)(parameter.low, last, parameter.step)  # type: ignore[arg-type]  # each its own numbers
    return parameter


def attempt(space: SearchSpace) -> tuple[dict[str, Any], SpaceError | None]:
    """What the space is there, or why it is refused."""
    try:
        return to_ray_tune(space), None
    except SpaceError as error:
        return {}, error


@quick
@given(st.dictionaries(st.sampled_from(["a", "b", "net.c", "net.d", "net.e.f"]), any_parameter, min_size=1, max_size=4))
def test_it_comes_back_as_it_was_or_is_refused_by_name(parameters: dict[str, Any]) -> None:
    space = SearchSpace.from_definition(parameters)
    there, refused = attempt(space)
    if refused is not None:
        name = refused.path.removeprefix("space.").removesuffix(".type")
        assert parameters[name].type not in ("uniform", "loguniform", "log_integer", "choice", "constant")
        assert refused.remedy
        return
    back = from_ray_tune(there)
    assert back == SearchSpace.from_definition({name: ends_on_grid(one) for name, one in parameters.items()})


low = st.integers(-50, 50)
steps = st.sampled_from([0.1, 0.5, 2.0])
listed = st.lists(st.integers(0, 99) | st.text(max_size=3), min_size=1, max_size=5, unique=True)
domains = st.one_of(
    st.builds(lambda a, b: tune.uniform(a, a + b), st.floats(-1e3, 1e3), st.floats(0.1, 1e3)),
    st.builds(lambda a, b: tune.loguniform(a, a * b), st.floats(1e-6, 1e3), st.floats(1.5, 1e3)),
    st.builds(lambda a, n, q: tune.quniform(a * q, (a + n) * q, q), low, st.integers(1, 40), steps),
    st.builds(
        lambda a, n, q: tune.qloguniform(a * q, (a + n) * q, q),
        st.integers(1, 30), st.integers(1, 40), st.sampled_from([0.25, 0.5, 2.0]),
    ),
    st.builds(lambda a, n: tune.randint(a, a + n), low, st.integers(2, 90)),
    st.builds(lambda a, n: tune.lograndint(a, a + n), st.integers(1, 50), st.integers(2, 90)),
    st.builds(lambda a, n, q: tune.qrandint(a, a + n * q, q), low, st.integers(2, 30), st.integers(2, 7)),
    st.builds(lambda m, s: tune.randn(m, s), st.floats(-5, 5), st.floats(0.1, 5)),
    st.builds(tune.choice, listed),
)  # fmt: skip


def seen(domain: Any) -> tuple[Any, ...]:
    """What a domain of Ray's is, by its own attributes."""
    if not hasattr(domain, "get_sampler"):
        return (domain,)
    sampler, step = domain.get_sampler(), None
    if type(sampler).__name__ == "Quantized":
        step, sampler = sampler.q, sampler.get_sampler()
    bounds = tuple(getattr(domain, name, None) for name in ("lower", "upper", "categories"))
    return type(domain).__name__, type(sampler).__name__, step, *bounds, vars(sampler)


@quick
@given(st.dictionaries(st.sampled_from("abc"), domains, min_size=1, max_size=3))
def test_ray_s_own_come_back_and_what_they_draw_is_legal(param_space: dict[str, Any]) -> None:
    nested = {"lr": 0.1, "net": {"width": 3, **param_space}}
    space = from_ray_tune(nested)
    for name, domain in param_space.items():
        for value in domain.sample(size=8) if hasattr(domain, "sample") else []:
            space.parameters[f"net.{name}"].parse(value)
    there = to_ray_tune(space)
    again = from_ray_tune(there)
    assert again == space
    for name, domain in param_space.items():
        found = seen(there["net"][name])
        if "Integer" in seen(domain)[0] and found[0] != "Integer":
            continue  # one multiple of q alone: a constant
        if seen(domain)[2]:
            assert found[:3] == seen(domain)[:3]  # bounds move to the decimal multiples of q
        else:
            assert found == seen(domain)


def test_what_ray_s_documentation_shows() -> None:
    space = from_ray_tune(
        {
            "lr": tune.loguniform(1e-4, 1e-1),
            "batch": tune.choice([4, 8]),
            "layers": tune.randint(1, 5),
            "width": tune.qrandint(10, 65, 8),
            "momentum": tune.grid_search([0.8, 0.9]),
            "one": tune.qrandint(1, 5, 1),
            "noise": tune.randn(10, 2),
            "data": {"name": "digits", "share": tune.quniform(0.2, 1.0, 0.2)},
        }
    )
    assert space.to_dict()["parameters"] == {
        "lr": {"type": "loguniform", "low": 1e-4, "high": 0.1},
        "batch": {"type": "choice", "values": [4, 8]},
        "layers": {"type": "integer", "low": 1, "high": 4, "step": 1},
        "width": {"type": "integer", "low": 16, "high": 64, "step": 8},
        "momentum": {"type": "choice", "values": [0.8, 0.9], "notes": GRID},
        "one": {"type": "integer", "low": 1, "high": 4, "step": 1},
        "noise": {"type": "normal", "mu": 10.0, "sigma": 2.0},
        "data.name": {"type": "constant", "value": "digits"},
        "data.share": {"type": "quniform", "low": 0.2, "high": 1.0, "step": 0.2},
    }
    there = to_ray_tune(space)
    assert there["momentum"] == {"grid_search": [0.8, 0.9]}
    assert there["data"]["name"] == "digits"


@pytest.mark.parametrize(
    ("param_space", "path", "says"),
    [
        ({"a": tune.sample_from(lambda spec: 1)}, "space.a", "runs code"),
        ({"net": {"a": tune.qrandn(0, 1, 0.2)}}, "space.net.a", "no steps"),
        ({"a": tune.qlograndint(2, 64, 2)}, "space.a", "no steps"),
        ({"a": tune.choice([[1, 2], [3]])}, "space.a", "JSON scalar"),
        ({"a": tune.choice([tune.uniform(0, 1), 3])}, "space.a", "no distribution itself"),
        ({"a": [1, 2]}, "space.a", "JSON scalar"),
        ({"a.b": 1}, "space.a.b", "without dots"),
        ({3: 1}, "space.3", "a key is a text"),
    ],
)
def test_what_cannot_be_carried_is_named(param_space: dict[Any, Any], path: str, says: str) -> None:
    with pytest.raises(SpaceError, match=says) as caught:
        from_ray_tune(param_space)
    assert caught.value.path == path
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("definition", "path", "drop"),
    [
        ({"a": Uniform(0, 1, default=0.5)}, "space.a.default", "default"),
        ({"a": Choice(["x", "y"]), "b": Uniform(0, 1, when={"a": "x"})}, "space.b.when", "conditions"),
        ({"a": PowerOfTwo(2, 64)}, "space.a.type", "order"),
        ({"a": Ordinal(["s", "m"])}, "space.a.type", "order"),
        ({"a": QUniform(0.1, 1, 0.25)}, "space.a.type", "order"),
        ({"a": LogNormal(0, 1)}, "space.a.type", ""),
        ({"a": Normal(0, 1, low=-1)}, "space.a.type", ""),
        ({"a": QLogUniform(0.1, 1, 0.25)}, "space.a.type", ""),
        ({"a": Constant(1), "a.b": LogInteger(1, 9)}, "space.a.b", ""),
    ],
)
def test_what_ray_lacks_is_refused_unless_given_up(definition: dict[str, Any], path: str, drop: str) -> None:
    space = SearchSpace.from_definition(definition)
    with pytest.raises(SpaceError) as caught:
        to_ray_tune(space)
    assert caught.value.path == path
    assert caught.value.remedy
    if drop:
        assert drop in caught.value.remedy
        assert set(from_ray_tune(to_ray_tune(space, drop=(drop,))).parameters) == set(definition)
    else:
        with pytest.raises(SpaceError):
            to_ray_tune(space, drop=EVERYTHING)


def test_forbidden_combinations_are_refused_unless_given_up() -> None:
    space = SearchSpace.from_definition({"a": LogUniform(0.1, 1)}, [{"a": {">": 0.9}}])
    with pytest.raises(SpaceError, match="no forbidden combinations"):
        to_ray_tune(space)
    assert set(to_ray_tune(space, drop="forbid")) == {"a"}
    with pytest.raises(SpaceError, match="drop names some of"):
        to_ray_tune(space, drop=("everything",))
