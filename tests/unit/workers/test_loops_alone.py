"""A trial by itself is the only lane of a program where that is faster, and comes to what autograd comes to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.unit.workers.lanes_support import HORIZON, assert_close, assert_equal_bits, made_up, task
from workers.loops import alone
from workers.loops.single import Learner


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("model", "threads", "lane"), [("mlp", 1, True), ("mlp", 2, False), ("cnn", 1, False)])
def test_networks_by_hand_on_one_thread_are_a_lane(model: str, threads: int, lane: bool) -> None:
    torch.set_num_threads(threads)
    one = task(made_up((1, 6, 6), rows=20), {"model": model, "width": 2})
    assert isinstance(alone.learner_of(one, fold=0, seed=1, horizon=HORIZON), alone.LaneAlone) is lane


def test_it_comes_to_what_autograd_comes_to() -> None:
    data = made_up((13,))
    one = task(data, {"model": "resmlp", "optimizer": "adamw", "dropout": 0.2, "weight_decay": 0.1, "batch_size": 16})
    both = [make(one, fold=0, seed=3, horizon=HORIZON) for make in (alone.learner_of, Learner)]
    lane, plain = ([[each.epoch(n) for n in (1, 2)], each.state_dict()] for each in both)
    assert_close((lane[0], lane[1]), (plain[0], plain[1]), rows=len(data.folds[0].x_val))
    lane_rows, plain_rows = (each.outputs()[0] for each in both)
    torch.testing.assert_close(lane_rows, plain_rows, rtol=1e-3, atol=1e-3)
    assert both[0].test() == both[1].test() == {}


def test_it_goes_on_bit_for_bit_from_where_it_was() -> None:
    one = task(made_up((13,)), {"model": "mlp", "optimizer": "momentum", "batch_size": 16})
    whole, first, second = (alone.learner_of(one, fold=0, seed=3, horizon=HORIZON) for _ in range(3))
    through = [whole.epoch(n) for n in (1, 2, 3)]
    cut = [first.epoch(1)]
    second.load_state_dict(first.state_dict())
    cut += [second.epoch(n) for n in (2, 3)]
    assert_equal_bits((through, whole.state_dict()), (cut, second.state_dict()))
