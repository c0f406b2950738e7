"""An Optuna objective, unmodified: `objective(trial)` with a trial that takes its values from our configuration.

The trial is a real `optuna.Trial` of a study in memory that holds nothing else, so that whatever an objective asks of
it answers. What is here differs: where suggested values come from, where reports go, and when to prune.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workers import functions, isolation
from workers.contract import Outcome, WorkOrder
from workers.errors import InvalidOrderError, ParameterError, ReportError, nearest
from workers.tracebacks import raise_at
from workers.trial import Ending, Trial

CONSTRAINT = "constraint_"
"""What the name of a constraint's metric begins with; zero or less means that it holds."""


def find(path: str) -> Callable[..., Any]:
    """The objective named by `pkg.module:name`.

    Raises:
        InvalidOrderError: no such thing, no Optuna, or not callable with a trial. Its module's errors pass through.
    """
    try:
        import optuna  # noqa: F401 - lazy, and only to say early that it is missing
    except ImportError as error:
        raise InvalidOrderError(
            f"an Optuna objective needs Optuna on the workers, but: {error}; pip install 'optuna>=5'"
        ) from error
    target = functions.find(path)
    try:
        inspect.signature(target).bind(None)
    except TypeError as error:
        raise InvalidOrderError(
            f"an Optuna objective must take one argument, the trial, but {path!r} does not: {error}; "
            "bind the others with functools.partial or give them defaults"
        ) from None
    except ValueError:  # built in: it has no signature to look at
        pass
    return target


def run(objective: Callable[..., Any], order: WorkOrder, trial: Trial) -> None:
    """Call the objective with this configuration; what it returns is the trial's last report."""
    import optuna

    isolation.seed_globals(trial.seed)
    progress = Progress(order, trial)
    try:
        returned = objective(_trial_class()(progress))
    except optuna.TrialPruned:
        progress.pruned()
        return
    try:
        progress.returned(returned)
    except ReportError as error:
        raise_at(objective, error)


class Progress:
    """What an objective said so far, and how that becomes reports of our trial.

    Steps may start at 0, as Optuna's do: then step s stands for resource s + 1, else for s. The report that would end
    the last segment is held back until the objective returns, for what it returns is its value.
    """

    def __init__(self, order: WorkOrder, trial: Trial) -> None:
        self.order = order
        self.trial = trial
        self._shift: int | None = None
        self._step: int | None = None
        self._value: float | None = None
        self._held: int | None = None
        self._extra: dict[str, float] = {}
        self._fresh = False  # whether `_extra` holds what no report has carried yet

    @property
    def directions(self) -> list[Any]:
        """One for each objective; minimize where the order does not say."""
        return list(self.order.directions) or ["minimize"] * len(self.order.metrics)

    def report(self, value: float, step: int) -> None:
        """An intermediate value. One whose step does not grow is left out with a line in the log."""
        if self._step is not None and step <= self._step:
            self.trial.log(
                f"warning: step {step} was reported after step {self._step} and is not stored; report growing steps"
            )
            return
        self._let_go()
        if self._shift is None:
            self._shift = 1 if step == 0 else 0
        self._step, self._value = step, value
        if self._ends_the_trial(step):
            self._held = step
        else:
            self._record(step, self._metrics([value]))

    def should_prune(self) -> bool:
        """True once a stop was asked for; a stop that is there at a report ends the attempt at that report."""
        return self.trial.stopping

    def extra(self, name: str, value: float) -> None:
        """A number that goes with the reports from now on."""
        if name not in self.order.metrics:
            self._extra[name] = value
            self._fresh = True

    def returned(self, returned: Any) -> None:
        """The objective is over.

        Raises:
            ReportError: it did not return one number for each objective.
        """
        values = self._checked(returned)
        if self._held is not None:
            held, self._held = self._held, None
            self._record(held, self._metrics(values))
        elif self._step is None:
            self._record(1, self._metrics(values))
        elif values != [self._value] or self._fresh:
            self._record(self._step + 1, self._metrics(values), resource=self.trial.resource)

    def pruned(self) -> None:
        """The objective raised TrialPruned: a clean end, with the values that were reported. Where a report had ended
        the attempt before, and the objective caught that, it stays ended so."""
        if self.trial.ending is not None:
            return
        self._let_go()
        if self.order.preflight:
            self.trial.ending = Ending(outcome=Outcome.REACHED)
            return
        why = "stopped at a report" if self.should_prune() else "the objective raised TrialPruned"
        self.trial.ending = Ending(outcome=Outcome.CANCELLED, reason=why)

    def _ends_the_trial(self, step: int) -> bool:
        if self.order.preflight or self.order.target_resource < self.order.horizon:
            return False
        return step + (self._shift or 0) >= self.order.target_resource

    def _let_go(self) -> None:
        """Report what was held back: the objective goes on, or will not return."""
        if self._held is not None and self._value is not None:
            held, self._held = self._held, None
            self._record(held, self._metrics([self._value]))

    def _record(self, step: int, metrics: Mapping[str, float], *, resource: float | None = None) -> None:
        self._fresh = False
        level = float(step + (self._shift or 0)) if resource is None else resource
        self.trial.record(step, metrics, resource=level)

    def _metrics(self, values: Sequence[float]) -> dict[str, float]:
        return {**self._extra, **dict(zip(self.order.metrics, values, strict=True))}

    def _checked(self, returned: Any) -> list[float]:
        wanted = len(self.order.metrics)
        names = ", ".join(self.order.metrics)
        values = list(returned) if isinstance(returned, Sequence) and not isinstance(returned, str) else [returned]
        if len(values) != wanted:
            raise ReportError(
                f"the objective must return {wanted} values ({names}), but it returned {len(values)}; "
                "return one for each objective of the definition, in its order"
            )
        return [_number(value, name) for value, name in zip(values, self.order.metrics, strict=True)]


def suggested(params: Mapping[str, Any], name: str, distribution: Any) -> Any:
    """The configuration's value of a parameter, checked against what the objective asks for.

    Raises:
        ParameterError: the configuration lacks it, or its value lies outside.
    """
    if name not in params:
        known = ", ".join(sorted(params)) or "nothing"
        raise ParameterError(
            f"the objective asks for the parameter {name!r}, but the configuration has {known}"
            + (nearest(name, params) or f"; add {name} to the space (`hpo discover` writes one)")
        )
    value = params[name]
    found = _within(distribution, value)
    if found is None:
        raise ParameterError(
            f"the parameter {name!r} must lie in what the objective asks for, {_words(distribution)}, but the "
            f"configuration has {value!r}; make the range in `space` and the one in the objective the same"
        )
    return found[0]


def _within(distribution: Any, value: Any) -> tuple[Any] | None:
    """The value as the distribution would give it, in a tuple; None where it lies outside."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        for choice in distribution.choices:
            plain = list(choice) if isinstance(choice, tuple) else choice
            if plain == value and isinstance(plain, bool) == isinstance(value, bool):
                return (choice,)
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(distribution, IntDistribution) and value != int(value):
        return None
    if not distribution._contains(distribution.to_internal_repr(value)):
        return None
    return (int(value) if isinstance(distribution, IntDistribution) else float(value),)


def _words(distribution: Any) -> str:
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return "one of " + ", ".join(repr(choice) for choice in choices)
    step = f", in steps of {distribution.step}" if distribution.step not in (None, 1) else ""
    return f"{distribution.low} … {distribution.high}{step}"


def _number(value: Any, name: str) -> float:
    try:
        if isinstance(value, (str, bytes)) or value is None:
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise ReportError(
            f"the objective must return a number for {name!r}, but got {type(value).__name__} {str(value)[:60]!r}; "
            "return a float"
        ) from None


_made: type | None = None


def _trial_class() -> type:
    """The class of the trials that objectives get; made when first needed, for it derives from Optuna's."""
    global _made
    if _made is None:
        _made = _make_trial_class()
    return _made


def _make_trial_class() -> type:
    import optuna

    class ObjectiveTrial(optuna.Trial):
        """Optuna's trial, with values of our configuration and reports that go to our service."""

        def __init__(self, progress: Progress) -> None:
            study = _study(progress)
            asked = study.ask()
            super().__init__(study, asked._trial_id)
            self._progress = progress

        @property
        def number(self) -> int:
            return self._progress.trial.number

        def _suggest(self, name: str, distribution: Any) -> Any:
            value = suggested(self._progress.trial.params, name, distribution)
            if name not in self._cached_frozen_trial.params:
                internal = distribution.to_internal_repr(value)
                self.storage.set_trial_param(self._trial_id, name, internal, distribution)
                self._cached_frozen_trial.distributions[name] = distribution
                self._cached_frozen_trial.params[name] = value
            return value

        def report(self, value: float, step: int) -> None:
            known = len(self._cached_frozen_trial.intermediate_values)
            super().report(value, step)
            if len(self._cached_frozen_trial.intermediate_values) > known:
                self._progress.report(float(value), int(step))

        def should_prune(self) -> bool:
            if len(self.study.directions) > 1:
                return super().should_prune()
            return self._progress.should_prune()

        def set_user_attr(self, key: str, value: Any) -> None:
            super().set_user_attr(key, value)
            self._progress.trial.log(f"user attribute {key} = {value!r}"[:1000])
            if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
                self._progress.extra(key, float(value))

        def set_constraint(self, key: str, value: float) -> None:
            known = key in self.constraints
            super().set_constraint(key, value)
            if not known:
                self._progress.trial.log(f"constraint {key} = {float(value)!r} ({'holds' if value <= 0 else 'broken'})")
                self._progress.extra(CONSTRAINT + str(key), float(value))

    return ObjectiveTrial


def _study(progress: Progress) -> Any:
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # that a study in memory was made is of no use in the log
    try:
        return optuna.create_study(
            study_name=progress.order.key.study_id,
            directions=progress.directions,
            sampler=optuna.samplers.RandomSampler(seed=progress.order.seed % (1 << 32)),
            pruner=optuna.pruners.NopPruner(),
        )
    finally:
        optuna.logging.set_verbosity(level)
