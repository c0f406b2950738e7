"""Long turns keep nobody waiting, come one at a time for a study, and tell how they ended."""

from __future__ import annotations

import threading

import pytest

from hpo_service.controller.turns import Turns, thinks_long
from tests.storelib import definition


def test_without_threads_every_turn_is_taken_in_line() -> None:
    assert Turns(lambda: None).take("s", lambda: True, long=True)


def test_a_long_turn_keeps_nobody_waiting_and_tells_how_it_ended() -> None:
    woken, go = threading.Event(), threading.Event()
    turns = Turns(woken.set)
    turns.open()

    def think() -> bool:
        return go.wait(30)

    assert turns.take("slow", think, long=True) is None
    assert turns.taking("slow")
    assert turns.take("quick", lambda: True, long=False)
    assert turns.take("slow", think, long=True) is None, "one at a time"
    go.set()
    assert woken.wait(30)
    assert turns.take("slow", think, long=True)
    turns.close()


def test_what_a_turn_raised_comes_to_who_asks_again() -> None:
    woken = threading.Event()
    turns = Turns(woken.set)
    turns.open()

    def break_down() -> bool:
        raise KeyError("why")

    assert turns.take("s", break_down, long=True) is None
    assert woken.wait(30)
    with pytest.raises(KeyError, match="why"):
        turns.take("s", break_down, long=True)
    turns.close()


def test_models_think_long_and_draws_do_not() -> None:
    assert thinks_long(definition(algorithm={"name": "bayesian", "surrogate": "gp", "max_resource": 9}))
    assert thinks_long(definition(algorithm={"name": "asha", "sampler": "tpe", "max_resource": 9}))
    assert not thinks_long(definition(algorithm={"name": "hyperband", "max_resource": 9}))
    assert not thinks_long(definition())
