"""Trials trained again: a trial's record, saved or as it is, and asking the server to train it again and compare."""

from __future__ import annotations

import json
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from hpo_service.client.protocol import Program, Request, Save, Sleep, address, send
from hpo_service.client.results import MICRO, Result, items_of
from hpo_service.client.study_operations import TrialBase
from hpo_service.errors import NotFound

RECORD, CODE = "trial.json", "code.zip"
"""What a saved record with its code holds: the record, and the study's bundle as it was uploaded."""
Compared = Annotated[Mapping[str, Any], BeforeValidator(lambda given: {} if given is None else given)]
OPEN = frozenset({"waiting", "running"})


class Reproduction(Result):
    """A trial that is, or was, trained again from its record. `document` says what was compared."""

    id: str
    study_id: str = ""
    trial: int
    state: str  # waiting, running, done, failed
    asked_by: str = ""
    asked_at: datetime | None = None
    ended_at: datetime | None = None
    losses: int = 0
    seconds: float = 0.0
    cost_microdollars: int = 0
    reason: str = ""  # why it could not be trained again
    equal: bool | None = None  # whether every report came out the same bit for bit
    verdict: str | None = None
    document: Compared = Field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.state not in OPEN

    @property
    def cost_dollars(self) -> float:
        return self.cost_microdollars / MICRO

    @property
    def hints(self) -> tuple[str, ...]:
        """What to look at where the reports differ."""
        return tuple(self.document.get("hints") or ())

    @property
    def differences(self) -> tuple[Mapping[str, Any], ...]:
        """In what the environments differ: `what`, `was`, `now`."""
        return tuple(self.document.get("environment") or ())


def _place(trial: TrialBase, *parts: str) -> str:
    return address("studies", trial.study_id, "trials", trial.number, *parts)


def record(trial: TrialBase) -> Program[dict[str, Any]]:
    """All that is needed to train the trial again, and what it reported. Raises `Conflict` for a trial that no worker
    of the service trained."""
    return dict((yield from trial._core.get(_place(trial, "record"))))


def save_record(trial: TrialBase, path: str | Path, *, with_code: bool = False) -> Program[dict[str, Any]]:
    """Writes the trial's record to a JSON file and returns it; `with_code`: a zip file with the study's bundle of code
    beside it. Raises `NotFound` where the code lies on the workers and in no bundle."""
    document = yield from record(trial)
    text = json.dumps(document, ensure_ascii=False, indent=1)
    digest = document["trainer"].get("bundle")
    if not with_code:
        Path(path).write_text(text, encoding="utf-8")
        return document
    if not digest:
        raise NotFound(
            f"study {trial.study_id} has no bundle of code: its code lies on the workers",
            remedy="save the record without the code, and check the code out as the record says",
        )
    with tempfile.TemporaryDirectory(prefix="hpo-record-") as folder:
        archive = Path(folder) / CODE
        asked = Request(method="GET", path=address("bundles", digest, "archive"))
        yield from send(Save.to(asked, archive), trial._core.policy)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr(RECORD, text)
            made.write(archive, CODE, zipfile.ZIP_STORED)
    return document


def reproductions(trial: TrialBase) -> Program[list[Reproduction]]:
    """The trial's reproductions, newest first."""
    return items_of(Reproduction.parse)((yield from trial._core.get(_place(trial, "reproductions"))))


def reproduce(
    trial: TrialBase,
    *,
    wait: bool = True,
    timeout_s: float | None = None,
    poll_s: float = 0.5,
    observe: Callable[[Reproduction], None] | None = None,
) -> Program[Reproduction]:
    """Has a worker train the trial again from its record and compare every report; returns when that is over, with
    `wait=False` at once. `observe` is called with every look. Raises `TimeoutError` after `timeout_s` (it goes on)."""
    found = Reproduction.parse((yield from trial._core.post(_place(trial, "reproductions"), {})))
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        if observe is not None:
            observe(found)
        if found.ended or not wait:
            return found
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError(f"trial {trial.number} has not been trained again after {timeout_s:g} s; it goes on")
        yield Sleep(poll_s)
        found = Reproduction.parse((yield from trial._core.get(_place(trial, "reproductions", found.id))))
