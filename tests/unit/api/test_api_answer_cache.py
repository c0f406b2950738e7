"""Answers are made once: per state for a few readers, per notice for a crowd."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hpo_service.api.answers import MAX_QUESTIONS, Answers


def test_few_readers_get_the_newest_state() -> None:
    answers = Answers()
    assert [answers.seq_for("a", seq, "q") for seq in (1, 2, 2, 5)] == [1, 2, 2, 5]


def test_a_crowd_shares_the_answer_until_it_is_told_of_a_later_state() -> None:
    told = 3
    answers = Answers(told=lambda study: told)
    assert answers.seq_for("a", 4, "q") == 4
    assert answers.seq_for("a", 9, "q") == 4
    assert answers.seq_for("a", 9, "other") == 9
    assert answers.seq_for("b", 9, "q") == 9
    told = 5
    assert answers.seq_for("a", 9, "q") == 9


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.sampled_from("pq")), max_size=40))
def test_no_answer_is_older_than_what_readers_were_told_nor_newer_than_the_study(
    steps: list[tuple[int, int, str]],
) -> None:
    told = last = 0
    answers = Answers(told=lambda study: told)
    for moved, lag, question in steps:
        last += moved
        told = max(told, last - lag)
        assert told <= answers.seq_for("a", last, question) <= last


def test_questions_are_forgotten_in_the_end() -> None:
    answers = Answers(told=lambda study: 0)
    for number in range(MAX_QUESTIONS + 1):
        answers.seq_for("a", 1, str(number))
    assert answers.seq_for("a", 2, "0") == 2
    assert answers.seq_for("a", 2, str(MAX_QUESTIONS)) == 1
