"""Two trainings of one trial, compared: which reports are equal bit for bit, how far the curves part, and in what their
environments differ. Pure; trains nothing and stores nothing.
"""

from __future__ import annotations

import difflib
import math
import re
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from workers.record import Point

MOST_POINTS = 400
"""So many points of a curve are shown."""
_MOST_STEPS = 20
_DIFF_LINES = 200
_CLOCK = re.compile(
    r"(.*_)?(seconds|secs|time|time_s|duration|elapsed|timestamp)(_total)?(_s|_ms)?|.*_per_(second|sec|s)"
)
"""Names of metrics that measure time, which no repetition can repeat: they are left out unless they are objectives."""
_ASIDE = frozenset({"digest", "texts"})
_ARITHMETIC = ("cpu", "torch", "gpu", "numpy", "package torch", "package numpy", "package nvidia", "variables")


def bits(value: float) -> bytes:
    """The 64 bits of a number; every NaN is the same, and 0 and -0 are not."""
    return b"nan" if math.isnan(value) else struct.pack(">d", value)


def equal(a: float, b: float) -> bool:
    """Whether two numbers are the same bit for bit."""
    return bits(a) == bits(b)


def apart(a: float, b: float) -> float:
    """How far two numbers are apart: 0 for equal ones, infinite where only one is finite or a number at all."""
    if equal(a, b) or a == b:
        return 0.0
    distance = abs(a - b)
    return math.inf if math.isnan(distance) else distance


def apart_relative(a: float, b: float) -> float:
    """The distance as a part of the larger one's magnitude: between 0 and 2, or infinite as `apart` is."""
    distance = apart(a, b)
    if distance == 0 or math.isinf(distance):
        return distance
    larger = max(abs(a), abs(b))
    return distance / larger


def of_the_clock(name: str) -> bool:
    """Whether a metric of this name measures time."""
    return _CLOCK.fullmatch(name.lower()) is not None


def compare(was: Sequence[Point], now: Sequence[Point], *, objectives: Collection[str] = ()) -> dict[str, Any]:
    """Every report of one curve against the same step of the other, as JSON.

    `equal` only where both have the same steps, each with the same resource and the same metrics, bit for bit. Metrics
    that measure time are `left_out`, unless they are among the `objectives`.
    """
    was, now, left_out = _without_clocks(was, now, objectives)
    before, after = {p.step: p for p in was}, {p.step: p for p in now}
    both = [step for step in sorted(before) if step in after]
    missing, extra = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
    first: dict[str, Any] | None = None
    metrics: dict[str, dict[str, Any]] = {}
    for step in both:
        for name, a, b in _values(before[step], after[step]):
            told = metrics.setdefault(name, {"reports": 0, "differ": 0, "absolute": 0.0, "relative": 0.0})
            told["reports"] += 1
            if a is not None and b is not None and equal(a, b):
                continue
            told["differ"] += 1
            first = first or {
                "step": step,
                "resource": _json(before[step].resource),
                "metric": name,
                "was": _json(a),
                "now": _json(b),
            }
            _widen(told, a, b, step)
    for told in metrics.values():
        told["absolute"], told["relative"] = _json(told["absolute"]), _json(told["relative"])
    return {
        "equal": first is None and not missing and not extra,
        "reports": len(before),
        "compared": len(both),
        "missing": missing[:_MOST_STEPS],
        "extra": extra[:_MOST_STEPS],
        "first": first,
        "metrics": metrics,
        "left_out": left_out,
    }


def _without_clocks(
    was: Sequence[Point], now: Sequence[Point], objectives: Collection[str]
) -> tuple[list[Point], list[Point], list[str]]:
    names = {name for point in (*was, *now) for name in point.metrics}
    out = {name for name in names if of_the_clock(name) and name not in objectives}

    def rest(points: Sequence[Point]) -> list[Point]:
        return [replace(p, metrics={n: v for n, v in p.metrics.items() if n not in out}) for p in points]

    return rest(was), rest(now), sorted(out)


def _values(a: Point, b: Point) -> Iterator[tuple[str, float | None, float | None]]:
    yield "resource", a.resource, b.resource
    for name in sorted({*a.metrics, *b.metrics}):
        yield name, a.metrics.get(name), b.metrics.get(name)


def _widen(told: dict[str, Any], a: float | None, b: float | None, step: int) -> None:
    absolute = math.inf if a is None or b is None else apart(a, b)
    relative = math.inf if a is None or b is None else apart_relative(a, b)
    if "first_step" not in told:
        told["first_step"] = step
    if absolute > told["absolute"] or "absolute_step" not in told:
        told["absolute"], told["absolute_step"] = absolute, step
    if relative > told["relative"] or "relative_step" not in told:
        told["relative"], told["relative_step"] = relative, step


_BUNDLE, _SOURCES = "code.bundle", "code.sha256"


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """In what two environments differ: `{"what", "was", "now"}`, null where one lacks it.

    Of one bundle all sources are the same, whichever of them the process had imported when it was looked at.
    """
    a, b = dict(_flat(was)), dict(_flat(now))
    same_bundle = a.get(_BUNDLE) is not None and a.get(_BUNDLE) == b.get(_BUNDLE)
    return [
        {"what": name, "was": a.get(name), "now": b.get(name)}
        for name in sorted({*a, *b}, key=_weight)
        if a.get(name) != b.get(name) and not (same_bundle and name == _SOURCES)
    ]


def _weight(name: str) -> tuple[int, str]:
    """Code and data first, packages last: there may be many."""
    order = ("code", "data", "run", "variables", "python", "torch", "gpu", "cpu")
    place = next((i for i, prefix in enumerate(order) if name.startswith(prefix)), len(order))
    return (len(order) + 1 if name.startswith("package ") else place), name


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, one in value.items():
        if not prefix and name in _ASIDE:
            continue
        if not prefix and name == "packages" and isinstance(one, Mapping):
            yield from ((f"package {package}", version) for package, version in one.items())
        elif isinstance(one, Mapping):
            yield from _flat(one, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(one) if isinstance(one, tuple) else one


def code_difference(was: Mapping[str, Any], now: Mapping[str, Any], texts: Mapping[str, str]) -> list[str]:
    """How the changes on top of the git commit differ, as lines of a diff; empty where that is not known. `texts` are
    diffs by digest."""
    before, after = _git(was), _git(now)
    if before == after or not (before or after):
        return []
    a = texts.get(str(before.get("diff_sha256")), "")
    b = texts.get(str(after.get("diff_sha256")), "")
    labels = [f"then: {_commit(before)} and changes", f"now: {_commit(after)} and changes"]
    lines = difflib.unified_diff(a.splitlines(), b.splitlines(), labels[0], labels[1], lineterm="", n=2)
    return list(lines)[:_DIFF_LINES]


def _git(environment: Mapping[str, Any]) -> Mapping[str, Any]:
    return (environment.get("code") or {}).get("git") or {}


def _commit(git: Mapping[str, Any]) -> str:
    return str(git.get("commit") or "no commit")[:12]


def hints(
    compared: Mapping[str, Any],
    differing: Sequence[Mapping[str, Any]],
    *,
    now: Mapping[str, Any],
    own_code: bool,
    repeats: bool | None,
) -> list[str]:
    """What to look at where the curves differ. `repeats`: whether training twice in this process came out equal (None:
    not tried); `own_code`: whether the trainable is the user's own."""
    if compared["equal"]:
        return []
    names = [str(one["what"]) for one in differing]
    found = []
    if any(name.startswith("code") for name in names):
        found.append("The code is not the same: check out the recorded commit, or use the recorded bundle.")
    if any(name.startswith("data") for name in names):
        found.append("The data are not the same: their fingerprints differ.")
    if any(name.startswith(_ARITHMETIC) for name in names):
        found.append("Another processor, GPU, driver or library rounds sums otherwise, in the last digits at first.")
    if any(name.startswith("run.determinism.threads") for name in names):
        found.append("The number of threads is not the same: it changes the order in which sums are added.")
    if repeats is False:
        found.append(_nondeterministic(now, own_code=own_code))
    elif repeats is True and not differing:
        found.append(
            "Training twice here gives the same, and nothing that is recorded differs: look for what is not recorded, "
            "such as files that the code reads, the clock, or services that it asks."
        )
    return found


def _nondeterministic(now: Mapping[str, Any], *, own_code: bool) -> str:
    found = "Training twice in one process gives two results, so the training itself is not deterministic."
    flags = (now.get("run") or {}).get("determinism") or {}
    if now.get("gpu") and not flags.get("asked"):
        found += " Set `deterministic: true`: some kernels of a GPU add in any order."
    if own_code:
        found += (
            " Look for generators that are not seeded with trial.seed (numpy's default_rng(), a torch.Generator, "
            "DataLoader workers), for the clock, for threads, and for the order of a set."
        )
        if now.get("hash_randomization") and "PYTHONHASHSEED" not in (now.get("variables") or {}):
            found += " PYTHONHASHSEED was not set, so the order of sets of words changes from process to process."
    return found


def verdict(compared: Mapping[str, Any], differing: Sequence[Mapping[str, Any]]) -> str:
    """What came of it, in a sentence or two."""
    count = compared["reports"]
    reports = f"{count} report{'s' if count != 1 else ''}"
    where = f", though the environment differs in {_things(len(differing))}" if differing else ""
    if compared["equal"]:
        return f"Equal bit for bit: {'all ' if count != 1 else ''}{reports}{where}."
    missing, extra = compared["missing"], compared["extra"]
    if compared["first"] is None:
        what = f"step {missing[0]} was not reported again" if missing else f"step {extra[0]} was not reported then"
        both = compared["compared"]
        alike = (
            f"the {both} reports that both have are equal" if both != 1 else "the one report that both have is equal"
        )
        return f"Not the same: {alike}, but {what}."
    first = compared["first"]
    told = compared["metrics"][first["metric"]]
    return (
        f"Not the same: {first['metric']} was {first['was']} at step {first['step']}, and is {first['now']} now; at "
        f"most {_short(told['absolute'])} apart ({_short(told['relative'])} relative). "
        + (f"The environment differs in {_things(len(differing))}." if differing else "")
    ).strip()


def _things(count: int) -> str:
    return f"{count} thing{'s' if count != 1 else ''}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def overlay(was: Sequence[Point], now: Sequence[Point], metric: str) -> dict[str, Any]:
    """Both curves of a metric as columns, thinned to at most `MOST_POINTS` each."""

    def columns(points: Sequence[Point]) -> dict[str, list[Any]]:
        held = [p for p in points if metric in p.metrics]
        stride = max(1, -(-len(held) // MOST_POINTS))
        thin = held[::stride] + ([held[-1]] if held and (len(held) - 1) % stride else [])
        return {"resource": [p.resource for p in thin], "value": [_json(p.metrics[metric]) for p in thin]}

    return {"metric": metric, "was": columns(was), "now": columns(now)}


def _json(value: float | None) -> Any:
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
