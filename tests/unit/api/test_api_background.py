"""Work on a thread of its own: the last result meanwhile, one piece at a time, errors to whoever asks."""

from __future__ import annotations

import threading

import pytest

from hpo_service.api.background import WAITING, Background, Result


def test_the_last_result_is_served_while_the_next_is_made() -> None:
    background, go = Background(), threading.Event()
    assert background.get("q", 1, lambda: "one", wait_s=10) == Result(made="one", fresh=True)
    assert background.get("q", 1, lambda: "never made", wait_s=0) == Result(made="one", fresh=True)
    assert background.get("q", 2, lambda: go.wait(10) and "two", wait_s=0.01) == Result(made="one", fresh=False)
    assert background.get("q", 3, lambda: "three", wait_s=0.01) == Result(made="one", fresh=False)
    go.set()
    assert background.get("q", 2, lambda: "two again", wait_s=10) == Result(made="two", fresh=True)
    assert background.get("q", 3, lambda: "three", wait_s=10) == Result(made="three", fresh=True)
    background.close()


def test_nothing_there_yet() -> None:
    background, go = Background(), threading.Event()
    assert background.get("q", 1, lambda: go.wait(10), wait_s=0.01) is None
    go.set()
    background.close()


def test_a_failure_is_told_and_tried_again() -> None:
    background = Background()
    with pytest.raises(ZeroDivisionError):
        background.get("q", 1, lambda: 1 / 0, wait_s=10)
    assert background.get("q", 1, lambda: "fine", wait_s=10) == Result(made="fine", fresh=True)
    background.close()


def test_of_very_many_questions_the_last_are_to_be_asked_again() -> None:
    background, go = Background(), threading.Event()
    for question in range(WAITING):
        assert background.get(question, 1, lambda: go.wait(10), wait_s=0) is None
    assert background.get("one more", 1, lambda: "made", wait_s=0.01) is None
    assert len(background._under_way) == WAITING
    go.set()
    for question in range(WAITING):
        assert background.get(question, 1, lambda: True, wait_s=10) == Result(made=True, fresh=True)
    assert background.get("one more", 1, lambda: "made", wait_s=10) == Result(made="made", fresh=True)
    background.close()
