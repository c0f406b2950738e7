"""What a study asks of its preflight, what an answer becomes, and which structure is the nearest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.controller.calibrations import _measured, cache_key, cached, distance, first_event, nearest, request
from hpo_service.controller.tried import Answers, Tried, platform_of
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.events import MethodChoice
from hpo_service.core.launches import Methods
from workers.contract import AttemptKey, Calibrate, Calibrated, Ended, Narrowed, Outcome, Started

PREFLIGHT = AttemptKey(study_id="s", trial=-1, fence=1)


def definition(**more: Any) -> StudyDefinition:
    return parse(
        {
            "objective": {"metric": "val_accuracy"},
            "space": {"lr": {"type": "loguniform", "low": 1e-4, "high": 1.0}},
            "algorithm": {"name": "random", "max_resource": 9},
            "trainer": {"recipe": "image_classifier", "params": {"data": "digits"}},
            "budget": {"trials": 4},
            **more,
        }
    )


def answer(**more: Any) -> Calibrated:
    usual = {"key": PREFLIGHT, "lanes": ("lr",), "method": "fused", "width": 8, "device": "cpu", "reason": "faster"}
    return Calibrated(**{**usual, "plain_s": 0.2, "fused_s": {8: 0.1}, "seconds": 0.5, **more})


def tried(calibrated: Calibrated | None) -> Tried:
    ended = Ended(key=PREFLIGHT, outcome=Outcome.REACHED, resource=1, seconds=1)
    return Tried(key=PREFLIGHT, ended=ended, calibrated=calibrated, platform="here")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, (256, None)),
        ({"parallel": 6}, (6, None)),
        ({"parallel": 1}, None),
        ({"resources": {"lanes": "off"}}, None),
        ({"resources": {"lanes": 1}}, None),
        ({"resources": {"lanes": 5}}, (5, 5)),
        ({"resources": {"lanes": 50}, "parallel": 20}, (20, 20)),
        ({"trainer": {"function": "a:b"}}, None),
        ({"trainer": {"external": True}}, None),
    ],
)
def test_only_a_recipes_study_asks_and_never_for_more_than_it_can_use(more: Any, expected: Any) -> None:
    asked = request(definition(**more))
    assert (None if asked is None else (asked.most, asked.width)) == expected


def test_the_answer_becomes_the_studys_first_methods() -> None:
    event = first_event({"lr": 0.1, "batch_size": 32}, tried(answer()))
    assert event is not None
    methods = Methods()
    methods.take(type(event).from_json(event.to_json()))
    assert methods.fuses
    found = methods.of({"lr": 9.0, "batch_size": 32})
    assert found is not None
    assert (found.method, found.width) == ("fused", 8)
    assert methods.of({"lr": 9.0, "batch_size": 64}) is None
    [choice] = methods.choices
    assert (choice.source, choice.measured["platform"], choice.measured["fused_s"]) == ("measured", "here", {"8": 0.1})


@pytest.mark.parametrize("calibrated", [None, answer(lanes=())])
def test_what_cannot_be_fused_has_no_methods(calibrated: Calibrated | None) -> None:
    assert first_event({"lr": 0.1}, tried(calibrated)) is None


def test_a_plain_answer_is_one_lane_wide() -> None:
    event = first_event({}, tried(answer(method="plain", width=32)))
    assert event is not None
    assert (event.choices[0].method, event.choices[0].width) == ("plain", 1)


def test_a_structure_in_which_fewer_parameters_can_be_lanes_is_trained_one_by_one() -> None:
    params = {"lr": 0.1, "scale": 2.0, "kind": "b"}
    fewer, all_of_them = (
        _measured(params, answer(lanes=lanes), ("lr", "scale"), "here") for lanes in (("lr",), ("scale", "lr", "more"))
    )
    assert (fewer.method, fewer.width, fewer.structure) == ("plain", 1, {"kind": "b"})
    assert (all_of_them.method, all_of_them.width) == ("fused", 8)


def test_measurements_are_kept_by_all_that_they_hang_on() -> None:
    event = first_event({"lr": 0.1, "batch_size": 32}, tried(answer()))
    assert event is not None
    [key] = cached(definition(), event.choices)
    structure = {"batch_size": 32}
    assert key == cache_key(definition(seed=3, budget={"trials": 9}), structure, "here")
    others = [
        cache_key(definition(), structure, "elsewhere"),
        cache_key(definition(), {"batch_size": 64}, "here"),
        cache_key(definition(resources={"cpu": 2}), structure, "here"),
        cache_key(definition(parallel=8), structure, "here"),
        cache_key(definition(trainer={"recipe": "image_classifier", "params": {"data": "mnist"}}), structure, "here"),
    ]
    assert len({key, *others}) == 6
    unmeasured = first_event({}, tried(answer(plain_s=None, fused_s={})))
    assert unmeasured is not None
    assert cached(definition(), unmeasured.choices) == {}, "what was set is nothing to learn from"


def choice(structure: dict[str, Any], width: int, source: str = "measured") -> MethodChoice:
    return MethodChoice(
        structure=structure,
        method="fused",
        width=width,
        device="cpu",
        reason="",
        source=source,
        measured={"seconds": 1},
    )


def test_the_nearest_structure_shares_names_then_words_then_is_close_in_numbers() -> None:
    known = [
        choice({"model": "mlp", "units": 32}, 1),
        choice({"model": "mlp", "units": 512}, 2),
        choice({"model": "cnn", "units": 128}, 3),
        choice({"model": "mlp"}, 4),
    ]
    found = nearest({"model": "mlp", "units": 200}, known)
    assert (found.width, found.source, found.structure) == (2, "assumed", {"model": "mlp", "units": 200})
    assert not found.measured, "what was not measured counts for nothing"
    assert nearest({"model": "cnn", "units": 1}, known).width == 3
    assert nearest({"model": "vit"}, known).width == 4


values = st.one_of(st.integers(-1000, 1000), st.floats(-1e6, 1e6), st.text(max_size=3), st.booleans(), st.none())
structures = st.dictionaries(st.sampled_from("abcd"), values, max_size=4)


@given(structures, structures)
def test_distance_is_even_handed_and_nothing_is_nearer_than_itself(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert distance(a, b) == distance(b, a)
    assert distance(a, a) == (0, 0, 0.0) <= distance(a, b)


def test_answers_are_put_together_from_what_came_in_order() -> None:
    answers = Answers()
    environment = {"python": "3.12", "torch": {"version": "2.8"}, "packages": {"hpo-service": "1"}, "code": {"x": 1}}
    answers.note(Started(key=PREFLIGHT, worker_id="w", node="n", device="cpu", resumed_from=0, environment=environment))
    answers.note(answer())
    assert answers.take("s", -1) == []
    answers.note(Ended(key=PREFLIGHT, outcome=Outcome.REACHED, resource=1, seconds=1))
    assert answers.take("s", -2) == []
    [found] = answers.take("s", -1)
    assert (found.calibrated, found.platform) == (answer(), platform_of("cpu", {**environment, "code": {}}))
    assert platform_of("cuda", environment) != found.platform
    assert answers.take("s", -1) == []


def test_narrowed_launches_are_told_once() -> None:
    answers = Answers()
    assert not answers.has_narrowed("s")
    answers.note(Narrowed(key=AttemptKey(study_id="s", trial=4, fence=1), width=2, reason="too much"))
    assert answers.has_narrowed("s")
    assert [n.width for n in answers.take_narrowed("s")] == [2]
    assert not answers.has_narrowed("s")


def test_asking_is_bounded_in_time() -> None:
    assert request(definition(), seconds=0.25) == Calibrate(most=256, seconds=0.25)
