"""The search space of an Optuna objective, found by running it: `discover`.

Runs the user's own objective on the user's own machine, with values that cover every choice, up to its first report or
to its end, and notes what it asks for. Not here: training, and talking to a server.
"""

from __future__ import annotations

import contextlib
import importlib
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo_service.client.conditions import told_conditions
from hpo_service.errors import InvalidInput, Unsupported
from hpo_service.writing import dump_yaml
from search_spaces import SearchSpace, SpaceError

TRIALS = 20
MOST_COVERED = 32
"""Of a parameter with so many values at most, every value is tried, for each may lead to further parameters."""


@dataclass(frozen=True, kw_only=True)
class Discovered:
    """What an objective asks for: the checked `space`; in how many `runs` it was found; and `notes`, a line for each
    thing that could not be told."""

    space: SearchSpace
    runs: int
    notes: tuple[str, ...] = ()

    @property
    def yaml(self) -> str:
        """The `space:` of a study definition; what could not be told stands above it as comments."""
        comments = "".join(f"# {note}\n" for note in self.notes)
        return comments + dump_yaml({"space": self.space.to_dict()["parameters"]}).rstrip("\n") + "\n"


@dataclass
class Asked:
    """What one run of the objective asked for, in order: values and distributions by name."""

    values: dict[str, Any] = field(default_factory=dict)
    distributions: dict[str, Any] = field(default_factory=dict)


class _Enough(BaseException):
    """Ends a run at its first report; passes `except Exception`."""


def discover(objective: Callable[..., Any] | str, *, trials: int = TRIALS, seed: int = 0) -> Discovered:
    """The search space of an Optuna objective, a function or `pkg.module:name` from the current folder.

    It is run at most `trials` times, and fewer where every value of every choice was tried and nothing is left open.

    Raises:
        InvalidInput: no such objective, it fails, it asks for nothing, or for one parameter in different ranges.
        Unsupported: Optuna is not installed.
    """
    if trials < 1:
        raise InvalidInput(f"trials must be 1 or more, but got {trials}", remedy="20 are usually enough")
    chooser = _chooser(seed)
    found = imported(objective) if isinstance(objective, str) else objective
    runs: list[Asked] = []
    while len(runs) < trials:
        runs.append(_run(found, chooser, runs))
        if len(runs) > 1 and _nothing_is_left(runs):
            break
    return _discovered(runs)


def imported(path: str) -> Callable[..., Any]:
    """The objective that `pkg.module:name` names, imported from the current folder or from what is installed."""
    module_name, colon, name = path.partition(":")
    if not (module_name and colon and name):
        raise InvalidInput(f"an objective is named pkg.module:name, but got {path!r}", remedy="write train:objective")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        target: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise _failed("its module must import", error) from error
        raise InvalidInput(
            f"there is no module {error.name!r} in {folder}", remedy="run it in the folder of your code"
        ) from None
    except Exception as error:
        raise _failed("its module must import", error) from error
    for part in name.split("."):
        if not hasattr(target, part):
            raise InvalidInput(f"{module_name} has no {name!r}", remedy="check the name after the colon")
        target = getattr(target, part)
    if not callable(target):
        raise InvalidInput(f"{path} is a {type(target).__name__}", remedy="name a def objective(trial)")
    found: Callable[..., Any] = target
    return found


def _nothing_is_left(runs: list[Asked]) -> bool:
    """Whether every value was tried: twice where some parameters are asked for at times only, so that what decides is
    told from more than a chance."""
    names = {name for run in runs for name in run.values}
    conditional = any(name not in run.values for run in runs for name in names)
    return _covered(runs, times=2 if conditional else 1) and not told_conditions(_choices(runs), runs).open


def _covered(runs: list[Asked], *, times: int = 1) -> bool:
    for name, values in _choices(runs).items():
        tried = [repr(run.values[name]) for run in runs if name in run.values]
        if any(tried.count(repr(value)) < times for value in values):
            return False
    return True


def _run(objective: Callable[..., Any], chooser: Any, before: list[Asked]) -> Asked:
    import optuna

    chooser.begin(before)
    with _quiet(optuna):
        trial = optuna.create_study(sampler=chooser, pruner=optuna.pruners.NopPruner()).ask()

    def report(value: float, step: int) -> None:
        raise _Enough

    trial.report = report  # type: ignore[method-assign]
    with contextlib.suppress(_Enough, optuna.TrialPruned):
        try:
            objective(trial)
        except (Exception, SystemExit) as error:
            if isinstance(error, optuna.TrialPruned):
                raise
            text = ", ".join(f"{name}={value!r}" for name, value in trial.params.items())
            raise _failed(f"it must run, but with {text or 'no parameters'} it fails", error) from error
    return Asked(values=dict(trial.params), distributions=dict(trial.distributions))


def _failed(rule: str, error: BaseException) -> InvalidInput:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/site-packages/" not in f.filename]
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return InvalidInput(
        f"to discover the space of an objective {rule}: {type(error).__name__}: {error}{where}",
        remedy="run it once with Optuna itself",
    )


@contextlib.contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def _chooser(seed: int) -> Any:
    """A sampler that tries what was tried least: every value of small discrete parameters, else at random."""
    try:
        import optuna
    except ImportError:
        raise Unsupported(
            "discovering a space needs Optuna, which is not installed", remedy="pip install 'optuna>=5'"
        ) from None

    class Chooser(optuna.samplers.BaseSampler):
        def __init__(self) -> None:
            self._draw = random.Random(seed)
            self._sampler = optuna.samplers.RandomSampler(seed=seed)
            self._before: list[Asked] = []

        def begin(self, before: list[Asked]) -> None:
            self._before = before

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
            return {}

        def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
            values = listed(distribution)
            tried = [repr(run.values[name]) for run in self._before if name in run.values]
            if values is None:
                draws = [self._sampler.sample_independent(study, trial, name, distribution) for _ in range(8)]
                if hasattr(distribution, "choices"):
                    return draws[0]
                return (min, max)[len(tried)](draws) if len(tried) < 2 else draws[0]  # a small one, a large one first
            least = min(tried.count(repr(value)) for value in values)
            return self._draw.choice([value for value in values if tried.count(repr(value)) == least])

    return Chooser()


def listed(distribution: Any) -> list[Any] | None:
    """Every value of a small discrete parameter; None where there are too many, or where it is real."""
    if hasattr(distribution, "choices"):
        values = list(distribution.choices)
        return values if len(values) <= MOST_COVERED else None
    if not type(distribution).__name__.startswith("Int"):
        return None
    count = (distribution.high - distribution.low) // distribution.step + 1
    if count > MOST_COVERED:
        return None
    return [distribution.low + i * distribution.step for i in range(count)]


def _choices(runs: list[Asked]) -> dict[str, list[Any]]:
    """Every value of each small discrete parameter that was asked for."""
    found: dict[str, list[Any]] = {}
    for run in runs:
        for name, distribution in run.distributions.items():
            values = listed(distribution)
            if values is not None and len(values) > 1:
                found.setdefault(name, values)
    return found


def _discovered(runs: list[Asked]) -> Discovered:
    distributions = _agreed(runs)
    told = told_conditions(_choices(runs), runs)
    document: dict[str, Any] = {}
    from search_spaces.convert.optuna_plain import parameter_of  # with Optuna, which is heavy

    try:
        for name, distribution in distributions.items():
            document[name] = parameter_of(distribution).to_dict()
            if name in told.when:
                document[name]["when"] = told.when[name]
        space = SearchSpace.from_definition(document)
    except SpaceError as error:
        raise InvalidInput(
            f"what the objective asks for is no space: {error}", remedy="change the objective, or write the space"
        ) from error
    notes = [*told.open.values()]
    if not _covered(runs):
        notes.append(f"after {len(runs)} runs some choices are untried; what they lead to is missing: raise --trials")
    return Discovered(space=space, runs=len(runs), notes=tuple(notes))


def _agreed(runs: list[Asked]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for run in runs:
        for name, distribution in run.distributions.items():
            if found.setdefault(name, distribution) != distribution:
                raise InvalidInput(
                    f"a parameter must have one range, but the objective asks for {name!r} in {found[name]} and in "
                    f"{distribution}",
                    remedy="suggest it under two names, or in the widest range",
                )
    if not found:
        raise InvalidInput(
            "an objective must suggest something, but this one asked for no parameter before its first report",
            remedy="call trial.suggest_float and the like first",
        )
    return found
