"""What a person watching a study sees, on a terminal and elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from hpo_service.client import View
from hpo_service.client.display import LivePanel, Narrator, fraction_done, notable, open_display, reason_of
from hpo_service.client.results import Best, Rung, StudySnapshot, TrialSnapshot


def study(**more: object) -> StudySnapshot:
    return StudySnapshot.parse(
        {
            "id": "st_1",
            "name": "digits",
            "state": "running",
            "definition": {
                "objective": {"metric": "val_accuracy", "direction": "maximize"},
                "budget": {"trials": 10, "resource": 100},
            },
            "counts": {"running": 1, "finished": 4, "failed": 1},
            "trials": 6,
            "resource": 30.0,
            "cost_microdollars": 12_300,
            **more,
        }
    )


BEST = Best(trial=3, value=0.978, resource=27, params={"lr": 3.2e-4})
RUNG = Rung(bracket=3, rung=0, resource=1, size=2, entered=2, promoted=1, values=(0.5, 0.75))
RUNNING = TrialSnapshot(
    study_id="st_1", number=5, state="running", params={"lr": 0.01}, resource=3, target=9, value=0.9
)


def test_the_nearest_bound_is_shown() -> None:
    assert fraction_done(study()) == ("budget.trials = 10", 0.5)
    assert fraction_done(study(resource=90.0)) == ("budget.resource = 100", 0.9)
    assert fraction_done(study(definition={})) is None


def test_trials_left_paused_by_a_study_that_ended_have_used_its_budget() -> None:
    counts = {"paused": 9, "finished": 1}
    assert fraction_done(study(counts=counts)) == ("budget.resource = 100", 0.3)
    assert fraction_done(study(counts=counts, state="finished")) == ("budget.trials = 10", 1.0)


def test_elsewhere_only_what_changes_is_told() -> None:
    file = io.StringIO()
    display = open_display(Console(file=file, width=200))
    assert isinstance(display, Narrator)
    display.show(View(study=study(state="preflight")))
    display.show(View(study=study(state="preflight")))
    display.show(View(study=study(best=BEST), rungs=(RUNG,)))
    display.show(View(study=study(best=BEST), rungs=(RUNG,)))
    display.show(View(study=study(state="finished", reason="budget.trials reached", best=BEST), rungs=(RUNG,)))
    display.close()
    assert file.getvalue().splitlines() == [
        "digits: preflight",
        "digits: 50 % of budget.trials = 10, 6 trials, $0.0123, 0 ms, resource 30",
        "digits: running",
        "digits: rung 0 of bracket 3 (resource 1) is full: 2 trials, best 75 %",
        "digits: best 97.8 % (trial 3 at resource 27): lr=3.2e-4",
        "digits: finished (budget.trials reached)",
    ]


def test_a_rung_is_told_when_its_values_are_in() -> None:
    def told(state: str = "running", **more: object) -> list[str]:
        rung = Rung(**{"rung": 1, "resource": 3, "size": 3, "entered": 3, "values": (None,) * 3, **more})
        found = notable(View(study=study(state=state), rungs=(rung,)))
        return [line for topic, _, line in found if topic.startswith("rung")]

    assert told() == []
    assert told(values=(0.5, None, None)) == []
    assert told(entered=2, values=(0.5, 0.25)) == []
    assert told(values=(0.5, 0.25, float("nan"))) == ["digits: rung 1 (resource 3) is full: 3 trials, best 50 %"]
    assert len(told(values=(0.5, 0.25, None), promoted=1)) == 1
    assert len(told("finished", values=(0.5, 0.25, None))) == 1
    assert told("stopped") == []


def test_a_terminal_has_bar_best_cost_rungs_and_running_trials() -> None:
    file = io.StringIO()
    display = open_display(Console(file=file, width=120, force_terminal=True, color_system=None))
    assert isinstance(display, LivePanel)
    display.show(View(study=study(best=BEST), rungs=(RUNG,), running=(RUNNING,)))
    display.close()
    shown = file.getvalue()
    for part in (
        "50 % of budget.trials = 10",
        "val_accuracy 97.8 % (trial 3 at resource 27): lr=3.2e-4",
        "6: 1 running, 4 finished, 1 failed",
        "$0.0123",
        "2/2",
        "75 %",
        "3/9",
        "lr=0.01",
    ):
        assert part in shown, part


def test_text_from_users_is_never_markup() -> None:
    file = io.StringIO()
    console = Console(file=file, width=200, force_terminal=True, color_system=None)
    display = LivePanel(console)
    hostile = study(name="[red]x[/nope]", reason="[/] [bold", state="paused")
    display.show(View(study=hostile, running=(RUNNING.model_copy(update={"params": {"a": "[/b]"}}),)))
    display.close()
    Narrator(console).show(View(study=hostile))
    assert "[red]x[/nope]" in file.getvalue()
    assert "[/] [bold" in file.getvalue()


def test_closing_what_never_showed_is_fine() -> None:
    LivePanel(Console(file=io.StringIO())).close()


def test_a_paused_trial_says_what_it_waits_for() -> None:
    paused = RUNNING.model_copy(update={"state": "paused", "reason": "reached"})
    assert reason_of(paused) == "paused at resource 3: goes on when the search calls for it"
    assert reason_of(paused.model_copy(update={"reason": "paused by a user"})) == "paused by a user"
    failed = paused.model_copy(update={"state": "failed", "reason": "exception: boom"})
    assert reason_of(failed) == "exception: boom"
