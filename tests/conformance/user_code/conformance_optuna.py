"""Optuna objectives of a user, good and bad, as they are written for Optuna. They import nothing of ours."""

# ruff: noqa

import functools
import json
import sys

import numpy as np
import optuna


def _losses(lr):
    w = np.random.default_rng(3).normal(size=4)
    for epoch in range(1, 1000):
        w = w * (1 - lr) + 0.01 * np.random.default_rng([7, epoch]).normal(size=4)
        yield epoch, float((w**2).sum())


def reports(trial):
    lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)
    for epoch, loss in _losses(lr):
        print("epoch", epoch)
        trial.report(loss, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned()
    return loss


def nine_epochs_from_zero(trial):
    lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)
    for epoch, loss in _losses(lr):
        trial.report(loss, epoch - 1)
        if trial.should_prune():
            raise optuna.TrialPruned()
        if epoch == 9:
            return loss / 2


def one_value(trial):
    return trial.suggest_float("lr", 1e-3, 1.0, log=True) ** 2


def everything(trial):
    lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)
    layers = trial.suggest_int("layers", 1, 3)
    name = trial.suggest_categorical("optimizer", ["adam", "sgd"])
    momentum = trial.suggest_float("momentum", 0.0, 0.9, step=0.1) if name == "sgd" else None
    trial.set_user_attr("parameters", 1234)
    trial.set_user_attr("note", "fine")
    trial.set_constraint("memory", 2.5)
    trial.set_constraint("latency", -1)
    print(json.dumps([lr, layers, name, momentum, trial.number, trial.params, trial.user_attrs, trial.constraints]))
    print(trial.study.direction.name, [type(v).__name__ for v in (lr, layers, name)], list(trial.distributions))
    return 0.5


def tuples(trial):
    shape = trial.suggest_categorical("shape", [(64,), (64, 32)])
    assert isinstance(shape, tuple)
    return float(len(shape))


def two_values(trial):
    x = trial.suggest_float("lr", 1e-3, 1.0)
    return x, 1 - x


def reports_with_two(trial):
    trial.report(1.0, 0)
    return 1.0, 2.0


def prunes_itself(trial):
    trial.report(3.0, 0)
    trial.report(2.0, 1)
    raise optuna.TrialPruned("hopeless")


def prunes_whatever_ended_it(trial):
    try:
        for epoch in range(1, 100):
            trial.report(1.0 / epoch, epoch)
    except BaseException:
        raise optuna.TrialPruned("it must have been pruned") from None


def prunes_at_once(trial):
    raise optuna.exceptions.TrialPruned()


def any_order(trial):
    for step in (1, 1, 3, 2, 4):
        trial.report(1.0 / step, step)
    return 0.25


def swallows(trial):
    for epoch in range(1, 100):
        try:
            trial.report(1.0 / epoch, epoch)
        except Exception:
            pass
    return 0.0


def two_arguments(trial, data):
    return float(data)


bound = functools.partial(two_arguments, data=3)


# Bad input, as test_bad_user_code asks for it


def fails(trial):
    trial.report(1.0, 1)
    raise ValueError("no such layer")


def exits(trial):
    sys.exit(3)


def lacks(trial):
    return trial.suggest_float("momentun", 0.0, 0.9)


def wider(trial):
    return trial.suggest_float("lr", 1e-3, 0.05)


def other_choices(trial):
    return float(trial.suggest_categorical("lr", [1, 2]))


def nan(trial):
    return float("nan")


def text(trial):
    return "low"


def nothing(trial):
    trial.report(1.0, 1)
