"""An Optuna objective, as it is written for Optuna: handwritten digits, classified by a linear model in epochs.

With Optuna itself:

    python examples/optuna_style.py

As a study here, unchanged; `hpo discover` writes the space:

    cd examples && hpo discover optuna_style:objective

    # study.yaml
    objective: {metric: accuracy, direction: maximize}
    space: …
    algorithm: {name: hyperband, max_resource: 27}
    trainer: {optuna: "optuna_style:objective"}
    budget: {trials: 60}
"""

from __future__ import annotations

import optuna
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

EPOCHS = 27
images, labels = load_digits(return_X_y=True)
x_train, x_val, y_train, y_val = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
scaler = StandardScaler().fit(x_train)
x_train, x_val = scaler.transform(x_train), scaler.transform(x_val)


def objective(trial: optuna.Trial) -> float:
    """The accuracy on the validation images after the last epoch."""
    loss = trial.suggest_categorical("loss", ["hinge", "log_loss", "modified_huber"])
    alpha = trial.suggest_float("alpha", 1e-6, 1e-1, log=True)
    penalty = trial.suggest_categorical("penalty", ["l2", "elasticnet"])
    l1_ratio = trial.suggest_float("l1_ratio", 0.05, 0.95) if penalty == "elasticnet" else 0.0
    model = SGDClassifier(loss=loss, alpha=alpha, penalty=penalty, l1_ratio=l1_ratio, random_state=0)
    accuracy = 0.0
    for epoch in range(EPOCHS):
        model.partial_fit(x_train, y_train, classes=range(10))
        accuracy = float(model.score(x_val, y_val))
        trial.report(accuracy, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned()
    trial.set_user_attr("weights_that_are_not_zero", int((model.coef_ != 0).sum()))
    return accuracy


if __name__ == "__main__":
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner())
    study.optimize(objective, n_trials=20)
    print(study.best_value, study.best_params)
