"""The recipes' parameters and metrics. Data only; what is done with it lies in `checks`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

OPTIMIZERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")
SCHEDULES = ("constant", "step", "cosine", "exponential")
ACTIVATIONS = ("relu", "leaky_relu", "elu", "gelu", "silu", "tanh")
NORMALIZATIONS = ("none", "batch", "layer")
AUGMENTATIONS = ("none", "flip", "shift", "flip_shift")


@dataclass(frozen=True, kw_only=True)
class ParameterDeclaration:
    """One parameter of a recipe.

    `kind` is float, int, choice, text, or any (of own recipes: not checked); `low` and `high` bound numbers, both
    included; `values` lists choices. `default` None means: not set, and `doc` says what happens then. `lane` says that
    trials which differ only here can train together as lanes of one model; `tunable` that it may stand in a search
    space; `models` names the models on which it has an effect (empty: all).
    """

    name: str
    kind: str
    doc: str
    default: Any = None
    low: float | None = None
    high: float | None = None
    values: tuple[Any, ...] = ()
    lane: bool = False
    tunable: bool = True
    models: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MetricDeclaration:
    """One metric of every report; `tasks` says for which kinds of target."""

    name: str
    direction: str | None  # maximize, minimize; None where neither is better
    doc: str
    tasks: tuple[str, ...] = ("classification", "regression")


@dataclass(frozen=True, kw_only=True)
class RecipeDeclaration:
    """A recipe: its parameters by name, its metrics, and the metric to optimise unless another is named."""

    name: str
    doc: str
    parameters: dict[str, ParameterDeclaration]
    metrics: tuple[MetricDeclaration, ...]
    default_metric: str


_P = ParameterDeclaration

_TRAINING = (
    _P(name="lr", kind="float", low=1e-8, high=100.0, default=0.003, lane=True, doc="Learning rate at its peak."),
    _P(name="batch_size", kind="int", low=1, high=65536, default=32, doc="Rows per step of the optimiser."),
    _P(
        name="optimizer", kind="choice", values=OPTIMIZERS, default="adam", doc="Which rule turns gradients into steps."
    ),
    _P(
        name="momentum",
        kind="float",
        low=0.0,
        high=0.9999,
        lane=True,
        doc="Of sgd, momentum, nesterov and rmsprop. Not set: 0.9 for momentum and nesterov, 0 for the others.",
    ),
    _P(
        name="beta1",
        kind="float",
        low=0.0,
        high=0.99999,
        default=0.9,
        lane=True,
        doc="Decay of the mean of the gradients (adam, adamw).",
    ),
    _P(
        name="beta2",
        kind="float",
        low=0.0,
        high=0.9999999,
        default=0.999,
        lane=True,
        doc="Decay of the mean of their squares (adam, adamw).",
    ),
    _P(
        name="weight_decay",
        kind="float",
        low=0.0,
        high=10.0,
        default=0.0,
        lane=True,
        doc="L2 penalty added to the gradient; decoupled from it for adamw.",
    ),
    _P(
        name="lr_schedule",
        kind="choice",
        values=SCHEDULES,
        default="cosine",
        lane=True,
        doc="Shape of the learning rate up to the horizon: constant; step (÷ 10 at each third); cosine (to 0); "
        "exponential (to 1 %).",
    ),
    _P(
        name="warmup_epochs",
        kind="float",
        low=0.0,
        high=1000.0,
        default=0.0,
        lane=True,
        doc="Epochs over which the learning rate grows linearly from 0 before its schedule begins.",
    ),
    _P(
        name="epochs",
        kind="int",
        low=1,
        high=100000,
        default=20,
        doc="Epochs to train, and the schedule's horizon. Refused beside a scheduler, which decides that itself.",
    ),
    _P(
        name="grad_clip",
        kind="float",
        low=0.0,
        high=1e6,
        default=0.0,
        lane=True,
        doc="Greatest norm of the whole gradient; 0 does not clip.",
    ),
    _P(
        name="early_stopping",
        kind="int",
        low=0,
        high=100000,
        default=0,
        doc="Stop after this many epochs without a smaller validation loss; 0 never stops.",
    ),
)

_NETWORK = (
    _P(
        name="hidden_units",
        kind="int",
        low=1,
        high=16384,
        default=128,
        models=("mlp", "resmlp"),
        doc="Width of the hidden layers.",
    ),
    _P(
        name="hidden_layers",
        kind="int",
        low=1,
        high=64,
        default=1,
        models=("mlp", "resmlp"),
        doc="Number of hidden layers, or of residual blocks.",
    ),
    _P(
        name="dropout",
        kind="float",
        low=0.0,
        high=0.95,
        default=0.0,
        lane=True,
        models=("mlp", "resmlp", "cnn", "resnet"),
        doc="Share of hidden units dropped while training.",
    ),
    _P(
        name="activation",
        kind="choice",
        values=ACTIVATIONS,
        default="relu",
        models=("mlp", "resmlp", "cnn", "resnet"),
        doc="Nonlinearity of the hidden layers.",
    ),
    _P(
        name="normalization",
        kind="choice",
        values=NORMALIZATIONS,
        default="none",
        models=("mlp", "resmlp", "cnn", "resnet"),
        doc="Normalisation of the hidden layers.",
    ),
    _P(
        name="label_smoothing",
        kind="float",
        low=0.0,
        high=0.9,
        default=0.0,
        lane=True,
        doc="Share of the target spread evenly over all classes while training (classification).",
    ),
)

_DATA = (
    _P(
        name="split_seed",
        kind="int",
        low=0,
        high=2**31 - 1,
        default=0,
        tunable=False,
        doc="Names the split into training, validation and test rows: the same for all trials of a study.",
    ),
    _P(
        name="val_fraction",
        kind="float",
        low=0.01,
        high=0.9,
        default=0.2,
        tunable=False,
        doc="Share of the rows to validate on (without folds).",
    ),
    _P(
        name="test_fraction",
        kind="float",
        low=0.0,
        high=0.8,
        default=0.15,
        tunable=False,
        doc="Share of the rows kept away from the search; 0 where the data bring a test part of their own.",
    ),
    _P(
        name="folds",
        kind="int",
        low=1,
        high=20,
        default=1,
        tunable=False,
        doc="Train k-fold cross-validation inside each trial and report means, and spreads as `…_std`; 1 does not.",
    ),
)

_OF_LOOPS = ("dropout", "label_smoothing")  # what the loops themselves do of it, whatever the network
_IMAGE_MODELS = ("softmax", "mlp", "cnn", "resnet")
_TABLE_MODELS = ("linear", "mlp", "resmlp")
_CLASSES = ("classification",)
_REAL = ("regression",)

_METRICS = (
    MetricDeclaration(
        name="val_accuracy", direction="maximize", tasks=_CLASSES, doc="Share of validation rows classified rightly."
    ),
    MetricDeclaration(
        name="val_rmse",
        direction="minimize",
        tasks=_REAL,
        doc="Root mean squared validation error, in the target's unit.",
    ),
    MetricDeclaration(
        name="val_r2", direction="maximize", tasks=_REAL, doc="Share of the validation target's variance explained."
    ),
    MetricDeclaration(
        name="val_loss",
        direction="minimize",
        doc="Cross-entropy without smoothing, or mean squared error of the standardised target, in validation.",
    ),
    MetricDeclaration(
        name="train_accuracy",
        direction="maximize",
        tasks=_CLASSES,
        doc="As val_accuracy, over the epoch's batches as trained.",
    ),
    MetricDeclaration(
        name="train_rmse", direction="minimize", tasks=_REAL, doc="As val_rmse, over the epoch's batches as trained."
    ),
    MetricDeclaration(
        name="train_r2", direction="maximize", tasks=_REAL, doc="As val_r2, over the epoch's batches as trained."
    ),
    MetricDeclaration(name="train_loss", direction="minimize", doc="The loss as trained, mean over the epoch."),
    MetricDeclaration(name="lr", direction=None, doc="Learning rate of the epoch's last step."),
    MetricDeclaration(name="seconds", direction=None, doc="Time that the epoch took, validation included."),
)


def _named(*parameters: ParameterDeclaration) -> dict[str, ParameterDeclaration]:
    return {parameter.name: parameter for parameter in parameters}


_IMAGE_CLASSIFIER = RecipeDeclaration(
    name="image_classifier",
    doc="Classifies images: softmax regression, a multilayer perceptron, a convolutional network, a small ResNet.",
    default_metric="val_accuracy",
    metrics=tuple(m for m in _METRICS if "classification" in m.tasks),
    parameters=_named(
        _P(
            name="data",
            kind="text",
            default="digits",
            tunable=False,
            doc="`digits`, or a path on the workers: an .npz file, a folder of IDX files (plain or .gz), or a folder "
            "with one sub-folder of PNG or JPEG files per class.",
        ),
        _P(name="model", kind="choice", values=_IMAGE_MODELS, default="mlp", doc="Which network."),
        *_TRAINING,
        *_NETWORK,
        _P(
            name="width",
            kind="int",
            low=1,
            high=1024,
            default=16,
            models=("cnn", "resnet"),
            doc="Channels of the first convolution; later ones have two and four times as many.",
        ),
        _P(
            name="augmentation",
            kind="choice",
            values=AUGMENTATIONS,
            default="none",
            doc="Random changes of the training images: flip (left to right), shift (by up to an eighth), or both.",
        ),
        *_DATA,
        _P(
            name="image_size",
            kind="int",
            low=4,
            high=1024,
            default=32,
            tunable=False,
            doc="Side in pixels to which an image folder's images are scaled.",
        ),
        _P(
            name="image_channels",
            kind="choice",
            values=(1, 3),
            default=3,
            tunable=False,
            doc="Read an image folder in grey (1) or in colour (3).",
        ),
    ),
)

_TABULAR = RecipeDeclaration(
    name="tabular",
    doc="Predicts a class or a number from the columns of a table: a linear model, an MLP, a residual MLP.",
    default_metric="val_loss",
    metrics=_METRICS,
    parameters=_named(
        _P(
            name="data",
            kind="text",
            default="iris",
            tunable=False,
            doc="`iris`, `wine`, `breast_cancer`, `digits` (classes), `diabetes` (regression), or the path of a .csv "
            "file on the workers.",
        ),
        _P(name="target", kind="text", tunable=False, doc="The target column of a .csv file. Not set: the last one."),
        _P(
            name="task",
            kind="choice",
            values=("auto", "classification", "regression"),
            default="auto",
            tunable=False,
            doc="What a .csv target is; `auto` takes words and up to 20 different whole numbers for classes.",
        ),
        _P(name="model", kind="choice", values=_TABLE_MODELS, default="mlp", doc="Which network."),
        *_TRAINING,
        *(replace(p, default=2) if p.name == "hidden_layers" else p for p in _NETWORK),
        *_DATA,
    ),
)

RECIPES: dict[str, RecipeDeclaration] = {recipe.name: recipe for recipe in (_IMAGE_CLASSIFIER, _TABULAR)}


def own_declaration(
    name: str, *, parameters: Mapping[str, Any], lanes: Iterable[str], metrics: tuple[MetricDeclaration, ...] = ()
) -> RecipeDeclaration:
    """The declaration of a user's own recipe: the parameters of training, and its own, each a declaration or a default.

    An own parameter named like one of training takes its place, or sets its default.
    """
    merged = _named(*_TRAINING, *(p for p in _NETWORK if p.name in _OF_LOOPS))
    for own, given in parameters.items():
        if isinstance(given, ParameterDeclaration):
            merged[own] = given
        elif own in merged:
            merged[own] = replace(merged[own], default=given)
        else:
            merged[own] = _P(name=own, kind="any", default=given, doc="")
    merged |= {lane: replace(merged[lane], lane=True) for lane in lanes}
    return RecipeDeclaration(
        name=name, doc="", parameters=merged, metrics=metrics, default_metric=metrics[0].name if metrics else "val_loss"
    )
