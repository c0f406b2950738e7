"""Proposals and events as JSON: what the log holds reads back as it was."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.core import events as ev
from hpo_service.core import proposals as pr
from hpo_service.core.imported import ImportedTrial
from hpo_service.core.states import Origin, StudyState, TrialState
from hpo_service.core.warm_start import PastResults, Source

REASON = st.text(min_size=1).filter(str.strip)
LEVEL = st.floats(0.1, 1e6) | st.just(pr.UNLIMITED)
SCALAR = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
PLACE = st.none() | st.integers(0, 50)
VALUE = st.floats(allow_nan=False)
PROPOSALS = st.one_of(
    st.builds(
        pr.Start,
        trial=st.integers(0),
        params=st.dictionaries(st.text(min_size=1), SCALAR | st.text()),
        target=LEVEL,
        horizon=LEVEL,
        reason=REASON,
        origin=st.sampled_from(Origin),
        bracket=PLACE,
        rung=PLACE,
        parent=PLACE,
        parent_resource=st.none() | st.floats(0, 100),
        space_version=st.integers(1, 9),
    ),
    st.builds(pr.Continue, trial=st.integers(0), target=LEVEL, reason=REASON, bracket=PLACE, rung=PLACE),
    st.builds(pr.Stop, trial=st.integers(0), reason=REASON),
    st.builds(pr.Finish, trial=st.integers(0), reason=REASON),
)
PAYLOADS = st.one_of(
    st.builds(
        ev.StudyCreated,
        definition=st.just({"name": "a"}),
        chosen=st.sampled_from([{}, {"method": "gp", "reason": "so", "text": "a Gaussian process: so"}]),
    ),
    st.builds(
        ev.WarmStarted,
        mode=st.sampled_from(["auto", "named"]),
        sources=st.just((Source(study="s1", name="old", trials=9, shared=("a",), likeness=0.5),)),
        portfolio=st.just(({"a": 1},)),
        prior=st.tuples(
            st.builds(
                PastResults,
                study=st.just("s1"),
                maximize=st.booleans(),
                params=st.just(({"a": 1}, {"a": 2})),
                values=st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
                lengths=st.just({"a": 0.5}),
                noise=st.just(0.1),
            )
        ),
    ),
    st.builds(
        ev.DefinitionChanged,
        definition=st.just({"name": "a"}),
        space_version=st.integers(1, 5),
        changed=st.tuples(st.just("budget.trials")),
    ),
    st.builds(ev.StudyStateChanged, state=st.sampled_from(StudyState), reason=st.text()),
    st.builds(ev.EndingDeclared, reason=st.text()),
    st.builds(
        ev.TrialsEnqueued,
        trials=st.tuples(
            st.builds(
                ev.EnqueuedTrial,
                trial=st.integers(0),
                params=st.just({"a": 1}),
                origin=st.sampled_from(Origin),
                retry_of=PLACE,
            )
        ),
    ),
    st.builds(
        ev.TrialsImported,
        trials=st.tuples(
            st.builds(
                ImportedTrial,
                trial=st.integers(0),
                params=st.just({"a": 1}),
                state=st.sampled_from([TrialState.FINISHED, TrialState.STOPPED, TrialState.FAILED]),
                resource=st.floats(0, 100),
                value=st.none() | VALUE,
                reason=st.text(),
            )
        ),
    ),
    st.builds(
        ev.Decided,
        decision=st.integers(1),
        observed_seq=st.integers(0),
        algorithm=st.just("asha"),
        algorithm_version=st.just(1),
        proposals=st.lists(PROPOSALS, max_size=4).map(tuple),
    ),
    st.builds(
        ev.AttemptsReopened,
        attempts=st.tuples(
            st.builds(
                ev.AttemptChange,
                trial=st.integers(0),
                fence=st.integers(1),
                target=LEVEL,
                from_resource=st.floats(0, 10),
                worker=st.none() | st.text(),
            )
        ),
    ),
    st.builds(
        ev.Reported,
        reports=st.tuples(
            st.builds(
                ev.ReportRow,
                trial=st.integers(0),
                fence=st.integers(1),
                step=st.integers(0),
                resource=st.floats(0, 100),
                values=st.lists(VALUE, min_size=1, max_size=2).map(tuple),
            )
        ),
    ),
    st.builds(
        ev.AttemptsEnded,
        attempts=st.tuples(
            st.builds(
                ev.EndedAttempt,
                trial=st.integers(0),
                fence=st.integers(1),
                outcome=st.sampled_from(["reached", "completed", "failed", "lost"]),
                trial_state=st.sampled_from(["paused", "waiting", "failed", "stopped"]),
                resource=st.floats(0, 100),
                reason=st.text(),
                cost_microdollars=st.integers(0),
            )
        ),
    ),
)


@given(PROPOSALS)
def test_proposals_survive_json(proposal: pr.Proposal) -> None:
    assert pr.from_json(json.loads(json.dumps(pr.to_json(proposal), allow_nan=False))) == proposal


@given(PAYLOADS)
def test_events_survive_json(payload: ev.Payload) -> None:
    text = json.dumps(payload.to_json(), allow_nan=False)
    assert ev.PAYLOADS[payload.kind].from_json(json.loads(text)) == payload


def test_every_kind_is_registered_under_its_name() -> None:
    assert set(ev.PAYLOADS.values()) == set(ev.Payload.__args__)
    assert all(kind == payload.kind for kind, payload in ev.PAYLOADS.items())


def test_nan_reports_survive_json() -> None:
    row = ev.ReportRow(trial=0, fence=1, step=1, resource=1.0, values=(math.nan,))
    text = json.dumps(ev.Reported(reports=(row,)).to_json(), allow_nan=False)
    found = ev.Reported.from_json(json.loads(text)).reports[0]
    assert math.isnan(found.values[0])


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_proposal_without_a_reason_is_refused(reason: str) -> None:
    with pytest.raises(ValueError, match="non-empty reason"):
        pr.Stop(trial=1, reason=reason)
    with pytest.raises(ValueError, match="non-empty reason"):
        pr.Start(trial=1, params={}, target=1.0, horizon=1.0, reason=reason)
    with pytest.raises(ValueError, match="non-empty reason"):
        pr.Continue(trial=1, target=1.0, reason=reason)
    with pytest.raises(ValueError, match="non-empty reason"):
        pr.Finish(trial=1, reason=reason)
