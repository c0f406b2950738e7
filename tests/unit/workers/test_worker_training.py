"""The training loop: optimisers against torch.optim, schedules, batches, bit-identical resuming, learning itself."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import catalog
from workers.contract import AttemptKey, CheckpointRef, Message, Outcome, Reported, TrainerSpec, WorkOrder
from workers.loops.batches import Batches, augmented
from workers.loops.optimisers import OPTIMIZERS, Optimiser
from workers.loops.schedules import SCHEDULES, Schedule
from workers.models import build_model
from workers.session import run_order
from workers.streams import Streams

Train = Callable[..., tuple[dict[int, dict[str, float]], CheckpointRef | None]]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    fences = itertools.count(1)

    def run(
        params: dict[str, Any],
        *,
        to: float,
        recipe: str = "image_classifier",
        metric: str = "val_loss",
        resume: CheckpointRef | None = None,
        **changes: Any,
    ) -> tuple[dict[int, dict[str, float]], CheckpointRef | None]:
        order = WorkOrder(
            key=AttemptKey(study_id="s", trial=0, fence=next(fences)),
            trainer=TrainerSpec(recipe=recipe),
            params=params,
            seed=77,
            metric=metric,
            metrics=(metric,),
            from_resource=resume.resource if resume else 0.0,
            target_resource=to,
            horizon=4.0,
            storage_root=str(tmp_path),
            checkpoints=(resume,) if resume else (),
        )
        messages: list[Message] = []
        ended = run_order(replace(order, **changes), messages.append, lambda: None)
        assert ended.outcome in (Outcome.REACHED, Outcome.COMPLETED), ended
        reports = {m.step: dict(m.metrics) for m in messages if isinstance(m, Reported)}
        for values in reports.values():
            values.pop("seconds")
            values.pop("seconds_std", None)
        return reports, ended.checkpoint

    return run


VARIANTS: list[dict[str, Any]] = [
    *({"optimizer": name, "weight_decay": 0.01} for name in OPTIMIZERS),
    {"optimizer": "rmsprop", "momentum": 0.5},
    *({"normalization": kind, "dropout": 0.3} for kind in ("none", "batch", "layer")),
    *({"augmentation": kind} for kind in ("flip", "shift", "flip_shift")),
    *({"lr_schedule": kind, "warmup_epochs": 1.5} for kind in SCHEDULES),
    {"label_smoothing": 0.1, "grad_clip": 0.5},
    {"folds": 3, "dropout": 0.2},
    {"early_stopping": 2, "lr": 0.5},
    {"model": "softmax"},
    {"model": "cnn", "width": 2, "normalization": "batch", "batch_size": 256},
    {"model": "resnet", "width": 2, "dropout": 0.2, "batch_size": 256},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: "-".join(map(str, v.values())))
def test_resuming_is_bit_identical(variant: dict[str, Any], train: Train) -> None:
    params = {"batch_size": 128, "hidden_units": 8, **variant}
    whole, _ = train(params, to=4)
    first, checkpoint = train(params, to=2)
    second, _ = train(params, to=4, resume=checkpoint)
    assert {**first, **second} == whole
    assert min(second, default=3) == 3


@pytest.mark.parametrize("variant", [{"model": "resmlp", "normalization": "batch"}, {"data": "diabetes"}])
def test_tables_resume_bit_identically(variant: dict[str, Any], train: Train) -> None:
    params = {"dropout": 0.1, **variant}
    whole, _ = train(params, to=3, recipe="tabular")
    first, checkpoint = train(params, to=1, recipe="tabular")
    second, _ = train(params, to=3, recipe="tabular", resume=checkpoint)
    assert {**first, **second} == whole


def test_digits_reach_97_percent_with_the_defaults(train: Train) -> None:
    reports, _ = train({}, to=27, horizon=27.0)
    assert reports[27]["val_accuracy"] >= 0.97


@pytest.mark.parametrize(
    ("data", "metric", "least"),
    [
        ("iris", "val_accuracy", 0.8),  # logistic regression gets 0.9 of these 30 rows
        ("wine", "val_accuracy", 0.9),
        ("breast_cancer", "val_accuracy", 0.95),
        ("diabetes", "val_r2", 0.35),
    ],
)
@pytest.mark.parametrize("model", ["linear", "mlp", "resmlp"])
def test_tables_are_learnt(data: str, metric: str, least: float, model: str, train: Train) -> None:
    params = {"data": data, "model": model, "hidden_units": 32, "lr": 0.02, "batch_size": 16}
    reports, _ = train(params, to=20, recipe="tabular", metric=metric, horizon=20.0)
    assert max(values[metric] for values in reports.values()) >= least


@pytest.mark.parametrize("model", ["cnn", "resnet"])
def test_images_are_learnt_by_convolutions(model: str, train: Train) -> None:
    params = {"model": model, "width": 4, "normalization": "batch", "lr": 0.02}
    reports, _ = train(params, to=4)
    assert reports[4]["val_accuracy"] >= 0.9


def test_reports_hold_the_declared_metrics(train: Train) -> None:
    for recipe, params in (
        ("image_classifier", {}),
        ("image_classifier", {"folds": 2}),
        ("tabular", {"data": "diabetes"}),
        ("tabular", {"data": "iris", "folds": 2}),
    ):
        reports, _ = train(params, to=1, recipe=recipe)
        declared = set(catalog.metric_names(recipe, params)) - {"seconds"}
        assert set(reports[1]) == declared


def test_folds_report_mean_and_spread(train: Train) -> None:
    reports, _ = train({"folds": 4, "hidden_units": 8}, to=1)
    assert 0 < reports[1]["val_accuracy_std"] < 0.2


def test_epochs_parameter_ends_the_trial_and_its_schedule(train: Train) -> None:
    reports, checkpoint = train({"epochs": 2, "hidden_units": 8}, to=9)
    assert list(reports) == [1, 2]
    assert reports[2]["lr"] < 1e-5
    assert checkpoint is not None
    assert checkpoint.resource == 2.0


def test_default_epochs_count_only_where_nothing_else_says_how_far(train: Train) -> None:
    default = catalog.RECIPES["image_classifier"].parameters["epochs"].default
    reports, _ = train({"hidden_units": 4, "batch_size": 256}, to=math.inf, horizon=math.inf)
    assert max(reports) == default
    assert reports[default]["lr"] < reports[1]["lr"] / 10
    reports, _ = train({"hidden_units": 4, "batch_size": 256}, to=default + 2, horizon=default + 2)
    assert max(reports) == default + 2


def test_early_stopping_counts_epochs_without_improvement(train: Train) -> None:
    reports, _ = train({"early_stopping": 2, "lr": 1e-8, "optimizer": "sgd", "hidden_units": 4}, to=50, horizon=50.0)
    losses = [values["val_loss"] for values in reports.values()]
    best = losses.index(min(losses)) + 1
    assert len(losses) == 50 or len(losses) == best + 2


def test_seeds_change_weights_but_not_the_split(train: Train) -> None:
    first, _ = train({"hidden_units": 8}, to=1)
    other, _ = train({"hidden_units": 8}, to=1, seed=78)
    assert first != other


REFERENCE: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p, lr, wd: torch.optim.SGD(p, lr=lr, weight_decay=wd),
    "momentum": lambda p, lr, wd: torch.optim.SGD(p, lr=lr, weight_decay=wd, momentum=0.9),
    "nesterov": lambda p, lr, wd: torch.optim.SGD(p, lr=lr, weight_decay=wd, momentum=0.9, nesterov=True),
    "adagrad": lambda p, lr, wd: torch.optim.Adagrad(p, lr=lr, weight_decay=wd),
    "rmsprop": lambda p, lr, wd: torch.optim.RMSprop(p, lr=lr, weight_decay=wd),
    "adam": lambda p, lr, wd: torch.optim.Adam(p, lr=lr, weight_decay=wd, betas=(0.8, 0.99)),
    "adamw": lambda p, lr, wd: torch.optim.AdamW(p, lr=lr, weight_decay=wd, betas=(0.8, 0.99)),
}


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_optimisers_agree_with_torch(kind: str, weight_decay: float) -> None:
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(50, generator=generator)
    theirs = start.clone().requires_grad_()
    reference = REFERENCE[kind]([theirs], 0.01, weight_decay)
    ours = start.clone()
    momentum = 0.9 if kind in ("momentum", "nesterov") else 0.0
    optimiser = Optimiser(kind=kind, momentum=momentum, beta1=0.8, beta2=0.99, weight_decay=weight_decay)
    for _ in range(20):
        gradient = torch.randn(50, generator=generator)
        theirs.grad = gradient.clone()
        reference.step()
        optimiser.step(ours, gradient.clone(), 0.01)
    assert torch.allclose(ours, theirs.detach(), rtol=1e-4, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(SCHEDULES),
    lr=st.floats(1e-6, 10),
    horizon=st.floats(0.5, 500),
    warmup=st.floats(0, 20),
    at=st.floats(0, 600),
)
def test_schedules_stay_between_zero_and_the_peak(
    kind: str, lr: float, horizon: float, warmup: float, at: float
) -> None:
    schedule = Schedule(kind=kind, lr=lr, horizon=horizon, warmup=warmup)
    assert 0.0 <= schedule.at(at) <= lr * (1 + 1e-12)
    if at < warmup:
        assert schedule.at(at) <= schedule.at(warmup * 0.999999) * (1 + 1e-6) or kind != "constant"


def test_schedules_at_known_points() -> None:
    def at(kind: str, epoch: float) -> float:
        return Schedule(kind=kind, lr=1.0, horizon=11.0, warmup=2.0).at(epoch)

    assert at("constant", 1.0) == pytest.approx(0.5)
    assert [at("constant", e) for e in (2.0, 11.0, 99.0)] == [1.0, 1.0, 1.0]
    assert [at("step", e) for e in (2.0, 5.0, 8.0, 11.0)] == pytest.approx([1.0, 0.1, 0.01, 0.01])
    assert [at("cosine", e) for e in (2.0, 6.5, 11.0, 12.0)] == pytest.approx([1.0, 0.5, 0.0, 0.0])
    assert [at("exponential", e) for e in (2.0, 6.5, 11.0)] == pytest.approx([1.0, 0.1, 0.01])


def _batches(rows: int, size: int, **changes: Any) -> Batches:
    x = torch.arange(rows, dtype=torch.float32)[:, None]
    settings_ = {"batch_size": size, "augmentation": "none", "dropout": 0.0, "dropout_widths": (), **changes}
    return Batches(x, torch.arange(rows), streams=Streams(5), **settings_)


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(2, 200), size=st.integers(1, 64))
def test_an_epoch_shows_every_row_once(rows: int, size: int) -> None:
    batches = _batches(rows, size)
    shown = [list(y.tolist()) for _, y, _ in batches.epoch(1)]
    flat = list(itertools.chain(*shown))
    assert len(shown) == batches.count
    assert len(flat) == len(set(flat)) == batches.rows >= rows - 1
    if size > 1:
        assert all(len(part) > 1 for part in shown)


def test_orders_differ_by_epoch_and_repeat_by_seed() -> None:
    batches = _batches(50, 50)

    def order(epoch: int) -> list[int]:
        return next(iter(batches.epoch(epoch)))[1].tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_dropout_masks_keep_the_mean() -> None:
    batches = _batches(4000, 100, dropout=0.25, dropout_widths=(8, 4))
    masks = [m for _, _, m in batches.epoch(1)]
    assert {(tuple(a.shape), tuple(b.shape)) for a, b in masks} == {((100, 8), (100, 4))}
    everything = torch.cat([a for a, _ in masks])
    assert everything.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert everything.mean().item() == pytest.approx(1.0, abs=0.02)


def test_shift_moves_whole_images() -> None:
    x = torch.zeros(64, 1, 8, 8)
    x[:, :, 4, 4] = 1.0
    moved = augmented(x, kind="shift", generator=torch.Generator().manual_seed(1))
    assert moved.shape == x.shape
    assert (moved.sum((1, 2, 3)) == 1.0).all()
    places = {tuple(p) for p in moved.nonzero()[:, 2:].tolist()}
    assert places == set(itertools.product((3, 4, 5), repeat=2))


def test_flip_mirrors_about_half_of_the_images() -> None:
    x = torch.zeros(400, 1, 2, 4)
    x[..., 0] = 1.0
    flipped = augmented(x, kind="flip", generator=torch.Generator().manual_seed(1))
    share = flipped[..., 3].amax((1, 2)).mean().item()
    assert 0.4 < share < 0.6


@pytest.mark.parametrize("model", ["softmax", "linear", "mlp", "resmlp", "cnn", "resnet"])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_models_give_outputs_of_sane_size_from_their_generator_alone(model: str, norm: str, activation: str) -> None:
    params = {"model": model, "hidden_units": 16, "hidden_layers": 3, "width": 4, "activation": activation}
    params["normalization"] = norm
    before = torch.get_rng_state()
    shape = (3, 8, 8)

    def build(seed: int) -> Any:
        return build_model(params, shape=shape, outputs=5, generator=torch.Generator().manual_seed(seed))

    network, again, other = build(1), build(1), build(2)
    assert torch.equal(torch.get_rng_state(), before)
    weights = [torch.cat([p.flatten() for p in n.parameters()]) for n in (network, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    x = torch.randn(32, *shape, generator=torch.Generator().manual_seed(3))
    masks = tuple(torch.ones(32, width) for width in network.dropout_widths)
    out = network(x, masks)
    assert out.shape == (32, 5)
    assert torch.equal(out, build(1)(x))
    assert 0.01 < out.std().item() < 20
    assert math.isfinite(out.sum().item())


def test_models_can_be_stacked_as_lanes() -> None:
    params = {"model": "mlp", "hidden_units": 8, "hidden_layers": 2, "activation": "relu", "normalization": "layer"}
    nets = [
        build_model(params, shape=(4,), outputs=3, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)
    ]
    stacked, buffers = torch.func.stack_module_state(nets)  # type: ignore[arg-type]
    x = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(3))
    masks = (torch.ones(2, 6, 8), torch.ones(2, 6, 8))

    def one(p: Any, b: Any, rows: torch.Tensor, m: tuple[torch.Tensor, ...]) -> Any:
        return torch.func.functional_call(nets[0], (p, b), (rows, m))

    together = torch.func.vmap(one)(stacked, buffers, x, masks)
    assert torch.allclose(together[1], nets[1](x[1]), atol=1e-6)
