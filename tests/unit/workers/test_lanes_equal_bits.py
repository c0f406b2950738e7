"""At equal width, a lane's place and its neighbours never change a bit of it, whether they diverge or repeat it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.catalog.declarations import ACTIVATIONS, NORMALIZATIONS
from tests.unit.workers.lanes_support import Ran, assert_equal_bits, fused, made_up, task
from workers.loops import lane_networks, placement, products
from workers.loops.lane_networks import lane_network
from workers.loops.lane_storage import LaneStorage
from workers.loops.lanes import one_thread
from workers.loops.optimisers import OPTIMIZERS
from workers.loops.vmapped import VmappedLanes

DIVERGING = {"lr": 1e25, "grad_clip": 0.0, "momentum": 0.9, "label_smoothing": 0.0, "weight_decay": 0.0}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread("cpu"):
        yield


lanes = st.fixed_dictionaries(
    {
        "lr": st.floats(1e-4, 0.1),
        "dropout": st.sampled_from([0.0, 0.3]),
        "weight_decay": st.sampled_from([0.0, 0.1]),
        "grad_clip": st.sampled_from([0.0, 0.5]),
        "label_smoothing": st.sampled_from([0.0, 0.1]),
        "momentum": st.sampled_from([0.0, 0.9, None]),
        "seed": st.integers(0, 2**62),
    }
)
structures = st.fixed_dictionaries(
    {
        "hidden_units": st.sampled_from([1, 3, 8, 10, 16, 33, 64]),
        "hidden_layers": st.sampled_from([1, 2]),
        "activation": st.sampled_from(ACTIVATIONS),
        "normalization": st.sampled_from(NORMALIZATIONS),
        "optimizer": st.sampled_from(OPTIMIZERS),
        "batch_size": st.sampled_from([2, 7, 8, 16, 33]),
    }
)


def run(data: Any, structure: dict[str, Any], each: list[dict[str, Any]]) -> list[Ran]:
    """The lanes of `each`, whose seeds stand beside their parameters."""
    tasks = [task(data, {**structure, **{k: v for k, v in lane.items() if k != "seed"}}) for lane in each]
    return fused(tasks, [lane["seed"] for lane in each])


def moved(draw: Any, each: list[dict[str, Any]]) -> tuple[list[int], list[dict[str, Any]], set[int]]:
    """The lanes in another order, some replaced by lanes that diverge or by copies of another: the order, the lanes,
    and which of the first ones are still there."""
    order = draw(st.permutations(range(len(each))))
    kept = draw(st.sets(st.sampled_from(order), min_size=1))
    found = []
    for lane in order:
        others = [{**each[lane], **DIVERGING}, each[order[0]]]
        found.append(each[lane] if lane in kept else draw(st.sampled_from(others)))
    return order, found, kept


def check(data: st.DataObject, shape: tuple[int, ...], structure: dict[str, Any], each: list[dict[str, Any]]) -> None:
    rows, classes = data.draw(st.sampled_from([17, 23, 36])), data.draw(st.sampled_from([0, 2, 3, 10, 17]))
    made = made_up(shape, rows=rows, classes=classes)
    order, others, kept = moved(data.draw, each)
    first, second = run(made, structure, each), run(made, structure, others)
    for place, lane in enumerate(order):
        if lane in kept:
            assert_equal_bits(first[lane], second[place])


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    model=st.sampled_from(["linear", "mlp", "resmlp"]),
    shape=st.sampled_from([(1,), (3,), (13,), (64,), (65,)]),
    structure=structures,
    each=st.lists(lanes, min_size=2, max_size=8),
)
def test_dense_lanes(
    data: st.DataObject, model: str, shape: tuple[int, ...], structure: dict[str, Any], each: list[dict[str, Any]]
) -> None:
    check(data, shape, {"model": model, **structure}, each)


@pytest.mark.parametrize("numpys", [False, True])
def test_dense_lanes_by_torch_and_by_numpy(numpys: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (products, lane_networks):
        monkeypatch.setattr(module, "by_numpy", lambda: numpys)
    made = made_up((64,), rows=300, classes=10)
    structure = {"model": "resmlp", "hidden_units": 33, "batch_size": 128, "optimizer": "momentum"}
    each = [{"lr": 0.01 * (i + 1), "seed": i} for i in range(5)]
    first, second = run(made, structure, each), run(made, structure, [*each[:0:-1], {**DIVERGING, "seed": 0}])
    for lane in range(1, 5):
        assert_equal_bits(first[lane], second[4 - lane])


@settings(max_examples=5, deadline=None)
@given(
    data=st.data(),
    model=st.sampled_from(["cnn", "resnet"]),
    width=st.integers(1, 4),
    shape=st.sampled_from([(1, 5, 5), (3, 6, 6), (1, 8, 8)]),
    structure=structures,
    each=st.lists(lanes, min_size=2, max_size=5),
)
def test_mapped_lanes(
    data: st.DataObject,
    model: str,
    width: int,
    shape: tuple[int, ...],
    structure: dict[str, Any],
    each: list[dict[str, Any]],
) -> None:
    check(data, shape, {"model": model, "width": width, **structure, "batch_size": 8}, each)


@pytest.mark.parametrize("threads", [1, 2])
def test_with_several_threads_as_with_one(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        structure = {"model": "mlp", "hidden_units": 33, "batch_size": 33, "optimizer": "momentum", "hidden_layers": 2}
        each = [{"lr": 0.01 * (i + 1), "seed": i} for i in range(5)]
        made = made_up((65,), rows=70)
        first, second = run(made, structure, each), run(made, structure, each[::-1])
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for one, other in zip(first, second[::-1], strict=True):
        assert_equal_bits(one, other)


def test_a_lane_that_diverges_ends_as_nan_and_its_neighbours_do_not() -> None:
    made = made_up((7,))
    structure = {"model": "mlp", "optimizer": "momentum", "batch_size": 16, "normalization": "none"}
    each = [{"lr": 0.01, "seed": 1}, {**DIVERGING, "seed": 2}, {"lr": 0.01, "seed": 3}]
    found = run(made, structure, each)
    assert not math.isfinite(found[1][0][-1]["val_loss"])
    for lane in (0, 2):
        assert all(math.isfinite(value) for value in found[lane][0][-1].values())


def test_clones_equal_each_other() -> None:
    made = made_up((13,))
    structure = {"model": "resmlp", "optimizer": "adam", "activation": "gelu", "batch_size": 8, "dropout": 0.2}
    found = run(made, structure, [{"lr": 0.01, "seed": 4}] * 5)
    for other in found[1:]:
        assert_equal_bits(found[0], other)


def _mapped(lanes_: int, activation: str) -> tuple[VmappedLanes, LaneStorage]:
    made = made_up((1, 6, 6), rows=20)
    one = task(made, {"model": "cnn", "width": 4, "activation": activation})
    modules = [one.build(made.folds[0], torch.Generator().manual_seed(i)) for i in range(lanes_)]
    storage = LaneStorage(iter(modules), lanes=lanes_, device="cpu")
    network = lane_network(storage)
    assert isinstance(network, VmappedLanes)
    return network, storage


@pytest.mark.parametrize(("rows", "alike"), [(16, True), (7, False)])
def test_networks_are_mapped_where_lanes_are_treated_alike(rows: int, alike: bool) -> None:
    network, storage = _mapped(8, "gelu")
    before = storage.values.flat.clone()
    out = network.forward(torch.ones(8, rows, 1, 6, 6), ())
    network.backward(torch.zeros_like(out))
    assert network.mapped(rows) is alike
    assert torch.equal(storage.values.flat, before)


@pytest.mark.parametrize("name", sorted(placement.EXACT & {
    "abs", "erf", "exp", "log", "log1p", "neg", "relu", "rsqrt", "sin", "sqrt", "tanh", "sign",
}))  # fmt: skip
def test_functions_that_are_called_exact_are(name: str) -> None:
    x = torch.randn(4096, generator=torch.Generator().manual_seed(1)) * 3
    x = x.abs() if name in ("log", "log1p", "rsqrt", "sqrt") else x
    function = getattr(torch, name)
    whole = function(x)
    for size in (1, 5, 13, 31):
        few = torch.cat([function(part.clone()) for part in torch.split(x, size)])
        assert torch.equal(few, whole)


def test_what_is_not_known_to_be_exact_is_watched_for() -> None:
    x = torch.randn(33)
    for function in (torch.nn.functional.gelu, torch.nn.functional.elu, torch.sigmoid, torch.nn.functional.mish):
        with placement.Watch() as odd:
            function(x)
        with placement.Watch() as even:
            function(x[:32])
        assert not odd.alike
        assert even.alike
