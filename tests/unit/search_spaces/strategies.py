"""Hypothesis strategies for the tests of search spaces: any legal parameter, as a definition."""

from __future__ import annotations

from typing import Any

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
    Uniform,
)

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
real = st.floats(-1e6, 1e6, allow_nan=False)
wide = st.floats(-1e150, 1e150, allow_nan=False)
positive = st.floats(1e-12, 1e12)


@st.composite
def uniforms(draw: Any) -> BaseParameter:
    low = draw(real | wide)
    high = draw(st.floats(low, 1e200).filter(lambda one: one - low >= 1e-300))
    return Uniform(low, high)


@st.composite
def loguniforms(draw: Any) -> BaseParameter:
    low = draw(st.floats(1e-280, 1e12))
    high = draw(st.floats(low, 1e300, exclude_min=True))
    return LogUniform(low, high)


@st.composite
def stepped(draw: Any) -> BaseParameter:
    step = draw(st.sampled_from([0.1, 0.05, 0.25, 1.0, 3.0, 1e-7, 2.5e8, 1 / 3]) | st.floats(1e-6, 1e6))
    low = step * draw(st.integers(-1_000, 1_000) | st.floats(-1e6, 1e6))
    high = low + step * draw(st.floats(0.5, 1e7))
    kind = draw(st.sampled_from([QUniform, QLogUniform]))
    if kind is QLogUniform and low <= 0:
        low, high = abs(low) + step / 7, abs(low) + step / 7 + (high - low)
    return kind(low, high, step)


@st.composite
def integers(draw: Any) -> BaseParameter:
    kind = draw(st.sampled_from([Integer, LogInteger, PowerOfTwo]))
    if kind is Integer:
        low = draw(st.integers(-(2**46), 2**46))
        return Integer(low, low + draw(st.integers(1, 2**46)), draw(st.integers(1, 100)))
    if kind is PowerOfTwo:
        first = draw(st.integers(0, 30))
        return PowerOfTwo(1 << first, (1 << first) + draw(st.integers(1, 2**40)))
    low = draw(st.integers(1, 2**39))
    return LogInteger(low, low + draw(st.integers(1, 2**39)))


@st.composite
def normals(draw: Any) -> BaseParameter:
    mu = draw(st.floats(-100, 100))
    sigma = draw(st.floats(1e-3, 50))
    kind = draw(st.sampled_from(["plain", "low", "high", "both", "log"]))
    if kind == "log":
        return LogNormal(mu, draw(st.floats(1e-3, 20)))
    below = mu + sigma * draw(st.floats(-8, 5))
    above = below + sigma * draw(st.floats(1e-3, 8)) + 8 * sigma * (below < mu - 6 * sigma)
    bounds = {"low": {"low": below}, "high": {"high": above}, "both": {"low": below, "high": above}}
    return Normal(mu, sigma, **bounds.get(kind, {}))


listed = st.lists(
    scalars | st.floats(allow_nan=False, allow_infinity=False),
    min_size=1,
    max_size=12,
    unique_by=lambda v: ("bool", v) if isinstance(v, bool) else ("other", v),
)
lists = listed.map(Choice) | listed.map(Ordinal) | scalars.map(Constant)

continuous = uniforms() | loguniforms() | normals()
discrete = stepped() | integers() | lists
parameters = continuous | discrete
units = st.floats(0, 1, allow_nan=False)
